//! A ClickstreamPipeline: topics, tables, then everything in the cluster, and always its status.
//!
//! # Expected flow
//! 1. The spec is checked; of two pipelines that want one topic or group the older one has it.
//! 2. Secrets are read. What already runs is looked at, whatever comes next.
//! 3. Kafka and PostgreSQL are brought to what the spec says, each on its own: one that is away does not keep the other.
//! 4. Once both are, objects are applied, Deployments last; then what exposes the handlers, and what the spec asks for no
//!    more is removed.
//!
//! # Guarantees
//! - A dependency that is away tears nothing down: objects stay as they are until it is back.
//! - The status is written on every path, and only when it differs.
//! - Paused, nothing is changed, in the cluster or outside.

use std::sync::Arc;
use std::time::Duration;

use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{
    ClickstreamPipeline, ClickstreamQuery, Phase, PipelineStatus, QueriesStatus,
};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::build::{Plan, objects};
use super::fetch::{connections, secrets};
use super::status::{self, Conditions};
use super::validate::{Validated, conflict, validate};
use super::{
    Context, Error, LOOK_LIMIT, apply, brokers, chain, exposure, finalize, operands, orphans,
    query, tables,
};
use crate::scaling;

/// Conditions that `Ready` takes, in the order in which they come about; the last only with an exposure.
const NEEDS: [Type; 8] = [
    Type::Accepted,
    Type::ResolvedRefs,
    Type::KafkaReady,
    Type::TopicsReady,
    Type::SchemaReady,
    Type::WorkersReady,
    Type::HandlersReady,
    Type::ExposureReady,
];
/// Between two looks when all is well: drift outside the cluster is found by them.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The same while it is suspended, when nothing depends on what drifts: hundreds of such pipelines cost next to nothing.
const LOOK_SUSPENDED: Duration = Duration::from_secs(300);
/// While something starts; watches tell sooner.
const LOOK_SOON: Duration = Duration::from_secs(5);

/// One look at a pipeline.
///
/// # Errors
/// When the status cannot be written; everything else is in the status.
pub async fn reconcile(
    pipeline: Arc<ClickstreamPipeline>,
    ctx: Arc<Context>,
) -> Result<Action, Error> {
    ctx.may_look().await;
    let (result, outcome) = match timeout(LOOK_LIMIT, look(&pipeline, &ctx)).await {
        Ok(Ok(action)) => ("ok", Ok(action)),
        Ok(Err(err)) => {
            status::refused(&ctx, &*pipeline, pipeline.status.as_ref(), &err).await?;
            ("error", Err(err.into()))
        }
        Err(_) => {
            status::timed_out(&ctx, &*pipeline, pipeline.status.as_ref()).await?;
            ("timeout", Err(Error::Timeout))
        }
    };
    ctx.metrics.reconciled("ClickstreamPipeline", result);
    outcome
}

