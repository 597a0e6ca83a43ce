//! From the registry's state to the set of queries that the threads run.

use std::sync::Arc;

use clickstream_registry::{Category, State};
use clickstream_telemetry::{Health, Waiting};
use tokio::sync::watch;
use tracing::debug;

use crate::metrics::Metrics;
use crate::queries::{Compiler, QuerySet};
use crate::topics::Topics;

/// Compiles each state of the registry; several changes may come as one.
pub(crate) struct Compile {
    states: watch::Receiver<Arc<State>>,
    topics: watch::Receiver<Topics>,
    metrics: Metrics,
    health: Health,
    compiler: Compiler,
    publish: watch::Sender<Arc<QuerySet>>,
}

impl Compile {
    pub(crate) fn new(
        states: watch::Receiver<Arc<State>>,
        topics: watch::Receiver<Topics>,
        metrics: Metrics,
        health: Health,
        compiler: Compiler,
    ) -> (Self, watch::Receiver<Arc<QuerySet>>) {
        let (publish, sets) = watch::channel(Arc::default());
        (
            Self {
                states,
                topics,
                metrics,
                health,
                compiler,
                publish,
            },
            sets,
        )
    }

    /// Ends when the follower or the watch of the topics does.
    pub(crate) async fn run(mut self) {
        let mut compiler = std::mem::take(&mut self.compiler);
        loop {
            let state = Arc::clone(&self.states.borrow_and_update());
            let lanes = self.topics.borrow_and_update().lanes;
            self.tell_health(&state);
            if let Some(revision) = state.revision {
                let queries = Arc::clone(&state.queries);
                // Many filters at once take a while to parse.
                let compiled = tokio::task::spawn_blocking(move || {
                    let set = compiler.compile(revision, &queries, lanes);
                    (compiler, set)
                });
                let Ok((back, set)) = compiled.await else {
                    return;
                };
                compiler = back;
                self.metrics.queries.set(set.filters.len() as i64);
                self.metrics.queries_refused.set(set.refused as i64);
                debug!(
                    revision,
                    queries = set.filters.len(),
                    lanes_in_use = set.lanes.len(),
                    "compiled"
                );
                self.publish.send_replace(Arc::new(set));
            }
            let changed = tokio::select! {
                changed = self.states.changed() => changed,
                changed = self.topics.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    fn tell_health(&self, state: &State) {
        let trouble = state.trouble.filter(|_| !state.connected);
        let schema_missing = trouble == Some(Category::SchemaMissing);
        for (need, ready) in [
            (Waiting::Registry, state.revision.is_some()),
            // Before the first answer nothing is known of either.
            (Waiting::Schema, state.loads > 0 && !schema_missing),
            (Waiting::Database, state.connected || schema_missing),
        ] {
            if ready {
                self.health.set_ready(need);
            } else {
                self.health.set_waiting(need);
            }
        }
    }
}
