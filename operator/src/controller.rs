//! Watches, and who looks at what when. Takes no decisions.

use std::fmt::Debug;
use std::future::ready;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use futures_util::future::{BoxFuture, join_all};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::utils::Backoff;
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt as _, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::client::WATCH_SECONDS;
use crate::reconcile::fetch::secret_names;
use crate::reconcile::status::Custom;
use crate::reconcile::{Context, Error, chain, pipeline, query};

/// The stores of one namespace, or of all, and who fills them.
pub struct Scope {
    namespace: Option<String>,
    pipelines: (Store<ClickstreamPipeline>, Writer<ClickstreamPipeline>),
    queries: (Store<ClickstreamQuery>, Writer<ClickstreamQuery>),
    filled: Filled,
}

/// Cancelled once the store of pipelines, and that of queries, has been filled. A store's own `wait_until_ready` wakes only
/// the last of several who wait, and each controller waits there for its store.
type Filled = [CancellationToken; 2];

/// One scope for each namespace, or one for all of them.
#[must_use]
pub fn scopes(namespaces: &[String]) -> Vec<Scope> {
    let scope = |namespace| Scope {
        namespace,
        pipelines: reflector::store(),
        queries: reflector::store(),
        filled: Filled::default(),
    };
    if namespaces.is_empty() {
        vec![scope(None)]
    } else {
        namespaces
            .iter()
            .map(|name| scope(Some(name.clone())))
            .collect()
    }
}

impl Scope {
    /// What is read.
    #[must_use]
    pub fn stores(&self) -> (Store<ClickstreamPipeline>, Store<ClickstreamQuery>) {
        (self.pipelines.0.clone(), self.queries.0.clone())
    }

    /// Cancelled once what is read is there.
    #[must_use]
    pub fn filled(&self) -> Filled {
        self.filled.clone()
    }
}

/// Runs all controllers until `cancel`; looks that have begun are finished.
pub async fn run(
    scopes: Vec<Scope>,
    ctx: Arc<Context>,
    concurrency: u16,
    cancel: CancellationToken,
) {
    let controllers = scopes.into_iter().flat_map(|scope| {
        let Scope {
            namespace,
            pipelines,
            queries,
            filled: [pipelines_filled, queries_filled],
        } = scope;
        let namespace = namespace.as_deref();
        [
            run_pipelines(
                namespace,
                pipelines,
                pipelines_filled,
                &ctx,
                concurrency,
                cancel.clone(),
            ),
            run_queries(
                namespace,
                queries,
                queries_filled,
                &ctx,
                concurrency,
                cancel.clone(),
            ),
        ]
    });
    join_all(controllers).await;
}

fn run_pipelines(
    namespace: Option<&str>,
    (store, writer): (Store<ClickstreamPipeline>, Writer<ClickstreamPipeline>),
    filled: CancellationToken,
    ctx: &Arc<Context>,
    concurrency: u16,
    cancel: CancellationToken,
) -> BoxFuture<'static, ()> {
    let client = &ctx.client;
    let gone = Arc::clone(ctx);
    let own = followed(api::<ClickstreamPipeline>(client, namespace), writer)
        .inspect(move |event| match event {
            Ok(watcher::Event::InitDone) => filled.cancel(),
            Ok(watcher::Event::Delete(pipeline)) => {
                let key = query::key(pipeline);
                gone.backoff.forget(&pipeline.uid().unwrap_or_default());
                gone.admins.forget(&key);
                gone.registries.forget(&key);
                gone.scalers.forget(&key);
                let uid = pipeline.uid().unwrap_or_default();
                gone.tidied.lock().remove(&uid);
            }
            _ => {}
        })
        .applied_objects()
        .predicate_filter(changed, PredicateConfig::default());
    let secrets = watcher(
        api::<PartialObjectMeta<Secret>>(client, namespace),
        config(),
    )
    .default_backoff()
    .touched_objects()
    .predicate_filter(predicates::resource_version, PredicateConfig::default());
    let known = store.clone();
    let of_secret = move |secret: PartialObjectMeta<Secret>| {
        let (namespace, name) = (secret.namespace(), secret.name_any());
        let uses = known.state_filter(|pipeline| {
            pipeline.namespace() == namespace
                && secret_names(&pipeline.spec).contains(name.as_str())
        });
        uses.iter()
            .map(|pipeline| ObjectRef::from_obj(&**pipeline))
            .collect::<Vec<_>>()
    };
    let controller = Controller::for_stream(own, store)
        .with_config(looks(concurrency))
        .trigger_backoff(OfEachWatch)
        .owns_stream(owned::<Deployment>(ctx, namespace))
        .owns_stream(owned::<ConfigMap>(ctx, namespace))
        .owns_stream(owned::<Service>(ctx, namespace))
        .owns_stream(owned::<ServiceAccount>(ctx, namespace))
        .owns_stream(owned::<Ingress>(ctx, namespace))
        .owns_stream(owned::<NetworkPolicy>(ctx, namespace))
        .owns_stream(owned::<PodDisruptionBudget>(ctx, namespace))
        .watches_stream(secrets, of_secret)
        .graceful_shutdown_on(cancel.cancelled_owned());
    let outcomes = controller.run(pipeline::reconcile, failed, Arc::clone(ctx));
    Box::pin(outcomes.for_each(|outcome| {
        told("ClickstreamPipeline", outcome);
        ready(())
    }))
}

