//! What a platform wants of every pod, put into the template of one.

use clickstream_resources::PodOverrides;
use serde_json::{Value, json};

/// Adds what is asked for; of labels and annotations that both have, the operator's stay.
pub(super) fn merge(template: &mut Value, overrides: &PodOverrides) {
    for (field, more) in [
        ("labels", &overrides.labels),
        ("annotations", &overrides.annotations),
    ] {
        if let Some(own) = template["metadata"][field].as_object_mut() {
            for (name, value) in more {
                own.entry(name).or_insert_with(|| value.as_str().into());
            }
        }
    }
    let spec = &mut template["spec"];
    if !overrides.topology_spread_constraints.is_empty() {
        let own = spec["topologySpreadConstraints"][0]["labelSelector"].take();
        let mut constraints = json!(overrides.topology_spread_constraints);
        for constraint in constraints.as_array_mut().into_iter().flatten() {
            constraint["labelSelector"] = own.clone();
        }
        spec["topologySpreadConstraints"] = constraints;
    }
    let fields = [
        ("nodeSelector", json!(overrides.node_selector)),
        ("tolerations", json!(overrides.tolerations)),
        ("affinity", json!(overrides.affinity)),
        ("priorityClassName", json!(overrides.priority_class_name)),
        ("imagePullSecrets", json!(overrides.image_pull_secrets)),
    ];
    for (field, value) in fields {
        let nothing = [json!({}), json!([]), Value::Null];
        if !nothing.contains(&value) {
            spec[field] = value;
        }
    }
}
