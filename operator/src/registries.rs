//! The registries of all pipelines: one connection each, what it said last, and what was written to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clickstream_registry::{
    PostgresRegistry, Processes, QueryId, Registry, RegistryError, Served, SinkTrouble, Standing,
    StandingChange, StandingChanged,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What a registry says of its processes is asked at most so often, however many queries want to know.
const FRESH: Duration = Duration::from_secs(1);
/// What was written is written again after this: somebody may have emptied the database.
const PUT_AGAIN: Duration = Duration::from_secs(300);

/// Changes that one transaction takes at most: it ends well within the registry's limit for a call.
const AT_ONCE: usize = 500;

/// By the pipeline's key, `NAMESPACE/NAME`.
#[derive(Debug, Default)]
pub struct Registries {
    known: Mutex<HashMap<String, Arc<Pipeline>>>,
}

/// The registry of one pipeline.
#[derive(Debug)]
pub struct Pipeline {
    url: String,
    /// For everything but standing queries, which go through the methods here.
    pub registry: PostgresRegistry,
    /// Changes of standing queries that wait for the transaction before theirs.
    waiting: Mutex<Vec<Waiting>>,
    /// Held by whoever makes them.
    writes: tokio::sync::Mutex<()>,
    /// Lanes that there are when no worker says how many it can write to.
    lanes: Mutex<u32>,
    seen: tokio::sync::Mutex<Option<(Instant, Arc<Seen>)>>,
    /// By the uid of the ClickstreamQuery.
    put: Mutex<HashMap<String, Put>>,
}

/// What a registry said.
#[derive(Debug)]
pub struct Seen {
    /// Workers and handlers that are there.
    pub processes: Processes,
    /// Matches per second.
    pub rates: HashMap<QueryId, f64>,
    /// What sinks refused lately.
    pub sink_troubles: Vec<SinkTrouble>,
}

/// A change, and who wants to know what came of it.
type Waiting = (StandingChange, oneshot::Sender<Answer>);

type Answer = Result<StandingChanged, Arc<RegistryError>>;

#[derive(Debug)]
struct Put {
    standing: Standing,
    served: Option<Served>,
    at: Instant,
}

impl Registries {
    /// The registry of a pipeline, if the pipeline's database is known.
    pub fn get(&self, key: &str) -> Option<Arc<Pipeline>> {
        self.known.lock().get(key).cloned()
    }

    /// The registry of a pipeline in the database at `url`; a changed address makes a new one.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn set(&self, key: &str, url: &str) -> Result<Arc<Pipeline>, RegistryError> {
        if let Some(known) = self.get(key).filter(|known| known.url == url) {
            return Ok(known);
        }
        let pipeline = Arc::new(Pipeline {
            url: url.to_owned(),
            registry: PostgresRegistry::new(url, key, "clickstream-operator")?,
            waiting: Mutex::default(),
            writes: tokio::sync::Mutex::default(),
            lanes: Mutex::new(0),
            seen: tokio::sync::Mutex::default(),
            put: Mutex::default(),
        });
        self.known
            .lock()
            .insert(key.to_owned(), Arc::clone(&pipeline));
        Ok(pipeline)
    }

    /// The pipeline is gone. What stands in its database stays there.
    pub fn forget(&self, key: &str) {
        self.known.lock().remove(key);
    }

    /// Every registry that a ClickstreamQuery was written to.
    pub fn holding(&self, uid: &str) -> Vec<Arc<Pipeline>> {
        let known = self.known.lock();
        let holding = known
            .values()
            .filter(|known| known.put.lock().contains_key(uid));
        holding.cloned().collect()
    }
}

impl Pipeline {
    /// The filtered topic has so many partitions.
    pub fn set_lanes(&self, lanes: u32) {
        *self.lanes.lock() = lanes;
    }

