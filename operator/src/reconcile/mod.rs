//! From an object to what it asks for: fetch, validate, plan, apply, status.

pub mod apply;
mod brokers;
pub mod build;
mod exposure;
pub mod fetch;
pub mod finalize;
mod grant;
mod operands;
mod orphans;
pub mod pipeline;
pub mod query;
mod sink;
pub mod status;
mod tables;
pub mod topics;
pub mod validate;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::kafka::Admins;
use crate::metrics::Metrics;
use crate::owned::Owned;
use crate::registries::Registries;
use crate::scaling::Scalers;

/// For one look at an object. Every call within has a limit of its own below this.
pub(crate) const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// For one request to the Kubernetes API.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(15);
/// Labels of a namespace are asked for again after this.
const LABELS_FRESH: Duration = Duration::from_secs(30);

/// What every look at an object works with.
pub struct Context {
    /// Cancelled once this operator leads; looks wait for it, watches do not.
    pub leading: CancellationToken,
    /// Each cancelled once a store has been filled.
    pub filled: Vec<CancellationToken>,
    /// Of the Kubernetes API.
    pub client: Client,
    /// Counters.
    pub metrics: Metrics,
    /// Tells of transitions.
    pub recorder: Recorder,
    /// Failures of single objects.
    pub backoff: Backoff,
    /// Databases of pipelines.
    pub registries: Registries,
    /// Brokers of pipelines.
    pub admins: Admins,
    /// How many pods pipelines have.
    pub scalers: Scalers,
    /// Objects of pipelines.
    pub owned: Owned,
    /// For the metrics of pods.
    pub http: reqwest::Client,
    /// Pipelines, a store for each watched namespace.
    pub pipelines: Vec<Store<ClickstreamPipeline>>,
    /// Queries, likewise.
    pub queries: Vec<Store<ClickstreamQuery>>,
    /// Image of workers and handlers.
    pub image: String,
    /// When rates and viewers of a query were last written, by uid.
    pub told: Mutex<HashMap<String, Instant>>,
    /// Generations of pipelines, by uid, whose unwanted objects were removed.
    pub tidied: Mutex<HashMap<String, Option<i64>>>,
    /// Labels of namespaces, and since when.
    pub labels: Mutex<HashMap<String, (Instant, Labels)>>,
}

/// Labels of an object.
type Labels = BTreeMap<String, String>;

/// A look that could not say in the object's status how it went.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("the Kubernetes API did not take the status")]
    Kube(#[from] kube::Error),
    /// It took too long.
    #[error("the look at the object took longer than {}s", LOOK_LIMIT.as_secs())]
    Timeout,
}

impl Context {
    /// Waits until this operator leads and every store has been filled once: decisions are not made on half a picture.
    pub async fn may_look(&self) {
        self.leading.cancelled().await;
        for store in &self.filled {
            store.cancelled().await;
        }
    }

    /// A pipeline of the watched namespaces.
    pub fn pipeline(&self, namespace: &str, name: &str) -> Option<Arc<ClickstreamPipeline>> {
        let reference = ObjectRef::new(name).within(namespace);
        self.pipelines
            .iter()
            .find_map(|store| store.get(&reference))
    }

    /// Every query that names the pipeline.
    pub fn queries_of(&self, namespace: &str, name: &str) -> Vec<Arc<ClickstreamQuery>> {
        let of = |query: &ClickstreamQuery| {
            let wanted = &query.spec.pipeline_ref;
            let own = query.metadata.namespace.as_deref();
            wanted.name == name && wanted.namespace.as_deref().or(own) == Some(namespace)
        };
        let of_store = |store: &Store<ClickstreamQuery>| store.state_filter(|query| of(query));
        self.queries.iter().flat_map(of_store).collect()
    }

    /// Labels of a namespace, at most 30 s old.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn labels_of(&self, namespace: &str) -> Result<Labels, kube::Error> {
        if let Some((at, labels)) = self.labels.lock().get(namespace)
            && at.elapsed() < LABELS_FRESH
        {
            return Ok(labels.clone());
        }
        let found = Api::<Namespace>::all(self.client.clone())
            .get_metadata(namespace)
            .await?;
        let labels = found.metadata.labels.unwrap_or_default();
        let entry = (Instant::now(), labels.clone());
        let mut known = self.labels.lock();
        known.retain(|_, (at, _)| at.elapsed() < LABELS_FRESH);
        known.insert(namespace.to_owned(), entry);
        Ok(labels)
    }
}

/// `error` with what stands behind it, for logs.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
