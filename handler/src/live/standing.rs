//! Keeps viewers of standing queries with what their query is now.

use std::{sync::Arc, time::Duration};

use clickstream_registry::{QueryId, RegistryError, StandingName, State};
use tokio::{sync::watch, time::sleep};
use tracing::warn;

use super::{EndReason, Live, registrar::chain};

/// Between two looks, however often the registry changes.
const PAUSE: Duration = Duration::from_millis(250);
/// After a failed look.
const RETRY: Duration = Duration::from_secs(1);

/// The task that follows standing queries.
pub(crate) struct Standing {
    pub(crate) live: Live,
    pub(crate) state: watch::Receiver<Arc<State>>,
}

impl Standing {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let state = Arc::clone(&self.state.borrow_and_update());
            let mut pause = PAUSE;
            let viewers = self.live.0.hub.lock().standing();
            for (member, name, query) in viewers {
                if refers(&state, query, &name) {
                    continue;
                }
                if let Err(err) = self.look_again(member, &name, query).await {
                    warn!(error = %chain(&err), "a standing query cannot be read; trying again");
                    self.state.mark_changed();
                    pause = RETRY;
                    break;
                }
            }
            sleep(pause).await;
            if self.state.changed().await.is_err() {
                return;
            }
        }
    }

    async fn look_again(
        &self,
        member: u64,
        name: &StandingName,
        query: QueryId,
    ) -> Result<(), RegistryError> {
        let inner = &self.live.0;
        let end = |reason, message: &str| {
            if let Some(query) = inner.hub.lock().end(member, reason, message) {
                inner.registrar.changed(query);
            }
        };
        let Some(standing) = inner.registry.standing(name).await? else {
            end(EndReason::Deleted, "the standing query was deleted");
            return Ok(());
        };
        if standing.suspended {
            end(EndReason::Suspended, "the standing query was suspended");
            return Ok(());
        }
        if inner.registry.query_id(&standing.tenant, &standing.filter) != query {
            let rate = inner.hub.lock().rate(member);
            let place = self
                .live
                .place(&standing.tenant, &standing.filter, rate)
                .await;
            place.migrate(member);
            inner.registrar.changed(query);
        }
        Ok(())
    }
}

/// Whether the registry, as last read, has the standing query refer to `query`.
fn refers(state: &State, query: QueryId, name: &StandingName) -> bool {
    let row = state.queries.get(&query);
    row.is_some_and(|row| row.standing.iter().any(|reference| reference.name == *name))
}
