//! A ClickstreamQuery: its filter checked, its row in the registry, its status.
//!
//! It has no finalizer, but for a sink whose topic goes with it: when it is gone the row is removed by whoever sees it go,
//! and what nobody saw is found by [`sweep`]. So no namespace waits for a database to be deleted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clickstream_engine::{FieldPath, Filter, FilterError, Projection};
use clickstream_registry::{
    Category, Registry as _, RegistryError, Served, Standing, StandingName,
};
use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{
    ClickstreamPipeline, ClickstreamQuery, ClickstreamQuerySpec, Programmed, QueryStatus,
};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::grant::{Refusal, resolve};
use super::sink;
use super::status::{self, Conditions};
use super::{Context, Error, LOOK_LIMIT, chain};
use crate::registries::{Pipeline, Seen};

/// Rates and viewers are written at most so often.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Queries of a pipeline that rest are looked at so far apart, taken together: looks at thousands of them must not keep
/// those waiting that are new.
const REST: Duration = Duration::from_millis(10);
/// A row that workers take up within this is told of once, when they have.
const TAKEN_UP: Duration = Duration::from_secs(3);
/// Between two looks at a row that workers have not taken up yet, at least.
const TAKE_UP: Duration = Duration::from_millis(500);
/// Conditions that `Ready` takes; the last only with a sink.
const NEEDS: [Type; 4] = [
    Type::Accepted,
    Type::ResolvedRefs,
    Type::Programmed,
    Type::SinkReady,
];

/// What the spec says, checked.
#[derive(Debug, PartialEq, Eq)]
struct Accepted {
    filter: String,
    fields: Vec<String>,
    rate: Option<u32>,
}

/// One look at a query.
///
/// # Errors
/// When the status cannot be written; everything else is in the status.
pub async fn reconcile(query: Arc<ClickstreamQuery>, ctx: Arc<Context>) -> Result<Action, Error> {
    ctx.may_look().await;
    let uid = query.uid().unwrap_or_default();
    if query.metadata.deletion_timestamp.is_some() {
        return Ok(release(&query, &uid, &ctx).await);
    }
    let looked = timeout(LOOK_LIMIT, look(&query, &uid, &ctx));
    let (result, outcome) = match looked.await {
        Ok(Ok(action)) => ("ok", Ok(action)),
        Ok(Err(err)) => {
            status::refused(&ctx, &*query, query.status.as_ref(), &err).await?;
            ("error", Err(err.into()))
        }
        Err(_) => {
            status::timed_out(&ctx, &*query, query.status.as_ref()).await?;
            ("timeout", Err(Error::Timeout))
        }
    };
    ctx.metrics.reconciled("ClickstreamQuery", result);
    outcome
}

/// The query is being deleted.
async fn release(query: &ClickstreamQuery, uid: &str, ctx: &Context) -> Action {
    let released = timeout(LOOK_LIMIT, sink::release(query, ctx)).await;
    let why = match released {
        Ok(Ok(())) => {
            ctx.backoff.forget(uid);
            return Action::await_change();
        }
        Ok(Err(why)) => why,
        Err(_) => "the brokers did not answer in time".to_owned(),
    };
    warn!(
        query = query.name_any(),
        why, "a query that is being deleted waits"
    );
    let before = query.status.as_ref();
    let mut status = before.cloned().unwrap_or_default();
    let generation = query.metadata.generation;
    let mut said = Conditions::new(&status.conditions, generation, Timestamp::now());
    said.set(Type::Ready, State::False, Reason::Deleting, why);
    status.conditions = said.finish();
    // It may be gone meanwhile; what cannot be told now is told at the next attempt.
    if let Err(err) = status::write(ctx, query, before, &status).await {
        debug!(error = chain(&err), "a status cannot be written");
    }
    Action::requeue(ctx.backoff.failed(uid).min(Duration::from_secs(30)))
}

