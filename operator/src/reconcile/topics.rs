//! What has to happen to the filtered topic: a decision, without the brokers.

use std::collections::BTreeMap;

use clickstream_resources::condition::Reason;
use clickstream_resources::{FilteredTopic, Management};

use crate::kafka::Topic;

/// What a new topic begins with, unless the spec says otherwise: matches are for people who watch now.
const BEGINS_WITH: [(&str, &str); 2] = [("cleanup.policy", "delete"), ("retention.ms", "3600000")];

/// Something to be done to the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make it.
    Create {
        /// How many.
        partitions: i32,
        /// On so many brokers; the brokers' default without.
        replication: Option<i32>,
        /// With these settings.
        config: BTreeMap<String, String>,
    },
    /// Add partitions, up to this many.
    Grow(i32),
    /// Change these settings.
    Configure(BTreeMap<String, String>),
}

/// Why the topic cannot be what the spec says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the condition.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// The steps from the topic that is there, if it is, to what the spec says.
///
/// # Errors
/// When no step leads there.
pub fn plan(
    name: &str,
    wanted: &FilteredTopic,
    found: Option<&Topic>,
) -> Result<Vec<Step>, Refusal> {
    let managed = wanted.management == Management::Managed;
    let Some(found) = found else {
        if !managed {
            return Err(Refusal {
                reason: Reason::TopicNotFound,
                message: format!(
                    "topic `{name}` does not exist, and `filteredTopic.management` is External: create it, or make it Managed"
                ),
            });
        }
        let begins_with = BEGINS_WITH.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut config = BTreeMap::from(begins_with);
        config.extend(wanted.config.clone().unwrap_or_default());
        return Ok(vec![Step::Create {
            partitions: wanted.partitions,
            replication: wanted.replication_factor,
            config,
        }]);
    };
    if let Some(replication) = wanted.replication_factor
        && replication != found.replication
    {
        return Err(Refusal {
            reason: Reason::NotSupported,
            message: format!(
                "topic `{name}` lies on {} brokers and not on {replication}: reassign its partitions with Kafka's own tools",
                found.replication
            ),
        });
    }
    let mut steps = Vec::new();
    if found.partitions < wanted.partitions {
        if !managed {
            return Err(Refusal {
                reason: Reason::NotSupported,
                message: format!(
                    "topic `{name}` has {} partitions of {}, and `filteredTopic.management` is External: add some, or ask for fewer",
                    found.partitions, wanted.partitions
                ),
            });
        }
        steps.push(Step::Grow(wanted.partitions));
    }
    let mut changed = wanted.config.clone().unwrap_or_default();
    changed.retain(|key, value| found.config.get(key) != Some(value));
    if !changed.is_empty() {
        steps.push(Step::Configure(changed));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// What the brokers would do.
    fn carry_out(topic: Option<Topic>, steps: &[Step]) -> Option<Topic> {
        let mut topic = topic;
        for step in steps {
            match (step, topic.as_mut()) {
                (
                    Step::Create {
                        partitions,
                        replication,
                        config,
                    },
                    None,
                ) => {
                    topic = Some(Topic {
                        partitions: *partitions,
                        replication: replication.unwrap_or(1),
                        config: config.clone(),
                    });
                }
                (Step::Grow(partitions), Some(topic)) => {
                    assert!(topic.partitions < *partitions);
                    topic.partitions = *partitions;
                }
                (Step::Configure(config), Some(topic)) => topic.config.extend(config.clone()),
                (step, topic) => panic!("{step:?} of {topic:?}"),
            }
        }
        topic
    }

    #[test]
    fn missing_topic_is_made_with_short_retention_unless_told_otherwise() {
        let wanted = FilteredTopic {
            config: Some(config(&[("retention.ms", "1")])),
            ..FilteredTopic::default()
        };
        let steps = plan("t", &wanted, None).unwrap();
        let Step::Create {
            config,
            partitions: 8,
            replication: None,
        } = &steps[0]
        else {
            panic!("{steps:?}")
        };
        assert_eq!(config["cleanup.policy"], "delete");
        assert_eq!(config["retention.ms"], "1");
    }

    #[test]
    fn external_topic_is_never_touched() {
        let wanted = FilteredTopic {
            management: Management::External,
            ..FilteredTopic::default()
        };
        assert_eq!(
            plan("t", &wanted, None).unwrap_err().reason,
            Reason::TopicNotFound
        );
        let small = Topic {
            partitions: 1,
            replication: 1,
            config: BTreeMap::new(),
        };
        assert_eq!(
            plan("t", &wanted, Some(&small)).unwrap_err().reason,
            Reason::NotSupported
        );
        let fits = Topic {
            partitions: 9,
            ..small
        };
        assert_eq!(plan("t", &wanted, Some(&fits)), Ok(vec![]));
    }

    #[test]
    fn other_replication_is_refused() {
        let wanted = FilteredTopic {
            replication_factor: Some(3),
            ..FilteredTopic::default()
        };
        let found = Topic {
            partitions: 8,
            replication: 1,
            config: BTreeMap::new(),
        };
        assert_eq!(
            plan("t", &wanted, Some(&found)).unwrap_err().reason,
            Reason::NotSupported
        );
    }

    proptest! {
        #[test]
        fn after_the_steps_nothing_is_left_to_do(
            partitions in 1..32i32,
            found in proptest::option::of((1..32i32, 0..3u8)),
            setting in 0..3u8,
        ) {
            let wanted = FilteredTopic {
                partitions,
                config: (setting > 0).then(|| config(&[("retention.ms", &setting.to_string())])),
                ..FilteredTopic::default()
            };
            let found = found.map(|(partitions, setting)| Topic {
                partitions,
                replication: 1,
                config: config(&[("retention.ms", &setting.to_string()), ("untouched", "x")]),
            });
            let steps = plan("t", &wanted, found.as_ref()).unwrap();
            let existed = found.is_some();
            let after = carry_out(found, &steps).unwrap();
            prop_assert_eq!(plan("t", &wanted, Some(&after)), Ok(vec![]));
            prop_assert!(after.partitions >= partitions);
            prop_assert!(!existed || after.config["untouched"] == "x");
        }
    }
}
