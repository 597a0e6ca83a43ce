//! The loop that keeps a local copy of the set in step.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Category, Feed, Registry, RegistryError, Revision, State};

/// A signal that was lost is made good after this.
const POLL: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// A local copy of the set of queries, kept in step by a task of its own; a handle to it, cheap to clone.
///
/// # Expected flow
/// 1. It opens a [`Feed`], reads everything, and says `connected`.
/// 2. Told of a later revision, and every 30 s, it reads what changed.
/// 3. When the connection is lost it says so, keeps its copy, opens a new one (after 50 ms to 2 s, with jitter) and reads
///    everything again.
///
/// It ends when it is cancelled or when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Follower {
    state: watch::Receiver<Arc<State>>,
    wishes: mpsc::Sender<oneshot::Sender<Revision>>,
}

/// How to follow.
#[derive(Debug, Clone, Copy, Default)]
pub struct FollowerOptions {
    /// For workers, one lease period: how long a query is kept that is missing after a reload without a record of its
    /// removal. `None`: not at all.
    pub vanish_grace: Option<Duration>,
}

impl Follower {
    /// Starts the task on the current tokio runtime.
    #[must_use]
    pub fn start(
        registry: Arc<dyn Registry>,
        options: FollowerOptions,
        cancel: CancellationToken,
    ) -> Follower {
        let (publish, state) = watch::channel(Arc::new(State::empty()));
        let (wishes, wished) = mpsc::channel(16);
        let task = Task {
            registry,
            options,
            publish,
            wished,
            retry: FIRST_RETRY,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = task.run() => {}
            }
        });
        Follower { state, wishes }
    }

    /// The state and every change of it; several changes may come as one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// Waits until a read that began after this call has succeeded and its outcome is in the state, however long the
    /// database is away; gives the revision read.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] when the follower has ended.
    pub async fn caught_up(&self) -> Result<Revision, RegistryError> {
        let ended = || RegistryError::unavailable("the follower has ended");
        let (wish, done) = oneshot::channel();
        self.wishes.send(wish).await.map_err(|_| ended())?;
        done.await.map_err(|_| ended())
    }
}

struct Task {
    registry: Arc<dyn Registry>,
    options: FollowerOptions,
    publish: watch::Sender<Arc<State>>,
    wished: mpsc::Receiver<oneshot::Sender<Revision>>,
    /// The longest wait before the next attempt.
    retry: Duration,
}

impl Task {
    async fn run(mut self) {
        while let Err(err) = self.follow().await {
            self.lost(&err);
            let wait = self.retry.mul_f64(rand::random_range(0.5..=1.0));
            self.retry = (self.retry * 2).min(LAST_RETRY);
            tokio::select! {
                () = sleep(wait) => {}
                () = self.publish.closed() => return,
            }
        }
    }

    /// Over one connection, until it is lost. `Ok` when nobody is interested any more.
    async fn follow(&mut self) -> Result<(), RegistryError> {
        let mut feed = self.registry.feed().await?;
        self.read(feed.as_mut(), None).await?;
        self.retry = FIRST_RETRY;
        let mut read_at = Instant::now();
        loop {
            let state = self.publish.borrow().clone();
            let expiry = state.next_expiry();
            let (read, wish) = tokio::select! {
                changed = feed.changed() => (Some(changed?) > state.revision, None),
                wish = self.wished.recv() => match wish {
                    Some(wish) => (true, Some(wish)),
                    None => return Ok(()),
                },
                () = sleep_until(read_at + POLL) => (true, None),
                () = sleep_until(expiry.unwrap_or(read_at + POLL)), if expiry.is_some() => {
                    let kept = State::clone(&state).expire(Instant::now());
                    warn!(queries = state.queries.len() - kept.queries.len(), "queries that vanished did not come back");
                    self.publish.send_replace(Arc::new(kept));
                    (false, None)
                }
            };
            if !read {
                continue;
            }
            // Everybody who asked before this read began is answered by it.
            let mut wishes: Vec<_> = wish.into_iter().collect();
            while let Ok(wish) = self.wished.try_recv() {
                wishes.push(wish);
            }
            let revision = self.read(feed.as_mut(), state.revision).await?;
            read_at = Instant::now();
            for wish in wishes {
                // Whoever asked may have stopped waiting.
                let _ = wish.send(revision);
            }
        }
    }

    async fn read(
        &mut self,
        feed: &mut dyn Feed,
        since: Option<Revision>,
    ) -> Result<Revision, RegistryError> {
        let snapshot = feed.read(since).await?;
        let revision = snapshot.revision;
        let state = self.publish.borrow().clone();
        if since == Some(revision) && !snapshot.complete {
            return Ok(revision);
        }
        let mut merged =
            State::clone(&state).merge(snapshot, Instant::now(), self.options.vanish_grace);
        if since.is_none() {
            merged.connected = true;
            merged.trouble = None;
            merged.loads += 1;
            info!(
                revision,
                queries = merged.queries.len(),
                "following the query registry"
            );
        }
        self.publish.send_replace(Arc::new(merged));
        Ok(revision)
    }

