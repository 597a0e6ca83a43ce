//! Progress: how far a worker has come, and what it counted on the way.

use crate::codec::{Reader, put_int, put_text, put_uint};
use crate::{DecodeError, Incarnation, QueryId, VERSION, WorkerId};

/// A worker's statement on one lane.
///
/// It is made by the thread that owns the partitions of its ranges, between two events and after
/// all earlier matches of the lane went to the same producer: every match below a range's `end`
/// precedes the statement in the lane, and everything from `end` on is matched at `revision`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Revision of the registry that the worker runs, for the partitions of `ranges`.
    pub revision: u64,
    /// Number of lanes the worker can write to: lanes are `0..lanes`.
    pub lanes: u32,
    /// Who states this.
    pub worker: WorkerId,
    /// Every source topic of the pipeline.
    pub topics: Vec<TopicPartitions>,
    /// What is stated, to be applied in order. A partition comes once, and again with empty ranges at the
    /// same offset only when it names very many added queries.
    pub ranges: Vec<Range>,
}

/// A source topic and its number of partitions, as the worker last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPartitions {
    /// Source topic.
    pub topic: String,
    /// Which creation of that topic.
    pub incarnation: Incarnation,
    /// Partitions are `0..partitions`; 0 while the topic does not exist.
    pub partitions: u32,
}

/// What happened on one source partition, for this lane's queries, at offsets `begin..end`.
///
/// The ranges of a lane, partition and epoch follow each other without gap or overlap while the lane has
/// queries; when it has none, nothing is stated, and the first range afterwards begins (and ends) where the
/// next query is added. Offsets
/// are next offsets: a range covers the records from `begin` to `end - 1`; it may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Source topic.
    pub topic: String,
    /// Which creation of that topic.
    pub incarnation: Incarnation,
    /// Partition of the source topic.
    pub partition: i32,
    /// Epoch of this ownership. A partition's new epoch begins where its former owner committed,
    /// so its first range withdraws what older epochs counted from its `begin` on.
    pub epoch: u32,
    /// First offset of the range.
    pub begin: i64,
    /// First offset after the range.
    pub end: i64,
    /// Timestamp of the last record read, or, when the partition had been read to its end, of the
    /// last look that found the end there: milliseconds since 1970 UTC, 0 before either.
    pub time_ms: i64,
    /// Records from `end` to the end of the partition, at the last look.
    pub lag_records: i64,
    /// Records read in the range, unreadable ones too.
    pub scanned: u64,
    /// Records in the range that are not a JSON object.
    pub unreadable: u64,
    /// Offsets (first, first after) of the range that retention removed before they were read.
    pub lost: Option<(i64, i64)>,
    /// Counts of this lane's queries, where one of them is not zero.
    pub queries: Vec<QueryCounts>,
    /// Queries of this lane added since the last statement of this epoch, with the first offset
    /// that they were matched at. A query that was there when the epoch began is not listed: it is
    /// matched from the `begin` of the epoch's first range on.
    pub added: Vec<(QueryId, i64)>,
}

/// Counts of one query in one range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryCounts {
    /// The query.
    pub id: QueryId,
    /// Events that matched, those left out included.
    pub matched: u64,
    /// Matches that were not written to the lane because of the query's limit.
    pub left_out: u64,
}

/// The least bytes that items of these lists take: one for each number and text.
const TOPIC_BYTES: usize = 1 + 16 + 1;
const RANGE_BYTES: usize = 1 + 16 + 11;
const COUNTS_BYTES: usize = 16 + 2;
const ADDED_BYTES: usize = 16 + 1;

