//! Readers that follow, reload and meet failovers in any order end up with the registry's own set.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::{
    Change, Feed, MemoryRegistry, ProcessId, Query, Registry, RegistryError, Standing,
    StandingName, State, Wanted,
};

const LEASE: Duration = Duration::from_secs(60);
const HANDLERS: u8 = 3;
const READERS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Serve {
        handler: u8,
        filter: u8,
        limit: Option<u32>,
        subscribers: u32,
    },
    Release {
        handler: u8,
        filter: u8,
    },
    Renew {
        handler: u8,
        filters: Vec<u8>,
    },
    Leave {
        handler: u8,
    },
    PutStanding {
        name: u8,
        filter: u8,
        generation: i64,
        suspended: bool,
    },
    RemoveStanding {
        name: u8,
    },
    Pass {
        seconds: u64,
    },
    /// A reader reads what changed.
    Read {
        reader: usize,
    },
    /// A reader lost its connection.
    Reload {
        reader: usize,
    },
    /// The standby copies everything.
    Replicate,
    /// The standby takes over: what came after the copy is lost, every connection breaks.
    FailOver,
}

fn step() -> impl Strategy<Value = Step> {
    let (handler, filter, reader) = (0..HANDLERS, 0..6_u8, 0..READERS);
    prop_oneof![
        8 => (handler.clone(), filter.clone(), prop::option::of(1..4_u32), 0..3_u32)
            .prop_map(|(handler, filter, limit, subscribers)| Step::Serve { handler, filter, limit, subscribers }),
        5 => (handler.clone(), filter.clone()).prop_map(|(handler, filter)| Step::Release { handler, filter }),
        2 => (handler.clone(), prop::collection::vec(filter.clone(), 0..4))
            .prop_map(|(handler, filters)| Step::Renew { handler, filters }),
        1 => handler.prop_map(|handler| Step::Leave { handler }),
        3 => (0..2_u8, filter, 1..5_i64, any::<bool>()).prop_map(|(name, filter, generation, suspended)| {
            Step::PutStanding { name, filter, generation, suspended }
        }),
        1 => (0..2_u8).prop_map(|name| Step::RemoveStanding { name }),
        2 => prop_oneof![0..30_u64, Just(4_000)].prop_map(|seconds| Step::Pass { seconds }),
        8 => reader.clone().prop_map(|reader| Step::Read { reader }),
        2 => reader.prop_map(|reader| Step::Reload { reader }),
        1 => Just(Step::Replicate),
        1 => Just(Step::FailOver),
    ]
}

fn wanted(filter: u8, limit: Option<u32>, subscribers: u32) -> Wanted {
    Wanted {
        tenant: String::new(),
        filter: format!("event.n == {filter}"),
        lane: 0,
        subscribers,
        limit,
    }
}

/// One worker (with grace) and one handler (without), fed by the same snapshots.
struct Reader {
    feed: Box<dyn Feed>,
    exact: State,
    graceful: State,
}

impl Reader {
    async fn read(&mut self, everything: bool) {
        let since = self.exact.revision.filter(|_| !everything);
        let snapshot = self.feed.read(since).await.unwrap();
        let now = Instant::now();
        self.exact = self.exact.clone().merge(snapshot.clone(), now, None);
        self.graceful = self
            .graceful
            .clone()
            .merge(snapshot, now, Some(LEASE))
            .expire(now);
    }
}

fn sorted(state: &State) -> Vec<Query> {
    let mut queries: Vec<Query> = state
        .queries
        .values()
        .map(|query| Query::clone(query))
        .collect();
    queries.sort_by_key(|query| query.id);
    queries
}