    /// Says that the copy is not kept in step, once for each cause.
    fn lost(&self, err: &RegistryError) {
        let category = err.category();
        let state = self.publish.borrow().clone();
        if !state.connected && state.trouble == Some(category) {
            return;
        }
        if category == Category::Bug {
            tracing::error!(
                error = %err, cause = err.source().map(tracing::field::display),
                "cannot follow the query registry"
            );
        } else {
            warn!(
                error = %err, cause = err.source().map(tracing::field::display),
                "cannot follow the query registry"
            );
        }
        let mut lost = State::clone(&state);
        lost.connected = false;
        lost.trouble = Some(category);
        self.publish.send_replace(Arc::new(lost));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};
    use tokio_util::sync::CancellationToken;

    use super::{Follower, FollowerOptions};
    use crate::{Category, MemoryRegistry, ProcessId, Registry, State, Wanted};

    async fn until(follower: &Follower, done: impl Fn(&State) -> bool) -> Arc<State> {
        let mut states = follower.subscribe();
        timeout(
            Duration::from_secs(600),
            states.wait_for(|state| done(state)),
        )
        .await
        .unwrap()
        .unwrap()
        .clone()
    }

    fn wanted(filter: &str) -> Wanted {
        Wanted {
            tenant: String::new(),
            filter: filter.into(),
            lane: 0,
            subscribers: 1,
            limit: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn outage_keeps_the_copy_and_is_made_good() {
        let (registry, handler) = (MemoryRegistry::new("p"), ProcessId::random());
        let lease = Duration::from_secs(60);
        registry
            .renew(handler, &[wanted("a"), wanted("b")], lease)
            .await
            .unwrap();
        let follower = Follower::start(
            Arc::new(registry.clone()),
            FollowerOptions::default(),
            CancellationToken::new(),
        );
        until(&follower, |state| state.queries.len() == 2).await;

        registry.set_available(false);
        let lost = until(&follower, |state| !state.connected).await;
        assert_eq!(
            (lost.queries.len(), lost.trouble),
            (2, Some(Category::Unavailable))
        );
        let pending = tokio::spawn({
            let follower = follower.clone();
            async move { follower.caught_up().await }
        });
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!pending.is_finished());

        registry.set_available(true);
        registry
            .renew(handler, &[wanted("b"), wanted("c")], lease)
            .await
            .unwrap();
        let revision = pending.await.unwrap().unwrap();
        let back = follower.state();
        assert_eq!(
            (back.revision, back.loads, back.trouble),
            (Some(revision), 2, None)
        );
        let mut filters: Vec<&str> = back
            .queries
            .values()
            .map(|query| query.filter.as_str())
            .collect();
        filters.sort_unstable();
        assert_eq!(filters, ["b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn vanished_query_goes_when_its_grace_is_over() {
        let (registry, handler) = (MemoryRegistry::new("p"), ProcessId::random());
        let grace = Duration::from_secs(60);
        let standby = registry.checkpoint();
        registry
            .renew(handler, &[wanted("a")], grace)
            .await
            .unwrap();
        let options = FollowerOptions {
            vanish_grace: Some(grace),
        };
        let follower = Follower::start(
            Arc::new(registry.clone()),
            options,
            CancellationToken::new(),
        );
        until(&follower, |state| state.queries.len() == 1).await;
        registry.restore(&standby);
        registry.set_available(false);
        registry.set_available(true);
        let reloaded = until(&follower, |state| state.connected && state.loads == 2).await;
        assert_eq!((reloaded.queries.len(), reloaded.revision), (1, Some(0)));
        let at = Instant::now();
        until(&follower, |state| state.queries.is_empty()).await;
        assert!(at.elapsed() >= grace - Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn lost_signal_is_made_good_by_the_poll() {
        let (registry, handler) = (MemoryRegistry::new("p"), ProcessId::random());
        let follower = Follower::start(
            Arc::new(registry.clone()),
            FollowerOptions::default(),
            CancellationToken::new(),
        );
        until(&follower, |state| state.connected).await;
        // Written behind the feeds' back.
        let other = MemoryRegistry::new("p");
        other
            .renew(handler, &[wanted("a")], Duration::from_secs(60))
            .await
            .unwrap();
        registry.restore(&other.checkpoint());
        let state = until(&follower, |state| state.queries.len() == 1).await;
        assert_eq!(state.loads, 1);
    }
}