async fn look(query: &ClickstreamQuery, uid: &str, ctx: &Context) -> Result<Action, kube::Error> {
    sink::keep(query, ctx).await?;
    let generation = query.metadata.generation;
    let before = query.status.as_ref();
    let conditions = before.map_or(&[][..], |status| &status.conditions);
    let mut status = QueryStatus {
        conditions: Vec::new(),
        ..before.cloned().unwrap_or_default()
    };
    let mut said = Conditions::new(conditions, generation, Timestamp::now());
    let mut known = before.cloned();
    if conditions.is_empty() {
        // Whoever waits for this object must not take one without conditions for a finished one.
        let needs = &NEEDS[..NEEDS.len() - usize::from(sink::of(query).is_none())];
        said.conclude(needs, (Reason::Ready, ""), false);
        status.conditions = said.finish();
        status::write(ctx, query, before, &status).await?;
        said = Conditions::new(&status.conditions, generation, Timestamp::now());
        known = Some(status.clone());
    }
    status.observed_generation = generation;
    let resolved = resolve(query, ctx).await?;
    let sink = sink::of(query);
    let accepted = accept(&query.spec).and_then(|accepted| match (sink, &resolved) {
        (Some(sink), Ok(pipeline)) => sink::check(sink, pipeline).map(|()| accepted),
        _ => Ok(accepted),
    });
    match &accepted {
        Ok(accepted) => {
            said.set(
                Type::Accepted,
                State::True,
                Reason::Accepted,
                "the filter can be used",
            );
            status.filter = Some(accepted.filter.clone());
        }
        Err(refusal) => {
            said.set(
                Type::Accepted,
                State::False,
                refusal.reason,
                &*refusal.message,
            );
            (status.filter, status.query_id) = (None, None);
        }
    }
    match &resolved {
        Ok(_) => said.set(
            Type::ResolvedRefs,
            State::True,
            Reason::Resolved,
            "the pipeline takes this query",
        ),
        Err(refusal) => said.set(
            Type::ResolvedRefs,
            State::False,
            refusal.reason,
            &*refusal.message,
        ),
    }
    let again = match (accepted, resolved) {
        (Ok(accepted), Ok(pipeline)) => {
            let again = program(
                query,
                &pipeline,
                accepted,
                ctx,
                &mut said,
                &mut status,
                &mut known,
            );
            match again.await {
                Some(again) => again,
                // Two writes of a status in a moment are one too many when thousands of queries come at once.
                None => return Ok(Action::requeue(TAKE_UP)),
            }
        }
        (Err(refusal), _) | (_, Err(refusal)) => {
            // What runs is what the spec says, and only where it may.
            withdraw(query, uid, ctx).await;
            status.programmed = None;
            if sink.is_some() {
                let words = "the query is not matched";
                said.set(Type::SinkReady, State::False, refusal.reason, words);
            }
            (status.viewers, status.match_rate) = (None, None);
            said.set(
                Type::Programmed,
                State::False,
                refusal.reason,
                "the query is not matched",
            );
            match refusal.reason {
                Reason::PipelineNotFound | Reason::NotPermitted => {
                    ctx.backoff.failed(uid).min(Duration::from_secs(30))
                }
                _ => Duration::from_secs(300),
            }
        }
    };
    let stalled = [Type::Accepted, Type::ResolvedRefs].iter().any(|kind| {
        said.get(*kind)
            .is_some_and(|condition| condition.status == "False")
    });
    if query.spec.suspend && !stalled {
        let words = "suspended: nothing is matched";
        said.set(Type::Ready, State::True, Reason::Suspended, words);
    } else {
        if sink.is_some() {
            said.keep(Type::SinkReady);
        }
        let needs = &NEEDS[..NEEDS.len() - usize::from(sink.is_none())];
        said.conclude(needs, (Reason::Ready, "every worker matches it"), stalled);
    }
    status.conditions = said.finish();
    status::write(ctx, query, known.as_ref(), &status).await?;
    Ok(Action::requeue(
        again.mul_f64(rand::random_range(0.9..=1.1)),
    ))
}

