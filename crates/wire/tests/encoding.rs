//! What is written is read again, version 1 stays what it is, and no bytes make a reader panic.

use std::borrow::Cow;

use clickstream_wire::{
    DecodeError, Flags, Lane, Match, PROGRESS_KEY, Progress, QueryCounts, QueryId, Range, Source,
    TopicPartitions, decode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn query_id() -> impl Strategy<Value = QueryId> {
    any::<[u8; 16]>().prop_map(QueryId::from_bytes)
}

fn matches(max_queries: usize) -> impl Strategy<Value = Match<'static>> {
    (
        (
            "\\PC{0,20}",
            any::<[u8; 16]>(),
            any::<i32>(),
            any::<i64>(),
            any::<i64>(),
        ),
        any::<u32>(),
        vec(query_id(), 1..max_queries),
        any::<bool>(),
    )
        .prop_map(
            |((topic, incarnation, partition, offset, timestamp_ms), epoch, queries, too_large)| {
                Match {
                    source: Source {
                        topic: Cow::Owned(topic),
                        incarnation,
                        partition,
                        offset,
                        timestamp_ms,
                    },
                    epoch,
                    queries: Cow::Owned(queries),
                    flags: Flags { too_large },
                }
            },
        )
}

fn range() -> impl Strategy<Value = Range> {
    (
        ("[a-z]{0,9}", any::<[u8; 16]>(), any::<i32>(), any::<u32>()),
        (
            any::<i64>(),
            any::<i64>(),
            any::<i64>(),
            any::<i64>(),
            any::<u64>(),
            any::<u64>(),
        ),
        option::of(any::<(i64, i64)>()),
        vec((query_id(), any::<u64>(), any::<u64>()), 0..20),
        vec((query_id(), any::<i64>()), 0..20),
    )
        .prop_map(|(place, numbers, lost, queries, added)| Range {
            topic: place.0,
            incarnation: place.1,
            partition: place.2,
            epoch: place.3,
            begin: numbers.0.min(numbers.1),
            end: numbers.0.max(numbers.1),
            time_ms: numbers.2,
            lag_records: numbers.3,
            scanned: numbers.4,
            unreadable: numbers.5,
            lost,
            queries: queries
                .into_iter()
                .map(|(id, matched, left_out)| QueryCounts {
                    id,
                    matched,
                    left_out,
                })
                .collect(),
            added,
        })
}

fn progress() -> impl Strategy<Value = Progress> {
    (
        any::<u64>(),
        any::<u32>(),
        any::<[u8; 16]>(),
        vec(("[a-z.]{0,9}", any::<[u8; 16]>(), any::<u32>()), 0..4),
        vec(range(), 0..6),
    )
        .prop_map(|(revision, lanes, worker, topics, ranges)| Progress {
            revision,
            lanes,
            worker,
            topics: topics
                .into_iter()
                .map(|(topic, incarnation, partitions)| TopicPartitions {
                    topic,
                    incarnation,
                    partitions,
                })
                .collect(),
            ranges,
        })
}

fn header(matched: &Match<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    matched.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn a_match_is_read_as_it_was_written(matched in matches(50)) {
        let bytes = header(&matched);
        prop_assert_eq!(decode(Some(b"any key"), Some(&bytes), Some(b"{}")), Ok(Lane::Match(matched)));
    }

    #[test]
    fn progress_is_read_as_it_was_written(progress in progress()) {
        let value = progress.encode();
        prop_assert_eq!(decode(Some(PROGRESS_KEY.as_bytes()), None, Some(&value)), Ok(Lane::Progress(progress)));
    }

    #[test]
    fn a_split_match_names_every_query_once_in_headers_that_fit(matched in matches(200), limit in 150usize..2000) {
        let mut queries = Vec::new();
        for part in matched.split(limit) {
            let bytes = header(&part);
            prop_assert!(bytes.len() <= limit);
            let read = Match::decode(&bytes).unwrap();
            prop_assert_eq!(&read.source, &matched.source);
            prop_assert_eq!((read.epoch, read.flags), (matched.epoch, matched.flags));
            queries.extend_from_slice(&read.queries);
        }
        prop_assert_eq!(queries, matched.queries.as_ref());
    }

    #[test]
    fn split_progress_keeps_every_range_whole_and_in_order(progress in progress(), limit in 0usize..3000) {
        let mut ranges = Vec::new();
        for value in progress.split(limit) {
            let part = Progress::decode(&value).unwrap();
            prop_assert!(value.len() < limit || part.ranges.len() <= 1);
            prop_assert_eq!(&part.topics, &progress.topics);
            prop_assert_eq!((part.revision, part.lanes, part.worker), (progress.revision, progress.lanes, progress.worker));
            ranges.extend(part.ranges);
        }
        prop_assert_eq!(ranges, progress.ranges);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = decode(Some(PROGRESS_KEY.as_bytes()), None, Some(&bytes));
        let _ = decode(None, Some(&bytes), None);
        let mut versioned = vec![1];
        versioned.extend(bytes);
        let _ = Progress::decode(&versioned);
        let _ = Match::decode(&versioned);
    }

    #[test]
    fn damage_is_read_as_something_else_or_refused(
        progress in progress(), matched in matches(20), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut value = progress.encode();
        let index = at.index(value.len());
        value[index] = byte;
        let _ = Progress::decode(&value);
        let mut bytes = header(&matched);
        let index = at.index(bytes.len());
        bytes[index] = byte;
        let _ = Match::decode(&bytes);
    }

    #[test]
    fn every_cut_is_noticed(progress in progress(), matched in matches(20), at in any::<prop::sample::Index>()) {
        let value = progress.encode();
        prop_assert!(Progress::decode(&value[..at.index(value.len())]).is_err());
        let bytes = header(&matched);
        prop_assert!(Match::decode(&bytes[..at.index(bytes.len())]).is_err());
    }

    #[test]
    fn bytes_after_the_end_are_noticed(mut value in progress().prop_map(|progress| progress.encode()), extra in any::<u8>()) {
        value.push(extra);
        prop_assert_eq!(Progress::decode(&value), Err(DecodeError::Trailing));
    }
}

