//! Objects of a pipeline that its spec asks for no more.

use kube::api::{DeleteParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use tracing::{info, warn};

use super::Context;
use super::build::{Plan, unwanted};

/// Removes them, once for each generation of the spec: nothing else makes any.
///
/// # Errors
/// When the API server refuses or does not answer.
pub(super) async fn remove(plan: &Plan<'_>, ctx: &Context) -> Result<(), kube::Error> {
    let (uid, generation) = (&plan.valid.uid, plan.pipeline.metadata.generation);
    if ctx.tidied.lock().get(uid) == Some(&generation) {
        return Ok(());
    }
    for (resource, name) in unwanted(plan) {
        let namespace = &plan.valid.namespace;
        let api = Api::<DynamicObject>::namespaced_with(ctx.client.clone(), namespace, &resource);
        let found = match api.get_opt(&name).await {
            Ok(found) => found,
            // A kind that the cluster does not know: it says so with a page that is no Status.
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            // What may not be looked at was not made by this operator either.
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let kind = &resource.kind;
                warn!(kind, "no right to look for objects that are wanted no more");
                None
            }
            Err(err) => return Err(err),
        };
        let Some(found) = found else { continue };
        if !found
            .owner_references()
            .iter()
            .any(|owner| owner.uid == *uid)
        {
            continue;
        }
        // Of the same uid: what somebody else made meanwhile under that name stays.
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: found.uid(),
            resource_version: None,
        });
        match api.delete(&name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            deleted => drop(deleted?),
        }
        info!(
            pipeline = plan.valid.key,
            object = format!("{} `{name}`", resource.kind),
            "removed"
        );
    }
    ctx.tidied.lock().insert(uid.clone(), generation);
    Ok(())
}
