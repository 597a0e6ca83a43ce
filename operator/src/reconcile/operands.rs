//! What runs of a pipeline.

use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{ClickstreamPipeline, HandlerStatus, PipelineStatus, WorkerStatus};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt as _};

use super::Context;
use super::build::{Component, selector_text};
use super::status::Conditions;

/// What runs.
pub(super) async fn observe(
    pipeline: &ClickstreamPipeline,
    ctx: &Context,
    said: &mut Conditions,
    status: &mut PipelineStatus,
) -> Result<(), kube::Error> {
    let api = Api::<Deployment>::namespaced(
        ctx.client.clone(),
        &pipeline.namespace().unwrap_or_default(),
    );
    let name = pipeline.name_any();
    for component in [Component::Worker, Component::Handler] {
        let found = api.get_opt(&component.name(&name)).await?;
        let (kind, asked) = match component {
            Component::Worker => (Type::WorkersReady, pipeline.spec.worker.replicas),
            Component::Handler => (Type::HandlersReady, pipeline.spec.handler.replicas),
        };
        let desired = if pipeline.spec.suspend { 0 } else { asked };
        let counts = found
            .as_ref()
            .and_then(|found| found.status.clone())
            .unwrap_or_default();
        let (replicas, ready) = (
            counts.replicas.unwrap_or(0),
            counts.ready_replicas.unwrap_or(0),
        );
        let level = found.as_ref().is_some_and(|found| {
            counts.observed_generation >= found.metadata.generation
                && found.spec.as_ref().and_then(|spec| spec.replicas) == Some(desired)
                && counts.updated_replicas.unwrap_or(0) >= desired
        });
        let what = component.as_str();
        match (found, level && ready >= desired) {
            (None, _) => said.set(
                kind,
                State::False,
                Reason::Progressing,
                format!("no {what} has been started yet"),
            ),
            (Some(_), true) => said.set(
                kind,
                State::True,
                Reason::Available,
                format!("{ready} of {desired} {what}s are ready"),
            ),
            (Some(_), false) => said.set(
                kind,
                State::False,
                Reason::Unavailable,
                format!("{ready} of {desired} {what}s are ready"),
            ),
        }
        match component {
            Component::Worker => {
                status.worker = Some(WorkerStatus {
                    replicas,
                    ready,
                    desired,
                    selector: selector_text(&name, component),
                });
            }
            Component::Handler => {
                status.handler = Some(HandlerStatus {
                    replicas,
                    ready,
                    desired,
                })
            }
        }
    }
    Ok(())
}
