//! Where partitions end, from librdkafka's statistics.
//!
//! An idle partition is fetched from all the time; the statistics say what the last answer said, without a question of
//! our own for every partition.

use std::collections::HashMap;

use serde::Deserialize;

/// An answer from a broker is as good as a look for this long: an idle fetch is answered every tenth of a second.
const FRESH_MICROS: i64 = 1_000_000;

/// What is known of a partition that is being fetched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// The offset that the next record gets, as far as this consumer may see (records of open transactions are behind it).
    pub(crate) high: i64,
    /// What is fetched next, if nothing that was fetched before waits.
    pub(crate) idle_at: Option<i64>,
    /// When the broker last answered: milliseconds since 1970 UTC.
    pub(crate) found_at_ms: i64,
    /// When the statistics were made: seconds since 1970 UTC.
    pub(crate) taken_at_s: i64,
}

#[derive(Deserialize)]
struct Statistics {
    time: i64,
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    state: String,
    /// Microseconds since the last answer; -1 before the first.
    rxidle: i64,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: i32,
    broker: i32,
    fetch_state: String,
    fetchq_cnt: i64,
    next_offset: i64,
    ls_offset: i64,
}

/// The partitions that are being fetched from a broker that answers.
pub(crate) fn read(statistics: &[u8]) -> serde_json::Result<Vec<Look>> {
    let statistics: Statistics = serde_json::from_slice(statistics)?;
    let answers: HashMap<i32, i64> = statistics
        .brokers
        .values()
        .filter(|broker| broker.state == "UP" && (0..FRESH_MICROS).contains(&broker.rxidle))
        .map(|broker| (broker.nodeid, broker.rxidle))
        .collect();
    let mut looks = Vec::new();
    for (topic, partitions) in statistics.topics {
        for partition in partitions.partitions.into_values() {
            let Some(idle_micros) = answers.get(&partition.broker) else {
                continue;
            };
            if partition.partition < 0
                || partition.fetch_state != "active"
                || partition.ls_offset < 0
            {
                continue;
            }
            looks.push(Look {
                topic: topic.clone(),
                partition: partition.partition,
                high: partition.ls_offset,
                idle_at: (partition.fetchq_cnt == 0 && partition.next_offset >= 0)
                    .then_some(partition.next_offset),
                found_at_ms: statistics.time * 1000 - idle_micros / 1000,
                taken_at_s: statistics.time,
            });
        }
    }
    Ok(looks)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statistics(state: &str, rxidle: i64, fetch_state: &str, fetchq_cnt: i64) -> Vec<u8> {
        let partition = json!({
            "partition": 3, "broker": 1, "leader": 1, "fetch_state": fetch_state, "fetchq_cnt": fetchq_cnt,
            "next_offset": 42, "ls_offset": 42, "hi_offset": 43,
        });
        let none = json!({
            "partition": -1, "broker": -1, "fetch_state": "none", "fetchq_cnt": 0, "next_offset": -1001, "ls_offset": -1001,
        });
        json!({
            "time": 1_700_000_000,
            "brokers": {"k:9092/1": {"nodeid": 1, "state": state, "rxidle": rxidle}},
            "topics": {"events": {"partitions": {"3": partition, "-1": none}}},
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn an_answer_of_the_broker_is_a_look() {
        let looks = read(&statistics("UP", 250_000, "active", 0)).unwrap();
        let look = Look {
            topic: "events".into(),
            partition: 3,
            high: 42,
            idle_at: Some(42),
            found_at_ms: 1_699_999_999_750,
            taken_at_s: 1_700_000_000,
        };
        assert_eq!(looks, [look]);
    }

    #[test]
    fn records_that_wait_are_not_passed_over() {
        assert_eq!(
            read(&statistics("UP", 0, "active", 1)).unwrap()[0].idle_at,
            None
        );
    }

    #[test]
    fn silence_is_no_look() {
        for (state, rxidle, fetch_state) in [
            ("DOWN", 0, "active"),
            ("UP", -1, "active"),
            ("UP", 3_000_000, "active"),
            ("UP", 0, "offset-wait"),
        ] {
            assert_eq!(
                read(&statistics(state, rxidle, fetch_state, 0)).unwrap(),
                []
            );
        }
    }
}