/// The filter and the fields, as the language reads them.
fn accept(spec: &ClickstreamQuerySpec) -> Result<Accepted, Refusal> {
    let refusal = |reason, what: &str, err: &FilterError| {
        let advice = err
            .suggestion
            .as_ref()
            .map_or(String::new(), |text| format!("\ntry: {text}"));
        Refusal {
            reason,
            message: format!("{what} is refused: {err}\n{}{advice}", err.caret()),
        }
    };
    let filter = Filter::parse(&spec.filter)
        .map_err(|err| refusal(Reason::InvalidFilter, "the filter", &err))?;
    let invalid = |err: &FilterError| refusal(Reason::InvalidFields, "a path in `fields`", err);
    let mut fields = Vec::new();
    for field in &spec.fields {
        let path = FieldPath::parse(field).map_err(|err| invalid(&err))?;
        fields.push(path.to_string());
    }
    if !fields.is_empty() {
        Projection::parse(&fields.join(",")).map_err(|err| invalid(&err))?;
    }
    Ok(Accepted {
        filter: filter.canonical().to_owned(),
        fields,
        rate: u32::try_from(spec.rate).ok().filter(|rate| *rate > 0),
    })
}

/// Writes the row and compares what the workers run. Answers when to look again, `None` while the row is so new that
/// nothing is to be told yet. `known` is the status that is there.
async fn program(
    query: &ClickstreamQuery,
    pipeline: &ClickstreamPipeline,
    accepted: Accepted,
    ctx: &Context,
    said: &mut Conditions,
    status: &mut QueryStatus,
    known: &mut Option<QueryStatus>,
) -> Option<Duration> {
    let uid = &*query.uid().unwrap_or_default();
    let (namespace, name) = (query.namespace().unwrap_or_default(), query.name_any());
    status.url = Some(url(pipeline, &namespace, &name));
    let key = key(pipeline);
    let Some(registry) = ctx.registries.get(&key) else {
        // An operator that has just started says nothing new before it has looked at the pipeline.
        if resolved(pipeline) && said.keep_said(Type::Programmed) {
            return Some(ctx.backoff.failed(uid).min(Duration::from_secs(10)));
        }
        let words = "the pipeline's database is not known yet: see the pipeline's conditions";
        said.set(
            Type::Programmed,
            State::Unknown,
            Reason::PipelineNotReady,
            words,
        );
        return Some(ctx.backoff.failed(uid).min(Duration::from_secs(10)));
    };
    let standing = Standing {
        name: StandingName { namespace, name },
        uid: uid.to_owned(),
        generation: query.metadata.generation.unwrap_or_default(),
        tenant: String::new(),
        filter: accepted.filter,
        fields: accepted.fields,
        rate: accepted.rate,
        suspended: query.spec.suspend,
        sink_topic: sink::of(query).map(|sink| sink.topic.clone()),
    };
    // Before workers hear of it, so that a topic that is made here is there.
    if sink::of(query).is_some() {
        let seen = registry.seen().await;
        let troubles = seen.iter().flat_map(|seen| &seen.sink_troubles);
        let troubles: Vec<_> = troubles.filter(|trouble| trouble.uid == uid).collect();
        let made = &mut status.made_topic;
        sink::settle(query, pipeline, &troubles, ctx, said, made, known).await;
    }
    let id = registry
        .registry
        .query_id(&standing.tenant, &standing.filter);
    status.query_id = Some(id.to_string());
    let (seen, served) = match put(&registry, &standing).await {
        Ok(found) => found,
        Err(err) => {
            debug!(error = chain(&err), query = %standing.name.name, "the registry did not take a query");
            let (state, reason) = match err.category() {
                Category::Unavailable => (State::Unknown, Reason::DatabaseUnavailable),
                Category::SchemaMissing => (State::Unknown, Reason::PipelineNotReady),
                Category::Invalid | Category::Bug => (State::False, Reason::InternalError),
            };
            // The message names no host and no SQL.
            said.set(Type::Programmed, state, reason, err.to_string());
            return Some(ctx.backoff.failed(uid).min(Duration::from_secs(30)));
        }
    };
    ctx.backoff.forget(uid);
    let programmed = programmed(&seen, served);
    let since = registry.put_since(uid).unwrap_or_default();
    let waits = programmed.is_some_and(|programmed| programmed.workers < programmed.of);
    if waits && since < TAKEN_UP {
        return None;
    }
    status.programmed = programmed;
    if tell(ctx, uid) || status.viewers.is_none() {
        status.viewers = Some(viewers(&seen, &standing.name));
        status.match_rate = Some(rate(seen.rates.get(&id).copied().unwrap_or(0.0)));
    }
    let (state, reason, words) = match programmed {
        None => (
            State::False,
            Reason::Suspended,
            "suspended: nothing is matched".to_owned(),
        ),
        Some(Programmed { of: 0, .. }) => (
            State::False,
            Reason::NoWorkers,
            "no worker is there".to_owned(),
        ),
        Some(Programmed { workers, of }) if workers == of => (
            State::True,
            Reason::Programmed,
            "every worker matches it".to_owned(),
        ),
        Some(Programmed { workers, of }) => (
            State::False,
            Reason::WaitingForWorkers,
            format!("{workers} of {of} workers match it"),
        ),
    };
    said.set(Type::Programmed, state, reason, words);
    Some(match reason {
        Reason::WaitingForWorkers | Reason::NoWorkers => {
            (since / 4).clamp(TAKE_UP, Duration::from_secs(15))
        }
        _ if sink::of(query).is_some() && !said.holds(Type::SinkReady) => TELL_EVERY / 3,
        _ => TELL_EVERY.max(REST.saturating_mul(registry.count())),
    })
}

