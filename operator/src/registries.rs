//! The registries of all pipelines: one connection each, what it said last, and what was written to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clickstream_registry::{
    PostgresRegistry, Processes, QueryId, Registry, RegistryError, Served, SinkTrouble, Standing,
};
use parking_lot::Mutex;

/// What a registry says of its processes is asked at most so often, however many queries want to know.
const FRESH: Duration = Duration::from_secs(1);
/// What was written is written again after this: somebody may have emptied the database.
const PUT_AGAIN: Duration = Duration::from_secs(300);

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
    ) -> Result<Option<Served>, RegistryError> {
        if let Some(put) = self.put.lock().get(&standing.uid)
            && put.standing == *standing
            && put.at.elapsed() < PUT_AGAIN
        {
            return Ok(put.served);
        }
        let id = self.registry.query_id(&standing.tenant, &standing.filter);
        let lane = lane(id, self.lanes_of(seen));
        let served = self.registry.put_standing(standing, lane).await?;
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

    /// Removes what a ClickstreamQuery asked for.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn remove(&self, uid: &str) -> Result<bool, RegistryError> {
        let removed = self.registry.remove_standing(uid).await?;
        self.put.lock().remove(uid);
        Ok(removed)
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
