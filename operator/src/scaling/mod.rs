//! How many workers and handlers a pipeline has, when its spec leaves that to the operator.
//!
//! # Expected flow
//! 1. Every few seconds all pods of a component are asked for their metrics ([`scrape`]).
//! 2. Two answers give the load, and the load how many are needed ([`load`]).
//! 3. Bounds, steps and times make the next number of it ([`mod@step`]).
//!
//! # Guarantees
//! What is not known changes nothing. What is remembered is bounded and may be lost: after a restart the status tells
//! when something was changed last, and nobody is taken away before a whole delay was watched.

pub mod load;
mod scrape;
pub mod step;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{ClickstreamPipeline, Decision, PipelineStatus, ScalingMode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use kube::{Resource as _, ResourceExt as _};
use tracing::{info, warn};

use self::load::{Load, Sample, measure, need};
use self::scrape::Pods;
use self::step::{History, Policy, Why, step};
use crate::reconcile::Context;
use crate::reconcile::build::{Component, selector_text};
use crate::reconcile::status::Conditions;

/// A load is taken over at most this many seconds.
const WINDOW: f64 = 60.0;
/// Decisions that the status shows.
const SHOWN: usize = 5;
/// Above this share of the time a worker has no room left.
const BUSY: f64 = 0.9;

/// What is remembered of each pipeline, by its key.
#[derive(Default)]
pub struct Scalers {
    known: parking_lot::Mutex<HashMap<String, Arc<tokio::sync::Mutex<Scaler>>>>,
}

impl Scalers {
    /// The pipeline is gone.
    pub fn forget(&self, key: &str) {
        self.known.lock().remove(key);
    }

    /// Adds to `status` the decisions that it lacks because it is of an object that was cached before the last status
    /// was written.
    pub(crate) async fn recall(&self, key: &str, status: &mut PipelineStatus) {
        let known = self.known.lock().get(key).map(Arc::clone);
        let Some(scaler) = known else { return };
        let mut decided = scaler.lock().await.decided.clone();
        let others = status.scaling.drain(..);
        let others: Vec<_> = others.filter(|other| !decided.contains(other)).collect();
        decided.extend(others);
        decided.sort_by(|a, b| b.time.cmp(&a.time));
        decided.truncate(SHOWN);
        status.scaling = decided;
    }