/// Whether the pipeline's Secrets could be used when it was last looked at.
pub(super) fn resolved(pipeline: &ClickstreamPipeline) -> bool {
    let conditions = pipeline.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|said| said.type_ == Type::ResolvedRefs.as_str() && said.status == "True")
}

async fn put(
    registry: &Pipeline,
    standing: &Standing,
) -> Result<(Arc<Seen>, Option<Served>), Arc<RegistryError>> {
    let seen = registry.seen().await.map_err(Arc::new)?;
    let served = registry.put(standing, &seen).await?;
    Ok((seen, served))
}

/// How many of the workers run the row; `None` when there is none to run.
fn programmed(seen: &Seen, served: Option<Served>) -> Option<Programmed> {
    let served = served?;
    let workers = &seen.processes.workers;
    let level = workers
        .iter()
        .filter(|worker| worker.revision >= served.revision);
    Some(Programmed {
        workers: i32::try_from(level.count()).unwrap_or(i32::MAX),
        of: i32::try_from(workers.len()).unwrap_or(i32::MAX),
    })
}

fn viewers(seen: &Seen, name: &StandingName) -> i32 {
    let all = seen
        .processes
        .handlers
        .iter()
        .flat_map(|handler| &handler.viewers);
    let of: u32 = all
        .filter(|(viewed, _)| viewed == name)
        .map(|(_, viewers)| viewers)
        .sum();
    i32::try_from(of).unwrap_or(i32::MAX)
}

/// Matches per second to two digits, so that it does not change with every look.
fn rate(per_second: f64) -> String {
    if !per_second.is_finite() || per_second <= 0.0 {
        return "0/s".to_owned();
    }
    let unit = 10f64.powf(per_second.log10().floor() - 1.0);
    let rounded = (per_second / unit).round() * unit;
    match rounded {
        small if small < 0.1 => "<0.1/s".to_owned(),
        small if small < 10.0 => format!("{small:.1}/s"),
        large => format!("{large:.0}/s"),
    }
}

/// Whether rates and viewers may be written now.
fn tell(ctx: &Context, uid: &str) -> bool {
    let mut told = ctx.told.lock();
    let due = told
        .get(uid)
        .is_none_or(|at| at.elapsed() >= TELL_EVERY.mul_f64(0.9));
    if due {
        told.insert(uid.to_owned(), Instant::now());
    }
    due
}

fn url(pipeline: &ClickstreamPipeline, namespace: &str, name: &str) -> String {
    let handler = &pipeline.spec.handler;
    let exposed = || handler.exposure.as_ref()?.url();
    let base = handler.url.clone().or_else(exposed).unwrap_or_else(|| {
        let of = pipeline.namespace().unwrap_or_default();
        format!("http://{}-handler.{of}.svc", pipeline.name_any())
    });
    format!("{base}/?query={namespace}/{name}")
}

/// `NAMESPACE/NAME`, by which a pipeline is known to its database.
pub(crate) fn key(pipeline: &ClickstreamPipeline) -> String {
    format!(
        "{}/{}",
        pipeline.namespace().unwrap_or_default(),
        pipeline.name_any()
    )
}

