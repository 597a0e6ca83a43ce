//! The way from outside to the handlers: applied last, and on its own, so that a cluster that does not know its kind or
//! refuses it keeps nothing else from running.

use clickstream_resources::condition::{Reason, State, Type};
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use tracing::info;

use super::build::{Plan, exposure};
use super::status::{self, Conditions};
use super::{Context, apply, chain};

/// Applies what the spec asks for, if it does, and says how that went.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn settle(
    plan: &Plan<'_>,
    ctx: &Context,
    said: &mut Conditions,
) -> Result<(), kube::Error> {
    let Some(desired) = exposure::build(plan) else {
        return Ok(());
    };
    let what = format!("{} `{}`", desired.resource.kind, desired.object.name_any());
    let (state, reason, words) = match apply::apply(ctx, &desired).await {
        Ok((changed, found)) => {
            if changed {
                info!(pipeline = plan.valid.key, object = what, "applied");
            }
            outcome(&what, &found)
        }
        Err(kube::Error::Api(status))
            if status.code == 404 && desired.resource.group == exposure::GATEWAY_GROUP =>
        {
            let words = "the cluster does not know HTTPRoute of gateway.networking.k8s.io/v1: install the Gateway API, or use `ingress`";
            (State::False, Reason::GatewayApiMissing, words.to_owned())
        }
        Err(err @ kube::Error::Api(_)) if !status::passes(&err) => {
            let words = format!("{what} is refused: {}", chain(&err));
            (State::False, Reason::ApplyFailed, words)
        }
        Err(err) => return Err(err),
    };
    said.set(Type::ExposureReady, state, reason, words);
    Ok(())
}

/// What its status says: a Gateway tells there why it does not take a route. Ingress controllers have no such place.
fn outcome(what: &str, found: &DynamicObject) -> (State, Reason, String) {
    let parents = found.data["status"]["parents"]
        .as_array()
        .into_iter()
        .flatten();
    let refused = parents
        .flat_map(|parent| parent["conditions"].as_array().into_iter().flatten())
        .find(|condition| {
            condition["status"] == "False"
                && ["Accepted", "ResolvedRefs"]
                    .iter()
                    .any(|kind| condition["type"] == *kind)
        });
    match refused {
        Some(refused) => {
            let text = |field: &str| refused[field].as_str().unwrap_or_default().to_owned();
            let words = format!(
                "a Gateway does not take {what}: {}: {}",
                text("reason"),
                text("message")
            );
            (State::False, Reason::NotAccepted, words)
        }
        None => (State::True, Reason::Applied, format!("{what} is there")),
    }
}
