//! Server-side apply, and only where something differs.

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Context;
use super::build::{Desired, FIELD_MANAGER};

/// What was applied last, so that a field that is wanted no more is noticed.
const APPLIED: &str = "clickstream.dev/applied";

/// Applies an object unless it stands there as wanted. Answers whether it did, and the object as it stands.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn apply(ctx: &Context, desired: &Desired) -> Result<(bool, DynamicObject), kube::Error> {
    let mut object = desired.object.clone();
    let fingerprint = fingerprint(&object);
    object
        .annotations_mut()
        .insert(APPLIED.to_owned(), fingerprint);
    let namespace = object.namespace().unwrap_or_default();
    let api =
        Api::<DynamicObject>::namespaced_with(ctx.client.clone(), &namespace, &desired.resource);
    let (kind, name) = (&desired.resource.kind, object.name_any());
    if let Some(found) = ctx.owned.get(&api, kind, &namespace, &name).await? {
        if stands(&object, &found) {
            return Ok((false, found));
        }
        hand_over(&api, &object, &found).await?;
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api
        .patch(&object.name_any(), &params, &Patch::Apply(&object))
        .await?;
    Ok((true, applied))
}

/// Keeps the number of replicas of a Deployment for which none is wanted any more: a field that its last manager leaves
/// out goes back to its default. Whoever changes the number next owns it.
async fn hand_over(
    api: &Api<DynamicObject>,
    wanted: &DynamicObject,
    found: &DynamicObject,
) -> Result<(), kube::Error> {
    let replicas = &found.data["spec"]["replicas"];
    if replicas.is_null() || !wanted.data["spec"]["replicas"].is_null() {
        return Ok(());
    }
    let kept = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": found.name_any()},
        "spec": {"replicas": replicas},
    });
    // Not by force: somebody who changed the number meanwhile owns it already.
    let params = PatchParams::apply("clickstream-operator/replicas");
    match api
        .patch(&found.name_any(), &params, &Patch::Apply(&kept))
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        handed => handed.map(drop),
    }
}

/// Of all that is wanted.
fn fingerprint(object: &DynamicObject) -> String {
    // Maps are ordered, so equal objects give equal text.
    let text = serde_json::to_string(object).unwrap_or_default();
    Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether all that is wanted stands there.
fn stands(wanted: &DynamicObject, found: &DynamicObject) -> bool {
    let (wanted, found) = (serde_json::to_value(wanted), serde_json::to_value(found));
    matches!((wanted, found), (Ok(wanted), Ok(found)) if contains(&found, &wanted))
}

/// Whether `found` has everything of `wanted`; it may have more fields, but not more elements.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(name, wanted)| {
            match found.get(name) {
                Some(found) => contains(found, wanted),
                // What is empty is not kept.
                None => empty(wanted),
            }
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found
                    .iter()
                    .zip(wanted)
                    .all(|(found, wanted)| contains(found, wanted))
        }
        (found, wanted) => found == wanted,
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::contains;

    #[test]
    fn defaults_of_the_server_are_no_difference_and_drift_is() {
        let wanted =
            json!({"spec": {"replicas": 2, "list": [{"name": "a"}], "none": {}, "empty": []}});
        let found = json!({"spec": {"replicas": 2, "list": [{"name": "a", "default": 1}], "more": true}, "status": {}});
        assert!(contains(&found, &wanted));
        for drifted in [
            json!({"spec": {"replicas": 3, "list": [{"name": "a"}]}}),
            json!({"spec": {"replicas": 2, "list": [{"name": "a"}, {"name": "b"}]}}),
            json!({"spec": {"list": [{"name": "a"}]}}),
        ] {
            assert!(!contains(&drifted, &wanted), "{drifted}");
        }
    }
}
