//! What runs of a pipeline.

use clickstream_resources::condition::{Reason, State, Type};
use clickstream_resources::{
    ClickstreamPipeline, HandlerStatus, PipelineStatus, ScalingMode, WorkerStatus,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt as _};

use super::Context;
use super::build::{Component, selector_text};
use super::status::Conditions;

/// What runs. Answers the replicas of the Deployments that exist, workers first.
pub(super) async fn observe(
    pipeline: &ClickstreamPipeline,
    ctx: &Context,
    said: &mut Conditions,
    status: &mut PipelineStatus,
) -> Result<[Option<i32>; 2], kube::Error> {
    let (client, namespace) = (ctx.client.clone(), pipeline.namespace().unwrap_or_default());
    let resource = ApiResource::erase::<Deployment>(&());
    let api = Api::<DynamicObject>::namespaced_with(client, &namespace, &resource);
    let name = pipeline.name_any();
    let spec = &pipeline.spec;
    let mut numbers = [None, None];
    for (place, component) in [Component::Worker, Component::Handler]
        .into_iter()
        .enumerate()
    {
        let of = component.name(&name);
        let found = ctx.owned.get(&api, &resource.kind, &namespace, &of).await?;
        let found = found.map(deployment).transpose()?;
        let (kind, asked, mode) = match component {
            Component::Worker => (
                Type::WorkersReady,
                spec.worker.replicas,
                spec.worker.autoscaling.mode,
            ),
            Component::Handler => (
                Type::HandlersReady,
                spec.handler.replicas,
                spec.handler.autoscaling.mode,
            ),
        };
        numbers[place] = found
            .as_ref()
            .and_then(|found| found.spec.as_ref()?.replicas);
        let desired = match mode {
            _ if spec.suspend => 0,
            ScalingMode::Off | ScalingMode::Advise => asked,
            ScalingMode::Auto | ScalingMode::External => numbers[place].unwrap_or(asked),
        };
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
    Ok(numbers)
}

fn deployment(object: DynamicObject) -> Result<Deployment, kube::Error> {
    let value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    serde_json::from_value(value).map_err(kube::Error::SerdeError)
}