fn run_queries(
    namespace: Option<&str>,
    (store, writer): (Store<ClickstreamQuery>, Writer<ClickstreamQuery>),
    filled: CancellationToken,
    ctx: &Arc<Context>,
    concurrency: u16,
    cancel: CancellationToken,
) -> BoxFuture<'static, ()> {
    let client = &ctx.client;
    let gone = Arc::clone(ctx);
    let own = followed(api::<ClickstreamQuery>(client, namespace), writer)
        .inspect(move |event| match event {
            Ok(watcher::Event::InitDone) => filled.cancel(),
            Ok(watcher::Event::Delete(deleted)) => {
                let (ctx, uid) = (Arc::clone(&gone), deleted.uid().unwrap_or_default());
                ctx.backoff.forget(&uid);
                tokio::spawn(async move { query::remove(&ctx, &uid).await });
            }
            _ => {}
        })
        .applied_objects()
        .predicate_filter(changed, PredicateConfig::default());
    // A pipeline that appears, goes or changes whom it allows concerns its queries, wherever it stands.
    let pipelines = watcher(
        api::<PartialObjectMeta<ClickstreamPipeline>>(client, namespace),
        config(),
    )
    .default_backoff()
    .touched_objects()
    .predicate_filter(changed, PredicateConfig::default());
    let all = Arc::clone(ctx);
    let of_pipeline = move |pipeline: PartialObjectMeta<ClickstreamPipeline>| {
        let namespace = pipeline.namespace().unwrap_or_default();
        let queries = all.queries_of(&namespace, &pipeline.name_any());
        queries
            .iter()
            .map(|query| ObjectRef::from_obj(&**query))
            .collect::<Vec<_>>()
    };
    let controller = Controller::for_stream(own, store)
        .with_config(looks(concurrency))
        .trigger_backoff(OfEachWatch)
        .watches_stream(pipelines, of_pipeline)
        .graceful_shutdown_on(cancel.cancelled_owned());
    let outcomes = controller.run(query::reconcile, failed, Arc::clone(ctx));
    Box::pin(outcomes.for_each(|outcome| {
        told("ClickstreamQuery", outcome);
        ready(())
    }))
}

/// What happens to objects of a kind, and `writer` filled with them.
fn followed<K: Custom>(
    objects: Api<K>,
    writer: Writer<K>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> {
    watcher(objects, config())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
}

/// What happens to objects of a kind that the operator made; the context is told first.
fn owned<K>(
    ctx: &Arc<Context>,
    namespace: Option<&str>,
) -> impl Stream<Item = watcher::Result<PartialObjectMeta<K>>> + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Send
        + Sync
        + 'static,
{
    let made = config().labels("app.kubernetes.io/managed-by=clickstream-operator");
    let objects = api::<PartialObjectMeta<K>>(&ctx.client, namespace);
    let (ctx, namespace) = (Arc::clone(ctx), namespace.map(str::to_owned));
    watcher(objects, made)
        .default_backoff()
        .inspect_ok(move |event| ctx.owned.told(namespace.as_deref(), event))
        .touched_objects()
}

/// No pause of the controller: each watch has a back-off of its own, and one that fails must not hold up the others.
struct OfEachWatch;

impl Iterator for OfEachWatch {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

impl Backoff for OfEachWatch {
    fn reset(&mut self) {}
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Without a debounce: it begins anew with each change, so an object that never rests would never be looked at.
/// Changes that come during a look are one look after it.
fn looks(concurrency: u16) -> ControllerConfig {
    ControllerConfig::default().concurrency(concurrency)
}

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// What a look depends on: not the status, which the look itself writes.
fn changed<K: Resource>(object: &K) -> Option<u64> {
    let meta = object.meta();
    let mut hash = DefaultHasher::new();
    (
        meta.generation,
        &meta.finalizers,
        &meta.annotations,
        meta.deletion_timestamp.is_some(),
    )
        .hash(&mut hash);
    Some(hash.finish())
}

/// What could not be written into the status is tried again, later each time.
fn failed<K: Resource>(object: Arc<K>, error: &Error, ctx: Arc<Context>) -> Action {
    let uid = object.meta().uid.clone().unwrap_or_default();
    let again = ctx.backoff.failed(&uid);
    warn!(
        kind = std::any::type_name::<K>().rsplit("::").next(),
        name = object.meta().name,
        namespace = object.meta().namespace,
        error = chain(error),
        again_seconds = again.as_secs(),
        "a look at an object failed"
    );
    Action::requeue(again)
}

/// Failures of looks have been told by [`failed`]; those of watches are told here.
fn told<T, E, W>(kind: &'static str, outcome: Result<T, kube::runtime::controller::Error<E, W>>)
where
    E: std::error::Error + 'static,
    W: std::error::Error + 'static,
{
    use kube::runtime::controller::Error as Failure;
    match outcome {
        Ok(_) | Err(Failure::ReconcilerFailed(..)) => {}
        // Deleted meanwhile.
        Err(Failure::ObjectNotFound(object)) => debug!(kind, %object, "the object is gone"),
        Err(err) => warn!(
            kind,
            error = chain(&err),
            "a watch failed; it is begun again"
        ),
    }
}