/// The query is gone, or must not be matched: its row goes. What fails here is found by [`sweep`].
pub(crate) async fn remove(ctx: &Context, uid: &str) {
    ctx.told.lock().remove(uid);
    for registry in ctx.registries.holding(uid) {
        if let Err(err) = registry.remove(uid).await {
            warn!(
                error = chain(&err),
                uid, "a query's row cannot be removed yet"
            );
        }
    }
}

/// The query must not be matched: its row goes, whoever wrote it.
async fn withdraw(query: &ClickstreamQuery, uid: &str, ctx: &Context) {
    remove(ctx, uid).await;
    let wanted = &query.spec.pipeline_ref;
    let own = query.namespace().unwrap_or_default();
    let namespace = wanted.namespace.as_ref().unwrap_or(&own);
    let Some(registry) = ctx.registries.get(&format!("{namespace}/{}", wanted.name)) else {
        return;
    };
    if let Err(err) = registry.remove(uid).await {
        warn!(
            error = chain(&err),
            uid, "a query's row cannot be removed yet"
        );
    }
}

/// Removes rows of queries that are gone. What the store does not have is asked for: a store may be behind.
///
/// # Errors
/// When the registry or the API server does not answer.
pub(crate) async fn sweep(
    ctx: &Context,
    registry: &Pipeline,
    namespace: &str,
    name: &str,
) -> anyhow::Result<()> {
    let present = ctx.queries_of(namespace, name);
    let present: HashSet<StandingName> = present
        .iter()
        .map(|query| StandingName {
            namespace: query.namespace().unwrap_or_default(),
            name: query.name_any(),
        })
        .collect();
    let listed = registry.registry.list().await?;
    for standing in listed.into_iter().filter_map(|listed| listed.standing) {
        if present.contains(&standing) {
            continue;
        }
        let Some(row) = registry.registry.standing(&standing).await? else {
            continue;
        };
        let api = Api::<ClickstreamQuery>::namespaced(ctx.client.clone(), &standing.namespace);
        let found = api.get_opt(&standing.name).await?;
        if found.is_none_or(|found| found.uid().as_deref() != Some(&row.uid)) {
            registry.remove(&row.uid).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clickstream_registry::{ProcessId, Processes, WorkerRow};

    use super::*;

    #[test]
    fn rates_have_two_digits() {
        let cases = [
            (0.0, "0/s"),
            (f64::NAN, "0/s"),
            (0.004, "<0.1/s"),
            (0.26, "0.3/s"),
            (3.12, "3.1/s"),
            (35.2, "35/s"),
            (1_234.0, "1200/s"),
        ];
        for (per_second, text) in cases {
            assert_eq!(rate(per_second), text, "{per_second}");
        }
    }

    #[test]
    fn only_workers_at_the_rows_revision_count() {
        let worker = |revision| WorkerRow {
            id: ProcessId::random(),
            revision,
            lanes: 1,
            partitions: 1,
        };
        let seen = Seen {
            processes: Processes {
                workers: vec![worker(6), worker(7), worker(8)],
                handlers: Vec::new(),
            },
            rates: std::collections::HashMap::new(),
            sink_troubles: Vec::new(),
        };
        let id = clickstream_registry::query_id("a/b", "", "true");
        let served = Served {
            id,
            lane: 0,
            revision: 7,
        };
        assert_eq!(
            programmed(&seen, Some(served)),
            Some(Programmed { workers: 2, of: 3 })
        );
        assert_eq!(programmed(&seen, None), None);
    }

    #[test]
    fn a_bad_filter_is_told_with_place_and_advice() {
        let spec = |filter: &str| {
            let spec =
                serde_json::json!({"pipelineRef": {"name": "shop"}, "filter": filter, "rate": 0});
            serde_json::from_value::<ClickstreamQuerySpec>(spec).unwrap()
        };
        let refused = accept(&spec("event.type = 1")).unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidFilter);
        assert!(
            refused
                .message
                .ends_with("event.type = 1\n           ^\ntry: =="),
            "{}",
            refused.message
        );
        let accepted = accept(&spec("event.a>1")).unwrap();
        assert_eq!(
            (accepted.filter.as_str(), accepted.rate),
            ("event.a > 1", None)
        );
    }
}
