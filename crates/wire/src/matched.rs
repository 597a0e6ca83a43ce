//! Matches: the header of a record that carries an event.

use std::borrow::Cow;

use crate::codec::{MAX_VARINT_BYTES, Reader, put_int, put_text, put_uint};
use crate::{DecodeError, Incarnation, QueryId, VERSION};

/// Where an event stands in its source topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// Source topic.
    pub topic: Cow<'a, str>,
    /// Which creation of that topic.
    pub incarnation: Incarnation,
    /// Partition of the source topic.
    pub partition: i32,
    /// Offset of the record in it.
    pub offset: i64,
    /// The record's own timestamp, in milliseconds since 1970 UTC; negative if it has none.
    pub timestamp_ms: i64,
}

/// What is special about a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The event did not fit into a record of the filtered topic: there is no value, and the
    /// viewer is told the event's position.
    pub too_large: bool,
}

const TOO_LARGE: u8 = 1;

/// The header of a record that carries an event: where it came from and who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    /// Where the event stands.
    pub source: Source<'a>,
    /// The epoch of the worker that read it (of that partition's ownership).
    pub epoch: u32,
    /// The queries of this lane that it matched, at least one, ascending. A record whose ids did
    /// not fit one header comes several times with the same source position, each id in one of them.
    pub queries: Cow<'a, [QueryId]>,
    /// What is special about it.
    pub flags: Flags,
}

impl<'a> Match<'a> {
    /// Appends the header's value to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(max_bytes_without_ids(&self.source.topic) + self.queries.len() * 16);
        out.push(VERSION);
        out.push(if self.flags.too_large { TOO_LARGE } else { 0 });
        put_uint(out, self.epoch.into());
        put_text(out, &self.source.topic);
        out.extend_from_slice(&self.source.incarnation);
        put_int(out, self.source.partition.into());
        put_int(out, self.source.offset);
        put_int(out, self.source.timestamp_ms);
        put_uint(out, self.queries.len() as u64);
        for query in self.queries.iter() {
            out.extend_from_slice(query.as_bytes());
        }
    }

    /// Reads what [`encode`](Self::encode) wrote; the topic is borrowed.
    ///
    /// # Errors
    /// The bytes are of another version or are no such header.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes)?;
        let flags = match reader.byte()? {
            0 => Flags { too_large: false },
            TOO_LARGE => Flags { too_large: true },
            _ => return Err(DecodeError::Malformed("flag")),
        };
        let epoch = reader.uint32()?;
        let source = Source {
            topic: Cow::Borrowed(reader.text()?),
            incarnation: reader.array()?,
            partition: reader.int32()?,
            offset: reader.int()?,
            timestamp_ms: reader.int()?,
        };
        let queries = reader.list(16, Reader::query_id)?;
        if queries.is_empty() {
            return Err(DecodeError::Malformed("list of queries"));
        }
        reader.end()?;
        Ok(Self {
            source,
            epoch,
            queries: Cow::Owned(queries),
            flags,
        })
    }

    /// The same match as one or more whose headers take at most `max_header_bytes` each
    /// (one id each where even that is too little).
    pub fn split(&self, max_header_bytes: usize) -> impl Iterator<Item = Match<'_>> {
        let room = max_header_bytes.saturating_sub(max_bytes_without_ids(&self.source.topic));
        self.queries
            .chunks((room / 16).max(1))
            .map(|queries| Match {
                source: Source {
                    topic: Cow::Borrowed(&self.source.topic),
                    ..self.source
                },
                epoch: self.epoch,
                queries: Cow::Borrowed(queries),
                flags: self.flags,
            })
    }

    /// The same match, owning its topic.
    #[must_use]
    pub fn into_owned(self) -> Match<'static> {
        Match {
            source: Source {
                topic: Cow::Owned(self.source.topic.into_owned()),
                ..self.source
            },
            epoch: self.epoch,
            queries: Cow::Owned(self.queries.into_owned()),
            flags: self.flags,
        }
    }
}

/// Version, flags, topic, incarnation and six numbers at their longest.
fn max_bytes_without_ids(topic: &str) -> usize {
    2 + topic.len() + 16 + 6 * MAX_VARINT_BYTES
}