async fn look(pipeline: &ClickstreamPipeline, ctx: &Context) -> Result<Action, kube::Error> {
    let generation = pipeline.metadata.generation;
    let exposed = pipeline.spec.handler.exposure.is_some();
    let needs = &NEEDS[..NEEDS.len() - usize::from(!exposed)];
    let mut known = pipeline.status.clone();
    let mut status = known.clone().unwrap_or_default();
    let key = query::key(pipeline);
    ctx.scalers.recall(&key, &mut status).await;
    let mut said = Conditions::new(&status.conditions, generation, Timestamp::now());
    if status.conditions.is_empty() {
        // Whoever waits for this object must not take one without conditions for a finished one.
        said.conclude(needs, (Reason::Ready, ""), false);
        (status.conditions, status.phase) = (said.finish(), Some(Phase::Pending));
        status::write(ctx, pipeline, known.as_ref(), &status).await?;
        said = Conditions::new(&status.conditions, generation, Timestamp::now());
        known = Some(status.clone());
    }
    status.observed_generation = generation;
    if pipeline.metadata.deletion_timestamp.is_some() {
        let left = finalize::release(pipeline, ctx).await;
        let Err(why) = left else {
            return Ok(Action::await_change());
        };
        needs.iter().for_each(|need| said.keep(*need));
        said.set(Type::Ready, State::False, Reason::Deleting, &*why);
        said.set(Type::Reconciling, State::True, Reason::Deleting, why);
        (status.conditions, status.phase) = (said.finish(), Some(Phase::Deleting));
        status::write(ctx, pipeline, known.as_ref(), &status).await?;
        let again = ctx.backoff.failed(&pipeline.uid().unwrap_or_default());
        return Ok(Action::requeue(again.min(LOOK_EVERY)));
    }

    let mut rolled = false;
    let found = operands::observe(pipeline, ctx, &mut said, &mut status).await?;
    if let Some(valid) = accept(pipeline, ctx, &mut said) {
        rolled = advance(pipeline, &valid, found, ctx, &mut said, &mut status).await?;
    }
    let scales = scaling::is_active(pipeline);
    if scales && said.get(Type::ScalingActive).is_none() {
        let words = "nothing is decided while another condition is not met";
        said.set(Type::ScalingActive, State::False, Reason::NotReady, words);
    }
    if rolled {
        operands::observe(pipeline, ctx, &mut said, &mut status).await?;
    }
    if pipeline.spec.paused {
        said.set(
            Type::Paused,
            State::True,
            Reason::Paused,
            "paused: nothing is changed",
        );
    }
    needs.iter().for_each(|need| said.keep(*need));
    let refused = said
        .get(Type::WorkersReady)
        .is_some_and(|condition| condition.reason == Reason::ApplyFailed.as_str());
    let failed = refused || NEEDS[..5].iter().any(|need| !said.holds(*need));
    // What keeps it from being ready first.
    let missing = needs.iter().find(|need| !said.holds(**need));
    let stalled = missing
        .and_then(|kind| said.get(*kind))
        .is_some_and(|condition| {
            let final_reasons = [
                Reason::InvalidSpec,
                Reason::Conflict,
                Reason::NotSupported,
                Reason::NewerSchema,
                Reason::NotAccepted,
                Reason::GatewayApiMissing,
            ];
            condition.status == "False"
                && final_reasons
                    .iter()
                    .any(|reason| reason.as_str() == condition.reason)
        });
    // Watches tell of workers and handlers; of what keeps people out nobody does.
    let waits = missing.is_none_or(|kind| *kind == Type::ExposureReady);
    if pipeline.spec.suspend && !failed {
        said.set(
            Type::Ready,
            State::True,
            Reason::Suspended,
            "suspended: no worker and no handler runs",
        );
    } else {
        said.conclude(needs, (Reason::Ready, "workers and handlers run"), stalled);
    }
    status.queries = Some(count(&ctx.queries_of(
        &pipeline.namespace().unwrap_or_default(),
        &pipeline.name_any(),
    )));
    status.phase = Some(phase(pipeline, &said, &status));
    let ready = said.holds(Type::Ready);
    status.conditions = said.finish();
    status::write(ctx, pipeline, known.as_ref(), &status).await?;
    debug!(pipeline = key, ready, "looked at a pipeline");
    let uid = pipeline.uid().unwrap_or_default();
    let again = if failed {
        ctx.backoff.failed(&uid)
    } else {
        ctx.backoff.forget(&uid);
        match ready || waits {
            true if pipeline.spec.suspend => LOOK_SUSPENDED,
            true => LOOK_EVERY,
            false => LOOK_SOON,
        }
    };
    let again = if scales && !failed {
        again.min(scaling::every(pipeline))
    } else {
        again
    };
    Ok(Action::requeue(
        again.mul_f64(rand::random_range(0.9..=1.1)),
    ))
}

fn accept(
    pipeline: &ClickstreamPipeline,
    ctx: &Context,
    said: &mut Conditions,
) -> Option<Validated> {
    let valid = match validate(pipeline) {
        Ok(valid) => valid,
        Err(why) => {
            said.set(Type::Accepted, State::False, Reason::InvalidSpec, why);
            return None;
        }
    };
    let all: Vec<_> = ctx
        .pipelines
        .iter()
        .flat_map(|store| store.state())
        .collect();
    if let Some(why) = conflict(pipeline, &all) {
        said.set(Type::Accepted, State::False, Reason::Conflict, why);
        return None;
    }
    said.set(
        Type::Accepted,
        State::True,
        Reason::Accepted,
        "the spec can be used",
    );
    Some(valid)
}

