//! What librdkafka tells a member of the group while it is polled, kept until the loop looks at it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tracing::{debug, warn};

use crate::kafka;
use crate::looks::{self, Look};
use crate::metrics::TopicPartition;

/// What librdkafka told while it was polled.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) rebalances: Vec<Rebalance>,
    /// Of the last statistics.
    pub(crate) looks: Vec<Look>,
}

#[derive(Debug)]
pub(crate) enum Rebalance {
    Assign(Vec<Name>),
    /// `lost`: the group gave them to others already.
    Revoke {
        partitions: Vec<Name>,
        lost: bool,
    },
}

/// A partition's topic and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    pub(crate) inbox: Mutex<Inbox>,
    /// Something is in the inbox.
    pub(crate) news: AtomicBool,
    /// The consumer is being dropped: nobody reads the inbox any more.
    pub(crate) closing: AtomicBool,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        kafka::log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match looks::read(statistics) {
            Ok(looks) => self.tell(|inbox| inbox.looks = looks),
            Err(error) => debug!(%error, "statistics cannot be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(%error, reason, "trouble with Kafka");
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Relaxed) {
            let left = consumer
                .assignment()
                .and_then(|assigned| consumer.incremental_unassign(&assigned));
            return drop(left.inspect_err(|error| debug!(%error, "cannot unassign at the end")));
        }
        let partitions = names(list);
        self.tell(|inbox| {
            inbox.rebalances.push(match event {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                    Rebalance::Assign(partitions)
                }
                _ => Rebalance::Revoke {
                    partitions,
                    lost: consumer.assignment_lost(),
                },
            });
        });
    }
}

impl Callbacks {
    fn tell(&self, what: impl FnOnce(&mut Inbox)) {
        what(&mut self.inbox.lock());
        self.news.store(true, Ordering::Release);
    }
}

impl Name {
    /// Its labels.
    pub(crate) fn label(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.to_string(),
            partition: self.partition,
        }
    }
}

fn names(list: &TopicPartitionList) -> Vec<Name> {
    let name = |topic: &str, partition| Name {
        topic: topic.into(),
        partition,
    };
    list.elements()
        .iter()
        .map(|element| name(element.topic(), element.partition()))
        .collect()
}

/// For logs: partitions by topic.
pub(crate) fn shown(names: &[Name]) -> String {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for name in names {
        topics.entry(&name.topic).or_default().push(name.partition);
    }
    let topics: Vec<String> = topics
        .iter()
        .map(|(topic, partitions)| format!("{topic} {partitions:?}"))
        .collect();
    topics.join(", ")
}