    fn get(&self, key: &str) -> Arc<tokio::sync::Mutex<Scaler>> {
        Arc::clone(self.known.lock().entry(key.to_owned()).or_default())
    }
}

#[derive(Default)]
struct Scaler {
    worker: Memory,
    handler: Memory,
    /// What the status showed after the last decision.
    decided: Vec<Decision>,
}

#[derive(Default)]
struct Memory {
    history: Option<History>,
    samples: VecDeque<Sample>,
    /// The last rate of a thread that was seen.
    rate: Option<f64>,
    /// When some were added while all were busy: from how many, to how many, records per second before.
    added: Option<(i32, i32, f64)>,
    advised: Option<i32>,
}

/// What the spec says of one component.
struct Asked {
    component: Component,
    mode: ScalingMode,
    policy: Policy,
}

/// How many there are needed, why not more, and from what that was told.
struct Needed {
    count: f64,
    reason: &'static str,
    held: Option<Reason>,
    inputs: String,
}

/// Whether somebody is to decide.
#[must_use]
pub fn is_active(pipeline: &ClickstreamPipeline) -> bool {
    let modes = [
        pipeline.spec.worker.autoscaling.mode,
        pipeline.spec.handler.autoscaling.mode,
    ];
    let decides = |mode| matches!(mode, ScalingMode::Auto | ScalingMode::Advise);
    !pipeline.spec.suspend && !pipeline.spec.paused && modes.into_iter().any(decides)
}

/// How often pods are asked: often enough for the shortest time in the spec.
#[must_use]
pub fn every(pipeline: &ClickstreamPipeline) -> Duration {
    let spec = &pipeline.spec;
    let (worker, handler) = (&spec.worker.autoscaling, &spec.handler.autoscaling);
    let shortest = worker
        .stabilization
        .duration()
        .min(handler.stabilization.duration());
    (shortest / 2).clamp(Duration::from_secs(1), Duration::from_secs(15))
}

fn asked(pipeline: &ClickstreamPipeline, status: &PipelineStatus) -> [Asked; 2] {
    let (worker, handler) = (
        &pipeline.spec.worker.autoscaling,
        &pipeline.spec.handler.autoscaling,
    );
    let partitions = status.kafka.as_ref().map(|kafka| kafka.source_partitions);
    [
        Asked {
            component: Component::Worker,
            mode: worker.mode,
            policy: Policy {
                min: worker.min,
                max: worker.max,
                partitions: partitions.unwrap_or(1).max(1),
                stabilization: worker.stabilization.duration().as_secs_f64(),
                scale_down_delay: worker.scale_down_delay.duration().as_secs_f64(),
            },
        },
        Asked {
            component: Component::Handler,
            mode: handler.mode,
            policy: Policy {
                min: handler.min,
                max: handler.max,
                partitions: i32::MAX,
                stabilization: handler.stabilization.duration().as_secs_f64(),
                scale_down_delay: handler.scale_down_delay.duration().as_secs_f64(),
            },
        },
    ]
}

/// The numbers of workers and of handlers to be applied; `None` leaves what is there to somebody else. `found` are those
/// of the Deployments, where they exist.
///
/// # Errors
/// When the API server refuses or does not answer.
pub(crate) async fn settle(
    pipeline: &ClickstreamPipeline,
    found: [Option<i32>; 2],
    ctx: &Context,
    said: &mut Conditions,
    status: &mut PipelineStatus,
) -> Result<[Option<i32>; 2], kube::Error> {
    let spec = &pipeline.spec;
    let first = [spec.worker.replicas, spec.handler.replicas];
    if spec.suspend {
        return Ok([Some(0), Some(0)]);
    }
    let key = crate::reconcile::query::key(pipeline);
    let scaler = ctx.scalers.get(&key);
    let mut scaler = scaler.lock().await;
    let Scaler {
        worker,
        handler,
        decided,
    } = &mut *scaler;
    let mut numbers = [None, None];
    let mut unknown = None;
    let mut held = None;
    for (place, asked) in asked(pipeline, status).into_iter().enumerate() {
        let memory = match asked.component {
            Component::Worker => &mut *worker,
            Component::Handler => &mut *handler,
        };
        let runs = found[place].filter(|count| *count > 0);
        let start = first[place].clamp(asked.policy.min, asked.policy.max.max(asked.policy.min));
        numbers[place] = match (asked.mode, runs) {
            (ScalingMode::Off, _) => Some(first[place]),
            (ScalingMode::External, Some(_)) => None,
            (ScalingMode::External, None) => Some(first[place].max(1)),
            (ScalingMode::Auto, None) => Some(start),
            (ScalingMode::Advise, None) => Some(first[place]),
            (ScalingMode::Auto | ScalingMode::Advise, Some(current)) => {
                let to = match look(pipeline, &asked, memory, current, ctx, status).await? {
                    Ok(Some((to, reason, needed))) => {
                        held = held.or(needed.held);
                        if to != current {
                            tell(
                                pipeline,
                                &asked,
                                memory,
                                (current, to),
                                reason,
                                needed,
                                ctx,
                                status,
                            )
                            .await;
                            decided.clone_from(&status.scaling);
                        } else {
                            memory.advised = None;
                        }
                        to
                    }
                    Ok(None) => current,
                    Err(pod) => {
                        unknown = unknown.or(Some(pod));
                        current
                    }
                };
                match asked.mode {
                    ScalingMode::Auto => Some(to),
                    _ => Some(first[place]),
                }
            }
        };
    }
    if !is_active(pipeline) {
        return Ok(numbers);
    }
    match (unknown, held) {
        (Some(pod), _) => said.set(
            Type::ScalingActive,
            State::False,
            Reason::MetricsUnavailable,
            format!(
                "the metrics of pod `{pod}` cannot be had: see that the operator may reach its port 8080; nothing is decided meanwhile"
            ),
        ),
        (None, Some(reason)) => {
            said.set(Type::ScalingActive, State::True, reason, reason.meaning().trim());
        }
        (None, None) => said.set(
            Type::ScalingActive,
            State::True,
            Reason::Scaling,
            "as many as the load takes",
        ),
    }
    Ok(numbers)
}

type Looked = Result<Option<(i32, &'static str, Needed)>, String>;

/// Asks the pods and decides; nothing is decided while they come and go. The inner error names a pod that is silent.
async fn look(
    pipeline: &ClickstreamPipeline,
    asked: &Asked,
    memory: &mut Memory,
    current: i32,
    ctx: &Context,
    status: &PipelineStatus,
) -> Result<Looked, kube::Error> {
    let selector = selector_text(&pipeline.name_any(), asked.component);
    let namespace = pipeline.namespace().unwrap_or_default();
    let pods = scrape::ask(&ctx.client, &ctx.http, &namespace, &selector, current).await?;
    let bodies = match pods {
        Pods::Answered(bodies) => bodies,
        Pods::Silent(pod) => {
            memory.samples.clear();
            return Ok(Err(pod));
        }
        Pods::Changing => {
            memory.samples.clear();
            return Ok(Ok(None));
        }
    };
    let now = Timestamp::now().as_millisecond() as f64 / 1_000.0;
    let needed = match asked.component {
        Component::Worker => workers(pipeline, asked, memory, &bodies, current, now),
        Component::Handler => handlers(pipeline, &bodies),
    };
    let needed = match needed {
        Ok(Some(needed)) => needed,
        Ok(None) => return Ok(Ok(None)),
        Err(pod) => return Ok(Err(pod)),
    };
    let name = asked.component.as_str();
    let history = memory.history.get_or_insert_with(|| {
        let mut changes = status.scaling.iter();
        let last = changes.find(|decision| decision.component == name && decision.applied);
        History::changed_at(last.map(|decision| decision.time.0.as_second() as f64))
    });
    let mut needed = needed;
    // What is held back for a reason of its own must not add any.
    let count = match needed.held {
        Some(Reason::Ineffective) => needed.count.min(f64::from(current)),
        _ => needed.count,
    };
    let (to, why) = step(&asked.policy, history, count, current, now);
    if asked.mode == ScalingMode::Advise {
        // Advice changes nothing, and needs no time to take effect.
        *history = std::mem::take(history).unchanged();
    }
    let reason = match why {
        Why::Unknown => return Ok(Ok(None)),
        Why::More => needed.reason,
        Why::Fewer => "LessLoad",
        Why::Bounds => "Bounds",
        Why::AtMaximum => {
            needed.held = needed.held.or(Some(Reason::AtMaximum));
            ""
        }
        Why::Enough | Why::Stabilizing => "",
    };
    if to != current && asked.mode == ScalingMode::Auto {
        memory.samples.clear();
    }
    Ok(Ok(Some((to, reason, needed))))
}

/// How many workers are needed; the error names a pod that does not say what it should.
fn workers(
    pipeline: &ClickstreamPipeline,
    asked: &Asked,
    memory: &mut Memory,
    bodies: &[(String, String)],
    current: i32,
    now: f64,
) -> Result<Option<Needed>, String> {
    let mut sample = Sample {
        at: now,
        ..Sample::default()
    };
    for (pod, body) in bodies {
        let worker = scrape::worker(body).ok_or_else(|| pod.clone())?;
        sample.workers.insert(pod.clone(), worker);
    }
    while memory
        .samples
        .front()
        .is_some_and(|first| memory.samples.len() > 1 && now - first.at > WINDOW)
    {
        memory.samples.pop_front();
    }
    memory.samples.push_back(sample);
    let partitions = usize::try_from(asked.policy.partitions).unwrap_or(0);
    let (Some(first), Some(last)) = (memory.samples.front(), memory.samples.back()) else {
        return Ok(None);
    };
    let Some(load) = measure(first, last, partitions) else {
        if memory.samples.len() > 1 {
            memory.samples.drain(..memory.samples.len() - 1);
        }
        return Ok(None);
    };
    memory.rate = load.rate.or(memory.rate);
    let scaling = &pipeline.spec.worker.autoscaling;
    let target = scaling.target_utilization.parse().unwrap_or(0.7);
    let catch_up = scaling.catch_up.duration().as_secs_f64();
    let needed = need(&load, memory.rate, target, catch_up);
    let wants_more = needed.workers > f64::from(current);
    let read: f64 = load.partitions.iter().map(|partition| partition.read).sum();
    let held = if load.partitions.iter().any(|partition| partition.stuck) {
        Some(Reason::StuckPartition)
    } else if !wants_more && needed.hot && needed.unsplit > f64::from(current) {
        Some(Reason::PartitionSkew)
    } else if needed.unsplit > f64::from(current) && current == asked.policy.upper() {
        Some(Reason::AtMaximum)
    } else if wants_more && ineffective(memory.added, &load, read, current) {
        Some(Reason::Ineffective)
    } else {
        None
    };
    if wants_more && load.utilization > BUSY && memory.added.is_none_or(|(_, to, _)| to != current)
    {
        let to = current
            .saturating_mul(2)
            .min(asked.policy.fit(needed.workers));
        memory.added = (to > current).then_some((current, to, read));
    } else if !wants_more {
        memory.added = None;
    }
    Ok(Some(Needed {
        count: needed.workers,
        reason: if needed.backlog { "Lag" } else { "InputRate" },
        held,
        inputs: inputs(&load, memory.rate, needed.workers),
    }))
}

/// Whether the last workers that were added brought less than a tenth of what they should have.
fn ineffective(added: Option<(i32, i32, f64)>, load: &Load, read: f64, current: i32) -> bool {
    added.is_some_and(|(from, to, before)| {
        let expected = before * (f64::from(to) / f64::from(from.max(1)) - 1.0);
        to == current && load.utilization > BUSY && read - before < 0.1 * expected
    })
}

fn inputs(load: &Load, rate: Option<f64>, needed: f64) -> String {
    let lag: f64 = load.partitions.iter().map(|partition| partition.lag).sum();
    let arrived: f64 = load
        .partitions
        .iter()
        .map(|partition| partition.arrived)
        .sum();
    format!(
        "{} partitions, {arrived:.0} records/s in, lag {lag:.0}, {:.0} records/s by each thread, {:.0} % busy, {needed:.1} needed",
        load.partitions.len(),
        rate.unwrap_or(0.0),
        load.utilization * 100.0,
    )
}

fn handlers(
    pipeline: &ClickstreamPipeline,
    bodies: &[(String, String)],
) -> Result<Option<Needed>, String> {
    let mut connections = 0.0;
    for (pod, body) in bodies {
        connections += scrape::connections(body).ok_or_else(|| pod.clone())?;
    }
    let each = pipeline.spec.handler.autoscaling.target_connections.max(1);
    let count = connections / f64::from(each);
    Ok(Some(Needed {
        count,
        reason: "Connections",
        held: None,
        inputs: format!("{connections:.0} connections, {each} for each, {count:.1} needed"),
    }))
}

/// Into the status and an event.
#[expect(
    clippy::too_many_arguments,
    reason = "one decision, and where it is told"
)]
async fn tell(
    pipeline: &ClickstreamPipeline,
    asked: &Asked,
    memory: &mut Memory,
    (from, to): (i32, i32),
    reason: &str,
    needed: Needed,
    ctx: &Context,
    status: &mut PipelineStatus,
) {
    let applied = asked.mode == ScalingMode::Auto;
    if !applied && memory.advised == Some(to) {
        return;
    }
    memory.advised = (!applied).then_some(to);
    let component = asked.component.as_str();
    info!(
        pipeline = crate::reconcile::query::key(pipeline),
        component,
        from,
        to,
        reason,
        applied,
        inputs = needed.inputs,
        "decided how many there are"
    );
    let verb = if applied { "scaled" } else { "would scale" };
    let event = Event {
        type_: EventType::Normal,
        reason: if applied { "Scaled" } else { "ScalingAdvised" }.to_owned(),
        note: Some(format!(
            "{verb} {component}s from {from} to {to}, {reason}: {}",
            needed.inputs
        )),
        // Events with the same action are counted, and only the first one's note is kept.
        action: format!("Scale-{component}-{from}-{to}"),
        secondary: None,
    };
    if let Err(err) = ctx
        .recorder
        .publish(&event, &pipeline.object_ref(&()))
        .await
    {
        warn!(error = %err, "an event cannot be published");
    }
    status.scaling.insert(
        0,
        Decision {
            time: Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()),
            component: component.to_owned(),
            from,
            to,
            reason: reason.to_owned(),
            inputs: needed.inputs,
            applied,
        },
    );
    status.scaling.truncate(SHOWN);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(component: &str, second: i64, to: i32) -> Decision {
        Decision {
            time: Time(Timestamp::from_second(second).unwrap()),
            component: component.to_owned(),
            from: to - 1,
            to,
            reason: "InputRate".to_owned(),
            inputs: String::new(),
            applied: true,
        }
    }

    #[tokio::test]
    async fn a_decision_that_the_cached_object_lacks_is_not_forgotten() {
        let scalers = Scalers::default();
        let before = decision("worker", 1, 2);
        let last = decision("handler", 2, 2);
        let mut status = PipelineStatus {
            scaling: vec![before.clone()],
            ..PipelineStatus::default()
        };
        scalers.recall("ns/shop", &mut status).await;
        let cached = std::slice::from_ref(&before);
        assert_eq!(status.scaling, cached, "nothing is known yet");

        let scaler = scalers.get("ns/shop");
        scaler.lock().await.decided = vec![last.clone(), before.clone()];
        for _ in 0..2 {
            scalers.recall("ns/shop", &mut status).await;
            assert_eq!(status.scaling, [last.clone(), before.clone()]);
        }

        // By another operator meanwhile.
        let later: Vec<_> = (3..9).map(|second| decision("worker", second, 3)).collect();
        status.scaling = later.iter().rev().take(SHOWN).cloned().collect();
        let shown = status.scaling.clone();
        scalers.recall("ns/shop", &mut status).await;
        assert_eq!(status.scaling, shown);
    }
}
