//! Where standing queries write their matches, and what is promised of it.
//!
//! # Guarantees
//! - At least once: every match of an event that is read while a standing query has a sink is written to the sink's
//!   topic, whoever watches and whatever the query's limit. A source offset is committed only when the sinks' records
//!   below it are acknowledged, or refused for good; after a crash, events are read again from there and their matches
//!   written again.
//! - A record has the source record's key and time, as value the event (after masking) or its projection, and the
//!   headers [`QUERY`], [`QUERY_ID`] and [`SOURCE`]. By the last a reader that needs each match once tells repetitions.
//! - A sink begins, moves and ends between two events of a partition. What is read again after a crash goes where the
//!   sink is then.
//! - What a topic refuses for good is counted by its reason ([`SinkRefusal`]), told in the status of its standing query,
//!   and left out: a topic that does not exist, a record that is too large, a missing permission. Neither other queries
//!   nor viewers notice.
//! - What is only delayed is waited for: brokers that are away, too few replicas. Nothing is left out meanwhile, commits
//!   wait, and at the bound of unacknowledged output reading does, as with any output.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clickstream_engine::Projection;
use clickstream_registry::{QueryId, SinkRef, SinkRefusal, StandingRef};

use crate::offsets::Segments;

/// Header: the ClickstreamQuery, as `<namespace>/<name>`.
pub(crate) const QUERY: &str = "clickstream-query";
/// Header: the id of its filter, 32 hex digits.
pub(crate) const QUERY_ID: &str = "clickstream-query-id";
/// Header: where the event stood, as `<topic>/<partition>/<offset>`.
pub(crate) const SOURCE: &str = "clickstream-source";

/// Takes records for sinks; keeps the order of records with one key.
pub(crate) trait Sinks {
    /// Hands over a record; `segments` are acknowledged when it is delivered, or refused for good and counted.
    fn deliver(&mut self, sink: &Arc<Sink>, record: SinkRecord<'_>, segments: Segments);

    /// A match cannot be written: counts it.
    fn refuse(&mut self, sink: &Sink, why: SinkRefusal);
}

/// A record for a sink.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SinkRecord<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: &'a [u8],
    /// Of the source record; negative if it has none.
    pub(crate) timestamp_ms: i64,
    /// The value of [`SOURCE`].
    pub(crate) source: &'a str,
}

/// The sink of one standing query.
#[derive(Debug)]
pub(crate) struct Sink {
    /// The values of [`QUERY`] and [`QUERY_ID`].
    pub(crate) query: String,
    pub(crate) query_id: String,
    pub(crate) topic: String,
    by: StandingRef,
    cut: Cut,
    /// Matches not written, by reason in the order of [`SinkRefusal::ALL`].
    refused: [AtomicU64; SinkRefusal::ALL.len()],
}

#[derive(Debug)]
enum Cut {
    Whole,
    Fields(Projection),
    /// Nothing can be written.
    Refused(SinkRefusal),
}

impl Sink {
    /// The sink of `by`, if it has one, for the query `id`. `loops`: its topic is one that the pipeline reads or writes.
    pub(crate) fn new(id: QueryId, by: &StandingRef, loops: impl Fn(&str) -> bool) -> Option<Self> {
        let SinkRef { topic, fields } = by.sink.as_ref()?;
        let cut = if loops(topic) {
            Cut::Refused(SinkRefusal::Loop)
        } else if fields.is_empty() {
            Cut::Whole
        } else {
            // The operator checks fields, so what is refused here was written by a newer one.
            Projection::parse(&fields.join(","))
                .map_or(Cut::Refused(SinkRefusal::Unreadable), Cut::Fields)
        };
        Some(Self {
            query: format!("{}/{}", by.name.namespace, by.name.name),
            query_id: id.to_string(),
            topic: topic.clone(),
            by: by.clone(),
            cut,
            refused: Default::default(),
        })
    }

    /// Whether it is what `by` asks for, whatever else changed about the standing query.
    pub(crate) fn is_of(&self, by: &StandingRef) -> bool {
        self.by.uid == by.uid && self.by.name == by.name && self.by.sink == by.sink
    }

    /// What is written of an event.
    pub(crate) fn value<'a>(&self, event: &'a [u8]) -> Result<Cow<'a, [u8]>, SinkRefusal> {
        match &self.cut {
            Cut::Whole => Ok(Cow::Borrowed(event)),
            Cut::Fields(fields) => fields
                .apply(event)
                .map(Cow::Owned)
                .map_err(|_| SinkRefusal::Unreadable),
            Cut::Refused(why) => Err(*why),
        }
    }

    /// One more match that is not written.
    pub(crate) fn count_refused(&self, why: SinkRefusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Matches not written since it was made: the ClickstreamQuery's uid, why, how many; only where there are any.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&str, SinkRefusal, u64)> {
        SinkRefusal::ALL.into_iter().filter_map(|why| {
            let count = self.refused[why as usize].load(Ordering::Relaxed);
            (count > 0).then_some((self.by.uid.as_str(), why, count))
        })
    }
}

#[cfg(test)]
mod tests {
    use clickstream_registry::StandingName;

    use super::*;

    fn by(topic: &str, fields: &[&str]) -> StandingRef {
        StandingRef {
            name: StandingName {
                namespace: "shop".into(),
                name: "carts".into(),
            },
            uid: "u1".into(),
            generation: 1,
            sink: Some(SinkRef {
                topic: topic.into(),
                fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            }),
        }
    }

    fn sink(topic: &str, fields: &[&str]) -> Sink {
        let id = QueryId::from_bytes([7; 16]);
        Sink::new(id, &by(topic, fields), |topic| topic == "events").unwrap()
    }

    #[test]
    fn reasons_are_counted_apart() {
        let sink = sink("carts", &[]);
        for (index, why) in SinkRefusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            (0..=index).for_each(|_| sink.count_refused(why));
        }
        let counts: Vec<u64> = sink.refused().map(|(_, _, count)| count).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn what_is_written_is_the_event_or_its_projection() {
        let event = br#"{"a":1,"b":{"c":[2],"d":3}}"#;
        let whole = sink("carts", &[]);
        assert_eq!(
            (whole.query.as_str(), whole.query_id.as_str()),
            ("shop/carts", "07".repeat(16).as_str())
        );
        assert_eq!(*whole.value(event).unwrap(), event[..]);
        let cut = sink("carts", &["b.c"]);
        assert_eq!(*cut.value(event).unwrap(), br#"{"b":{"c":[2]}}"#[..]);
        assert_eq!(cut.value(b"[1]"), Err(SinkRefusal::Unreadable));
        let newer = sink("carts", &["b..c"]);
        assert_eq!(newer.value(event), Err(SinkRefusal::Unreadable));
        assert_eq!(sink("events", &[]).value(event), Err(SinkRefusal::Loop));
    }

    #[test]
    fn a_new_generation_keeps_its_sink_and_another_topic_does_not() {
        let sink = sink("carts", &["a"]);
        let later = StandingRef {
            generation: 2,
            ..by("carts", &["a"])
        };
        assert!(sink.is_of(&later));
        assert!(!sink.is_of(&by("carts", &["b"])));
        assert!(!sink.is_of(&by("other", &["a"])));
        let again = StandingRef {
            uid: "u2".into(),
            ..by("carts", &["a"])
        };
        assert!(!sink.is_of(&again), "made again under its name");
    }
}
