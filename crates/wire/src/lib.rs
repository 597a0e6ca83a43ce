//! Records of the filtered topic: encode and decode.
//!
//! The filtered topic carries two kinds of record, on the same partitions (*lanes*):
//!
//! | | key | header [`HEADER`] | value |
//! |---|---|---|---|
//! | match | the first matching query id, 32 hex digits | [`Match`] | the event as it came, after masking |
//! | progress | [`PROGRESS_KEY`] | none | [`Progress`] |
//!
//! Both encodings begin with a version byte ([`VERSION`]); a reader that meets another one
//! tells its viewers of a gap instead of guessing. Numbers are LEB128 varints, signed ones
//! zigzag; text is its length and its bytes; lists are their length and their items.
//! A decoder never panics, reads exactly what was written, and allocates no more than
//! in proportion to its input.
//!
//! This crate does no I/O and knows nothing of Kafka's client.

mod codec;
mod matched;
mod progress;
mod query_id;

pub use codec::DecodeError;
pub use matched::{Flags, Match, Source};
pub use progress::{Progress, QueryCounts, Range, TopicPartitions};
pub use query_id::{ParseQueryIdError, QueryId};

/// Name of the header that makes a record of the filtered topic a match.
pub const HEADER: &str = "clickstream";

/// Key of every progress record. No match has it: a match's key is a query id.
pub const PROGRESS_KEY: &str = "progress";

/// The version that this crate writes and reads, the first byte of both encodings.
pub const VERSION: u8 = 1;

/// Progress records are kept below this many bytes (see [`Progress::split`]): half of Kafka's
/// default limit for a record, so that any broker takes them.
pub const MAX_PROGRESS_BYTES: usize = 512 * 1024;

/// Headers of matches are kept below this many bytes (see [`Match::split`]): about 4,000 query ids.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Which creation of a topic is meant: Kafka's topic id, or zeros where the client cannot read it.
pub type Incarnation = [u8; 16];

/// A worker process, drawn at random when it starts.
pub type WorkerId = [u8; 16];

/// A record of the filtered topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lane<'a> {
    /// An event that one or more queries matched. The event is the record's value.
    Match(Match<'a>),
    /// How far a worker has come.
    Progress(Progress),
}

/// Reads a record of the filtered topic; `header` is the value of its header [`HEADER`].
///
/// # Errors
/// The record is of a version unknown here, was not written by a worker, or was damaged.
/// The caller counts it, tells it as a gap and goes on.
pub fn decode<'a>(
    key: Option<&[u8]>,
    header: Option<&'a [u8]>,
    value: Option<&[u8]>,
) -> Result<Lane<'a>, DecodeError> {
    if key == Some(PROGRESS_KEY.as_bytes()) {
        return Progress::decode(value.unwrap_or_default()).map(Lane::Progress);
    }
    Match::decode(header.ok_or(DecodeError::NoHeader)?).map(Lane::Match)
}