impl Progress {
    /// The value of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_head();
        put_uint(&mut out, self.ranges.len() as u64);
        for range in &self.ranges {
            range.encode(&mut out);
        }
        out
    }

    /// Values of one or more records that together state this, each below `max_bytes` and each
    /// complete for its ranges. A single range that takes more makes a record of its own.
    #[must_use]
    pub fn split(&self, max_bytes: usize) -> Vec<Vec<u8>> {
        let head = self.encode_head();
        // One record: its ranges encoded, and how many they are.
        let mut parts = vec![(Vec::new(), 0u64)];
        let mut encoded = Vec::new();
        for range in &self.ranges {
            encoded.clear();
            range.encode(&mut encoded);
            if let Some((ranges, count)) = parts.last_mut()
                && (*count == 0 || head.len() + 10 + ranges.len() + encoded.len() < max_bytes)
            {
                ranges.extend_from_slice(&encoded);
                *count += 1;
            } else {
                parts.push((encoded.clone(), 1));
            }
        }
        let record = |(ranges, count): (Vec<u8>, u64)| {
            let mut record = head.clone();
            put_uint(&mut record, count);
            record.extend_from_slice(&ranges);
            record
        };
        parts.into_iter().map(record).collect()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes are of another version or are no progress record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes)?;
        let progress = Self {
            revision: reader.uint()?,
            lanes: reader.uint32()?,
            worker: reader.array()?,
            topics: reader.list(TOPIC_BYTES, |reader| {
                Ok(TopicPartitions {
                    topic: reader.text()?.to_owned(),
                    incarnation: reader.array()?,
                    partitions: reader.uint32()?,
                })
            })?,
            ranges: reader.list(RANGE_BYTES, Range::decode)?,
        };
        reader.end()?;
        Ok(progress)
    }

    fn encode_head(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_uint(&mut out, self.revision);
        put_uint(&mut out, self.lanes.into());
        out.extend_from_slice(&self.worker);
        put_uint(&mut out, self.topics.len() as u64);
        for topic in &self.topics {
            put_text(&mut out, &topic.topic);
            out.extend_from_slice(&topic.incarnation);
            put_uint(&mut out, topic.partitions.into());
        }
        out
    }
}

impl Range {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.topic);
        out.extend_from_slice(&self.incarnation);
        put_int(out, self.partition.into());
        put_uint(out, self.epoch.into());
        put_int(out, self.begin);
        put_int(out, self.end);
        put_int(out, self.time_ms);
        put_int(out, self.lag_records);
        put_uint(out, self.scanned);
        put_uint(out, self.unreadable);
        match self.lost {
            None => out.push(0),
            Some((first, next)) => {
                out.push(1);
                put_int(out, first);
                put_int(out, next);
            }
        }
        put_uint(out, self.queries.len() as u64);
        for query in &self.queries {
            out.extend_from_slice(query.id.as_bytes());
            put_uint(out, query.matched);
            put_uint(out, query.left_out);
        }
        put_uint(out, self.added.len() as u64);
        for (query, offset) in &self.added {
            out.extend_from_slice(query.as_bytes());
            put_int(out, *offset);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let range = Self {
            topic: reader.text()?.to_owned(),
            incarnation: reader.array()?,
            partition: reader.int32()?,
            epoch: reader.uint32()?,
            begin: reader.int()?,
            end: reader.int()?,
            time_ms: reader.int()?,
            lag_records: reader.int()?,
            scanned: reader.uint()?,
            unreadable: reader.uint()?,
            lost: match reader.byte()? {
                0 => None,
                1 => Some((reader.int()?, reader.int()?)),
                _ => return Err(DecodeError::Malformed("flag")),
            },
            queries: reader.list(COUNTS_BYTES, |reader| {
                Ok(QueryCounts {
                    id: reader.query_id()?,
                    matched: reader.uint()?,
                    left_out: reader.uint()?,
                })
            })?,
            added: reader.list(ADDED_BYTES, |reader| {
                Ok((reader.query_id()?, reader.int()?))
            })?,
        };
        if range.begin > range.end {
            return Err(DecodeError::Malformed("range"));
        }
        Ok(range)
    }
}