#[test]
fn a_record_of_another_version_or_origin_is_told_apart() {
    assert_eq!(
        decode(Some(b"progress"), None, Some(&[2, 0])),
        Err(DecodeError::UnknownVersion(2))
    );
    assert_eq!(
        decode(None, Some(&[0]), None),
        Err(DecodeError::UnknownVersion(0))
    );
    assert_eq!(
        decode(Some(b"somebody's"), None, Some(b"{}")),
        Err(DecodeError::NoHeader)
    );
    assert_eq!(
        decode(Some(b"progress"), None, None),
        Err(DecodeError::Truncated)
    );
}

/// A list's length is believed only as far as the bytes go: these would ask for exabytes.
#[test]
fn a_list_longer_than_its_bytes_is_refused_before_room_is_made() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let mut matched = vec![1, 0, 0, 0];
    matched.extend([0; 19]);
    matched.extend(huge);
    assert_eq!(Match::decode(&matched), Err(DecodeError::Truncated));
    let mut progress = vec![1, 0, 0];
    progress.extend([0; 16]);
    progress.extend(huge);
    assert_eq!(Progress::decode(&progress), Err(DecodeError::Truncated));
}

/// Workers and handlers of different releases run side by side during an upgrade: if this test
/// must change, the version byte must, and readers must know both.
#[test]
fn version_1_is_these_bytes() {
    let matched = Match {
        source: Source {
            topic: "events".into(),
            incarnation: [7; 16],
            partition: 3,
            offset: 1000,
            timestamp_ms: -1,
        },
        epoch: 300,
        queries: vec![QueryId::from_bytes([0xaa; 16])].into(),
        flags: Flags { too_large: true },
    };
    let golden = [
        &[1, 1, 0xac, 0x02, 6][..],
        b"events",
        &[7; 16],
        &[6, 0xd0, 0x0f, 1, 1],
        &[0xaa; 16],
    ]
    .concat();
    assert_eq!(header(&matched), golden);
    assert_eq!(Match::decode(&golden), Ok(matched));

    let progress = Progress {
        revision: 1_000_000,
        lanes: 16,
        worker: [9; 16],
        topics: vec![TopicPartitions {
            topic: "t".into(),
            incarnation: [7; 16],
            partitions: 8,
        }],
        ranges: vec![Range {
            topic: "t".into(),
            incarnation: [7; 16],
            partition: 2,
            epoch: 5,
            begin: 10,
            end: 64,
            time_ms: 1,
            lag_records: 0,
            scanned: 50,
            unreadable: 2,
            lost: Some((10, 14)),
            queries: vec![QueryCounts {
                id: QueryId::from_bytes([0xaa; 16]),
                matched: 9,
                left_out: 1,
            }],
            added: vec![(QueryId::from_bytes([0xbb; 16]), 20)],
        }],
    };
    let golden = [
        &[1, 0xc0, 0x84, 0x3d, 16][..],
        &[9; 16],
        &[1, 1, b't'],
        &[7; 16],
        &[8],
        &[1, 1, b't'],
        &[7; 16],
        &[4, 5, 20, 0x80, 1, 2, 0, 50, 2, 1, 20, 28],
        &[1],
        &[0xaa; 16],
        &[9, 1],
        &[1],
        &[0xbb; 16],
        &[40],
    ]
    .concat();
    assert_eq!(progress.encode(), golden);
    assert_eq!(Progress::decode(&golden), Ok(progress));
}