async fn run(steps: Vec<Step>) {
    let registry = MemoryRegistry::new("p");
    let handlers: Vec<ProcessId> = (0..HANDLERS)
        .map(|n| ProcessId::from_bytes([n; 16]))
        .collect();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let feed = registry.feed().await.unwrap();
        readers.push(Reader {
            feed,
            exact: State::empty(),
            graceful: State::empty(),
        });
    }
    let mut standby = registry.checkpoint();
    let mut highest = 0;
    for step in steps {
        let before = registry.feed().await.unwrap().read(None).await.unwrap();
        let failed_over = matches!(step, Step::FailOver);
        match step {
            Step::Serve {
                handler,
                filter,
                limit,
                subscribers,
            } => {
                let change = Change::Serve(wanted(filter, limit, subscribers));
                let done = registry
                    .apply(handlers[usize::from(handler)], &[change])
                    .await;
                assert!(matches!(done, Ok(_) | Err(RegistryError::NoLease)));
            }
            Step::Release { handler, filter } => {
                let id = registry.query_id("", &wanted(filter, None, 0).filter);
                let done = registry
                    .apply(handlers[usize::from(handler)], &[Change::Release(id)])
                    .await;
                assert!(matches!(done, Ok(_) | Err(RegistryError::NoLease)));
            }
            Step::Renew { handler, filters } => {
                let serves: Vec<Wanted> = filters
                    .into_iter()
                    .map(|filter| wanted(filter, None, 1))
                    .collect();
                registry
                    .renew(handlers[usize::from(handler)], &serves, LEASE)
                    .await
                    .unwrap();
            }
            Step::Leave { handler } => registry
                .leave(handlers[usize::from(handler)])
                .await
                .unwrap(),
            Step::PutStanding {
                name,
                filter,
                generation,
                suspended,
            } => {
                let standing = Standing {
                    name: StandingName {
                        namespace: "n".into(),
                        name: name.to_string(),
                    },
                    uid: name.to_string(),
                    generation,
                    tenant: String::new(),
                    filter: wanted(filter, None, 0).filter,
                    fields: vec![],
                    rate: Some(100),
                    suspended,
                    sink_topic: (generation % 2 == 1).then(|| "sink".to_owned()),
                };
                let done = registry.put_standing(&standing, 0).await;
                assert!(matches!(done, Ok(_) | Err(RegistryError::Stale { .. })));
            }
            Step::RemoveStanding { name } => {
                registry.remove_standing(&name.to_string()).await.unwrap();
            }
            Step::Pass { seconds } => tokio::time::advance(Duration::from_secs(seconds)).await,
            Step::Read { reader } => readers[reader].read(false).await,
            Step::Reload { reader } => readers[reader].read(true).await,
            Step::Replicate => standby = registry.checkpoint(),
            Step::FailOver => {
                registry.restore(&standby);
                // It takes longer than the numbers given out can have run ahead of the clock.
                tokio::time::advance(Duration::from_millis(1)).await;
                for reader in &mut readers {
                    reader.read(true).await;
                }
            }
        }
        let truth = registry.feed().await.unwrap().read(None).await.unwrap();
        let mut rows = truth.queries.clone();
        rows.sort_by_key(|query| query.id);
        if truth.revision == before.revision {
            assert_eq!(truth.queries, before.queries, "a change without a revision");
        } else if !failed_over {
            assert!(truth.revision > highest, "a revision was given out twice");
        }
        highest = highest.max(truth.revision);
        for reader in readers
            .iter()
            .filter(|reader| reader.exact.revision == Some(truth.revision))
        {
            assert_eq!(sorted(&reader.exact), rows);
            // Whoever has grace knows more, never less.
            assert!(rows.iter().all(
                |row| reader.graceful.queries.get(&row.id).map(|query| &**query) == Some(row)
            ));
        }
    }
    // Once the grace is over it knows the same.
    for reader in &mut readers {
        reader.read(false).await;
        let later = Instant::now() + LEASE;
        assert_eq!(
            sorted(&reader.graceful.clone().expire(later)),
            sorted(&reader.exact)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_ends_up_with_the_registrys_set(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}
