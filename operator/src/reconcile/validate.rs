//! A pipeline's spec, checked and completed. No I/O.

use clickstream_engine::{FieldPath, Mask};
use clickstream_resources::{ClickstreamPipeline, FilteredTopic};
use kube::ResourceExt as _;

use super::query::key;

/// A pipeline whose spec makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// `NAMESPACE/NAME`, by which the database knows it.
    pub key: String,
    /// Of the object.
    pub namespace: String,
    /// Of the object; operands are named after it.
    pub name: String,
    /// Of the object.
    pub uid: String,
    /// In order, without repeats.
    pub source_topics: Vec<String>,
    /// Name of the filtered topic.
    pub filtered_topic: String,
    /// What it should be.
    pub filtered: FilteredTopic,
    /// The workers' consumer group.
    pub group: String,
    /// HOST:PORT, with commas between.
    pub brokers: String,
}

/// Checks what the schema cannot.
///
/// # Errors
/// What is wrong and what to change, for people.
pub fn validate(pipeline: &ClickstreamPipeline) -> Result<Validated, String> {
    let (namespace, name) = (
        pipeline.namespace().unwrap_or_default(),
        pipeline.name_any(),
    );
    let spec = &pipeline.spec;
    let filtered_topic = spec.filtered_topic.name.clone();
    let filtered_topic =
        filtered_topic.unwrap_or_else(|| format!("clickstream-{namespace}.{name}"));
    let mut source_topics: Vec<String> = spec
        .source_topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    source_topics.sort();
    source_topics.dedup();
    if source_topics.contains(&filtered_topic) {
        return Err(format!(
            "`{filtered_topic}` is the filtered topic and a source topic: matches would be matched again; set another `filteredTopic.name`"
        ));
    }
    for (field, path) in [
        ("eventTypeField", &spec.event_type_field),
        ("userField", &spec.user_field),
    ] {
        FieldPath::parse(path)
            .map_err(|err| format!("`{field}` is no path: {err}\n{}", err.caret()))?;
    }
    Mask::parse(&spec.masked_fields)
        .map_err(|err| format!("`maskedFields` has what is no path: {err}\n{}", err.caret()))?;
    let group = spec.kafka.consumer_group.clone();
    Ok(Validated {
        key: key(pipeline),
        uid: pipeline.uid().unwrap_or_default(),
        group: group.unwrap_or_else(|| format!("clickstream-worker-{namespace}.{name}")),
        brokers: spec.kafka.bootstrap_servers.join(","),
        filtered: spec.filtered_topic.clone(),
        namespace,
        name,
        source_topics,
        filtered_topic,
    })
}

/// The other pipeline, an older one, that has the same filtered topic or consumer group on a common broker.
#[must_use]
pub fn conflict(
    pipeline: &ClickstreamPipeline,
    others: &[std::sync::Arc<ClickstreamPipeline>],
) -> Option<String> {
    let own = validate(pipeline).ok()?;
    let age = |of: &ClickstreamPipeline| {
        (
            of.metadata.creation_timestamp.as_ref().map(|at| at.0),
            of.metadata.uid.clone(),
        )
    };
    let brokers = &pipeline.spec.kafka.bootstrap_servers;
    let mut rivals: Vec<_> = others
        .iter()
        .filter(|other| other.metadata.uid != pipeline.metadata.uid && age(other) < age(pipeline))
        .filter(|other| {
            other
                .spec
                .kafka
                .bootstrap_servers
                .iter()
                .any(|broker| brokers.contains(broker))
        })
        .collect();
    rivals.sort_by_key(|rival| age(rival));
    rivals.into_iter().find_map(|rival| {
        let theirs = validate(rival).ok()?;
        let what = if theirs.filtered_topic == own.filtered_topic {
            format!("filtered topic `{}`", own.filtered_topic)
        } else if theirs.group == own.group {
            format!("consumer group `{}`", own.group)
        } else {
            return None;
        };
        Some(format!(
            "the {what} belongs to the older ClickstreamPipeline `{}`; choose another",
            theirs.key
        ))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    /// A pipeline `default/shop` with changes to its spec.
    pub(crate) fn pipeline(changes: Value) -> ClickstreamPipeline {
        let mut object = json!({
            "apiVersion": "clickstream.dev/v1alpha1",
            "kind": "ClickstreamPipeline",
            "metadata": {"name": "shop", "namespace": "default", "uid": "1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "kafka": {"bootstrapServers": ["kafka:9092"]},
                "sourceTopics": [{"name": "events"}],
                "postgres": {"secretRef": {"name": "database"}},
            },
        });
        if let Value::Object(changes) = changes {
            for (name, change) in changes {
                object["spec"][name] = change;
            }
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn names_are_completed() {
        let valid = validate(&pipeline(
            json!({"sourceTopics": [{"name": "b"}, {"name": "a"}]}),
        ))
        .unwrap();
        assert_eq!(valid.filtered_topic, "clickstream-default.shop");
        assert_eq!(valid.group, "clickstream-worker-default.shop");
        assert_eq!(valid.key, "default/shop");
        assert_eq!(valid.source_topics, ["a", "b"]);
    }

    #[test]
    fn what_cannot_work_is_told_with_what_to_change() {
        for (changes, hint) in [
            (
                json!({"sourceTopics": [{"name": "clickstream-default.shop"}]}),
                "set another `filteredTopic.name`",
            ),
            (
                json!({"eventTypeField": "a..b"}),
                "`eventTypeField` is no path",
            ),
            (
                json!({"maskedFields": ["a", "b["]}),
                "`maskedFields` has what is no path",
            ),
        ] {
            let refused = validate(&pipeline(changes)).unwrap_err();
            assert!(refused.contains(hint), "{refused}");
        }
    }

    #[test]
    fn the_older_one_keeps_what_two_want() {
        let older = pipeline(json!({}));
        let mut younger = pipeline(json!({"filteredTopic": {"name": "clickstream-default.shop"}}));
        younger.metadata.uid = Some("0".to_owned());
        younger.metadata.name = Some("other".to_owned());
        younger.metadata.creation_timestamp =
            serde_json::from_value(json!("2026-02-01T00:00:00Z")).unwrap();
        let all = [Arc::new(older.clone()), Arc::new(younger.clone())];
        assert_eq!(conflict(&older, &all), None);
        let told = conflict(&younger, &all).unwrap();
        assert!(told.contains("`default/shop`"), "{told}");
        younger.spec.kafka.bootstrap_servers = vec!["elsewhere:9092".to_owned()];
        assert_eq!(conflict(&younger, &all), None);
    }
}