/// Brings everything closer to the spec. Answers whether objects were applied.
async fn advance(
    pipeline: &ClickstreamPipeline,
    valid: &Validated,
    found: [Option<i32>; 2],
    ctx: &Context,
    said: &mut Conditions,
    status: &mut PipelineStatus,
) -> Result<bool, kube::Error> {
    let spec = &pipeline.spec;
    let secrets = secrets(&ctx.client, &valid.namespace, spec).await?;
    let connections = match connections(&valid.uid, &valid.brokers, spec, &secrets) {
        Ok(connections) => connections,
        Err(why) => {
            said.set(Type::ResolvedRefs, State::False, Reason::InvalidSecret, why);
            return Ok(false);
        }
    };
    let registry = match ctx.registries.set(&valid.key, &connections.database) {
        Ok(registry) => registry,
        Err(err) => {
            let name = &spec.postgres.secret_ref.name;
            said.set(
                Type::ResolvedRefs,
                State::False,
                Reason::InvalidSecret,
                format!("Secret `{name}`: {err}"),
            );
            return Ok(false);
        }
    };
    said.set(
        Type::ResolvedRefs,
        State::True,
        Reason::Resolved,
        "the Secrets can be used",
    );
    finalize::keep(pipeline, ctx).await?;
    brokers::settle(pipeline, valid, &connections, ctx, said, status).await;
    tables::settle(pipeline, valid, &connections, &registry, said, status).await;
    if let Some(kafka) = &status.kafka {
        registry.set_lanes(u32::try_from(kafka.filtered_partitions).unwrap_or(0));
    }
    let depends = [Type::KafkaReady, Type::TopicsReady, Type::SchemaReady];
    if said.holds(Type::SchemaReady)
        && let Err(err) = query::sweep(ctx, &registry, &valid.namespace, &valid.name).await
    {
        warn!(
            error = format!("{err:#}"),
            pipeline = valid.key,
            "rows of deleted queries cannot be looked for yet"
        );
    }
    registry.registry.rest().await;
    if spec.paused || !depends.into_iter().all(|kind| said.holds(kind)) {
        return Ok(false);
    }
    let plan = Plan {
        pipeline,
        valid,
        image: &ctx.image,
        fingerprint: &connections.fingerprint,
        replicas: scaling::settle(pipeline, found, ctx, said, status).await?,
        operator_namespace: ctx.client.default_namespace(),
    };
    let mut changed = false;
    for desired in objects(&plan) {
        let what = format!("{} `{}`", desired.resource.kind, desired.object.name_any());
        match apply::apply(ctx, &desired).await {
            Ok((true, _)) => {
                changed = true;
                info!(pipeline = valid.key, object = what, "applied");
            }
            Ok((false, _)) => {}
            Err(err @ kube::Error::Api(_)) if !status::passes(&err) => {
                let words = format!("{what} is refused: {}", chain(&err));
                for kind in [Type::WorkersReady, Type::HandlersReady] {
                    said.set(kind, State::False, Reason::ApplyFailed, &*words);
                }
                return Ok(false);
            }
            Err(err) => return Err(err),
        }
    }
    exposure::settle(&plan, ctx, said).await?;
    orphans::remove(&plan, ctx).await?;
    Ok(changed)
}

fn count(queries: &[Arc<ClickstreamQuery>]) -> QueriesStatus {
    let programmed = queries.iter().filter(|query| {
        let conditions = query.status.iter().flat_map(|status| &status.conditions);
        conditions
            .into_iter()
            .any(|condition| condition.type_ == "Programmed" && condition.status == "True")
    });
    QueriesStatus {
        total: i32::try_from(queries.len()).unwrap_or(i32::MAX),
        programmed: i32::try_from(programmed.count()).unwrap_or(i32::MAX),
    }
}

fn phase(pipeline: &ClickstreamPipeline, said: &Conditions, status: &PipelineStatus) -> Phase {
    let runs = status
        .worker
        .as_ref()
        .is_some_and(|worker| worker.ready > 0)
        || status
            .handler
            .as_ref()
            .is_some_and(|handler| handler.ready > 0);
    match (pipeline.spec.paused, said.holds(Type::Ready)) {
        (true, _) => Phase::Paused,
        (false, true) if pipeline.spec.suspend => Phase::Suspended,
        (false, true) => Phase::Running,
        (false, false) if runs => Phase::Degraded,
        (false, false) => Phase::Pending,
    }
}
