//! From a source record to what its partition's owner is told.

use std::sync::Arc;
use std::time::Instant;

use clickstream_engine::{Record, Scratch};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use tokio::sync::watch;

use crate::args::Engine;
use crate::owner::{Event, Owner, Tally};
use crate::producer::Output;
use crate::queries::QuerySet;
use crate::topics::Topics;
use crate::{Shared, now_ms};

/// The hot path of one thread.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    pub(crate) owner: Owner,
    pub(crate) output: Output,
    pub(crate) sets: watch::Receiver<Arc<QuerySet>>,
    topics: watch::Receiver<Topics>,
    scratch: Scratch,
    matched: Vec<u32>,
    /// Of the last look at the clock: nanoseconds of the worker's steady clock.
    now: u64,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, owner: Owner, output: Output) -> Self {
        let mut sets = shared.sets.clone();
        let mut topics = shared.topics.clone();
        // What is there already counts as news.
        sets.mark_changed();
        topics.mark_changed();
        Self {
            shared,
            owner,
            output,
            sets,
            topics,
            scratch: Scratch::default(),
            matched: Vec::new(),
            now: 0,
        }
    }

    /// Looks at the clock for the catalogue's sample.
    pub(crate) fn clock(&mut self, now: Instant) {
        self.now = self.shared.nanos(now);
    }

    /// One record, in the order of its partition.
    pub(crate) fn record(&mut self, message: &BorrowedMessage<'_>) {
        let (partition, offset) = (message.partition(), message.offset());
        let Some(index) = self.owner.find(message.topic(), partition) else {
            return;
        };
        // Fetched before the partition was started anew.
        if offset < self.owner.partitions[index].progress.position() {
            return;
        }
        let timestamp_ms = message.timestamp().to_millis().unwrap_or(-1);
        let mut event = Event {
            offset,
            timestamp_ms,
            key: message.key(),
            value: message.payload().unwrap_or_default(),
        };
        let sampled = self.shared.sampler.wants(self.now);
        let set = self.owner.set();
        self.matched.clear();
        if !sampled && set.filters.is_empty() {
            return self.owner.event(&mut self.output, index, event, &[], || 0);
        }
        let masked;
        if !self.shared.config.mask.is_empty() {
            match self.shared.config.mask.apply(event.value) {
                Ok(value) => {
                    masked = value;
                    event.value = &masked;
                }
                Err(reason) => {
                    self.shared.metrics.unreadable(reason);
                    return self.owner.unreadable(index, event);
                }
            }
        }
        if sampled {
            self.shared.sampler.add(event.value, now_ms());
        }
        if !set.filters.is_empty() {
            let headers: Vec<(&str, &[u8])> = match message.headers() {
                Some(headers) if set.uses_record => headers
                    .iter()
                    .map(|header| (header.key, header.value.unwrap_or_default()))
                    .collect(),
                _ => Vec::new(),
            };
            let record = Record {
                topic: message.topic(),
                partition,
                offset,
                timestamp_ms,
                key: message.key(),
                headers: &headers,
                value: event.value,
            };
            let (filters, matched) = (&set.filters, &mut self.matched);
            let result = match self.shared.config.engine {
                Engine::Index => filters.matching(&record, &mut self.scratch, matched),
                Engine::Reference => filters.matching_by_reference(&record, matched),
            };
            if let Err(reason) = result {
                self.shared.metrics.unreadable(reason);
                return self.owner.unreadable(index, event);
            }
        }
        self.owner
            .event(&mut self.output, index, event, &self.matched, || {
                self.shared.nanos(Instant::now())
            });
    }

    /// Passes on what is known of the topics, for the next statement.
    pub(crate) fn know_topics(&mut self) {
        if self.topics.has_changed().unwrap_or(false) {
            let sources = Arc::clone(&self.topics.borrow_and_update().sources);
            self.owner.know(sources);
        }
    }

    /// Adds what was counted to the metrics.
    pub(crate) fn flush_tally(&mut self) {
        let Tally {
            records,
            matches,
            left_out,
            too_large,
        } = std::mem::take(&mut self.owner.tally);
        self.shared.metrics.records.inc_by(records);
        self.shared.metrics.matches.inc_by(matches);
        if left_out + too_large > 0 {
            self.shared.metrics.left_out(left_out, too_large);
        }
    }
}
