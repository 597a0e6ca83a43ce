use std::sync::Arc;

use tokio::sync::watch;

/// Something a program cannot work without. The names are part of `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    /// The brokers answer and the source topics exist.
    Kafka,
    /// PostgreSQL answers.
    Database,
    /// The tables are there, in a version this program knows.
    Schema,
    /// The topic of matches exists.
    FilteredTopic,
    /// The set of queries was read at least once.
    Registry,
    /// The Kubernetes API answers.
    Kubernetes,
    /// The custom resources are defined there.
    CustomResources,
}

impl Waiting {
    const ALL: [Waiting; 7] = [
        Waiting::Kafka,
        Waiting::Database,
        Waiting::Schema,
        Waiting::FilteredTopic,
        Waiting::Registry,
        Waiting::Kubernetes,
        Waiting::CustomResources,
    ];

    /// As written in `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Waiting::Kafka => "kafka",
            Waiting::Database => "database",
            Waiting::Schema => "schema",
            Waiting::FilteredTopic => "filtered-topic",
            Waiting::Registry => "registry",
            Waiting::Kubernetes => "kubernetes",
            Waiting::CustomResources => "custom-resources",
        }
    }
}

/// Whether the program can do work now, and what it waits for. Clones share one state.
///
/// Ready means: nothing is waited for, and [`Health::drain`] was not called.
#[derive(Clone, Debug)]
pub struct Health {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// Bit `n` is set while `Waiting::ALL[n]` is waited for.
    waiting: u8,
    draining: bool,
}

impl Health {
    /// Not ready until each of `needs` was reported by [`Health::set_ready`].
    pub fn new(needs: &[Waiting]) -> Health {
        let waiting = needs.iter().fold(0, |bits, need| bits | bit(*need));
        let state = State {
            waiting,
            draining: false,
        };
        Health {
            state: Arc::new(watch::Sender::new(state)),
        }
    }

    /// `need` is there.
    pub fn set_ready(&self, need: Waiting) {
        self.update(|state| state.waiting &= !bit(need));
    }

    /// `need` is missing, or went away.
    pub fn set_waiting(&self, need: Waiting) {
        self.update(|state| state.waiting |= bit(need));
    }

    /// Ends readiness for good: the program takes nothing new and finishes what it has.
    pub fn drain(&self) {
        self.update(|state| state.draining = true);
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        let state = *self.state.borrow();
        state.waiting == 0 && !state.draining
    }

    /// What is waited for, in a fixed order; empty when ready or draining.
    pub fn waiting_for(&self) -> Vec<Waiting> {
        let waiting = self.state.borrow().waiting;
        Waiting::ALL
            .into_iter()
            .filter(|need| waiting & bit(*need) != 0)
            .collect()
    }

    /// Completes once [`Health::is_ready`] holds. Never completes after [`Health::drain`].
    pub async fn ready(&self) {
        let mut changes = self.state.subscribe();
        // The sender lives in `self`, so the only outcome is the condition.
        let _ = changes
            .wait_for(|state| state.waiting == 0 && !state.draining)
            .await;
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = *state;
            change(state);
            *state != before
        });
    }
}

fn bit(need: Waiting) -> u8 {
    1 << (need as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_nothing_is_waited_for() {
        let health = Health::new(&[Waiting::Kafka, Waiting::Registry]);
        assert_eq!(health.waiting_for(), [Waiting::Kafka, Waiting::Registry]);
        health.set_ready(Waiting::Kafka);
        assert!(!health.is_ready());
        health.set_ready(Waiting::Registry);
        assert!(health.is_ready());
        health.set_waiting(Waiting::Database);
        assert_eq!(health.waiting_for(), [Waiting::Database]);
    }

    #[test]
    fn draining_ends_readiness_for_good() {
        let health = Health::new(&[]);
        assert!(health.is_ready());
        health.drain();
        health.set_ready(Waiting::Kafka);
        assert!(!health.is_ready());
    }

    #[tokio::test]
    async fn ready_completes_when_the_last_need_arrives() {
        let health = Health::new(&[Waiting::Schema]);
        let waiter = tokio::spawn({
            let health = health.clone();
            async move { health.ready().await }
        });
        health.set_ready(Waiting::Schema);
        waiter.await.unwrap();
    }
}