    /// What the registry says now, or said within the last second.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn seen(&self) -> Result<Arc<Seen>, RegistryError> {
        let mut seen = self.seen.lock().await;
        if let Some((at, fresh)) = seen.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(fresh));
        }
        let fresh = Arc::new(Seen {
            processes: self.registry.processes().await?,
            rates: self.registry.standing_rates().await?.into_iter().collect(),
            sink_troubles: self.registry.sink_troubles().await?,
        });
        *seen = Some((Instant::now(), Arc::clone(&fresh)));
        Ok(fresh)
    }

    /// Writes what a ClickstreamQuery asks for, unless that stands there already. `None` while it is suspended.
    ///
    /// # Errors
    /// When the registry does not answer, or a later generation stands there.
    pub async fn put(
        &self,
        standing: &Standing,
        seen: &Seen,
    ) -> Result<Option<Served>, Arc<RegistryError>> {
        if let Some(put) = self.put.lock().get(&standing.uid)
            && put.standing == *standing
            && put.at.elapsed() < PUT_AGAIN
        {
            return Ok(put.served);
        }
        let id = self.registry.query_id(&standing.tenant, &standing.filter);
        let change = StandingChange::Put {
            standing: standing.clone(),
            lane: lane(id, self.lanes_of(seen)),
        };
        let served = match self.change(change).await? {
            StandingChanged::Put(served) => served,
            StandingChanged::Removed(_) => None,
        };
        let put = Put {
            standing: standing.clone(),
            served,
            at: Instant::now(),
        };
        self.put.lock().insert(standing.uid.clone(), put);
        Ok(served)
    }

    /// Since when it stands there as it is.
    pub fn put_since(&self, uid: &str) -> Option<Duration> {
        self.put.lock().get(uid).map(|put| put.at.elapsed())
    }

    /// How many stand there.
    pub fn count(&self) -> u32 {
        u32::try_from(self.put.lock().len()).unwrap_or(u32::MAX)
    }

    /// Removes what a ClickstreamQuery asked for.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn remove(&self, uid: &str) -> Result<(), Arc<RegistryError>> {
        let uid = uid.to_owned();
        self.change(StandingChange::Remove { uid: uid.clone() })
            .await?;
        self.put.lock().remove(&uid);
        Ok(())
    }

    /// Makes a change, in one transaction with all that came while another one ran: each costs its way to the disk.
    async fn change(&self, change: StandingChange) -> Answer {
        let (answer, mut answered) = oneshot::channel();
        self.waiting.lock().push((change, answer));
        loop {
            let turn = self.writes.lock().await;
            match answered.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Empty) => self.write().await,
                // Whoever had taken it on was given up in the middle.
                Err(oneshot::error::TryRecvError::Closed) => {
                    let given_up = "the change was given up; it is made again".into();
                    return Err(Arc::new(RegistryError::Unavailable(given_up)));
                }
            }
            drop(turn);
        }
    }

    /// Makes the first of the changes that wait.
    async fn write(&self) {
        let (changes, answers): (Vec<_>, Vec<_>) = {
            let mut waiting = self.waiting.lock();
            let first = waiting.len().min(AT_ONCE);
            waiting.drain(..first).unzip()
        };
        let outcomes: Vec<Answer> = match self.registry.change_standing(&changes).await {
            Ok(outcomes) => outcomes
                .into_iter()
                .map(|outcome| outcome.map_err(Arc::new))
                .collect(),
            Err(err) => {
                let err = Arc::new(err);
                answers.iter().map(|_| Err(Arc::clone(&err))).collect()
            }
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever asked may have been given up meanwhile.
            let _ = answer.send(outcome);
        }
    }

    /// Below this all workers can write: the smallest that one says, or the topic's partitions while none is there.
    fn lanes_of(&self, seen: &Seen) -> u32 {
        let said = seen
            .processes
            .workers
            .iter()
            .map(|worker| worker.lanes)
            .min();
        said.unwrap_or(*self.lanes.lock()).max(1)
    }
}

/// Spreads queries over lanes; a query that exists keeps its own.
fn lane(id: QueryId, lanes: u32) -> u32 {
    let bytes = id.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) % lanes
}
