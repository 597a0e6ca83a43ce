//! Where the new owner of a partition begins.

use clickstream_wire::Incarnation;

use crate::epoch::{self, Metadata};

/// What is known of a partition before it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// The group's commit: offset and metadata.
    pub(crate) committed: Option<(i64, &'a str)>,
    /// The partition's number.
    pub(crate) partition: i32,
    /// How many partitions the topic had when the pipeline's first worker saw it.
    pub(crate) recorded_partitions: i32,
    /// Offset of the oldest record kept.
    pub(crate) low: i64,
    /// The offset that the next record will get.
    pub(crate) high: i64,
    /// The creation of the topic that `low` and `high` belong to.
    pub(crate) incarnation: Incarnation,
    /// The wall clock.
    pub(crate) unix_seconds: u64,
}

/// How an ownership begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Of this ownership.
    pub(crate) epoch: u32,
    /// Committed, with the epoch, before anything is read, and the beginning of the first range.
    pub(crate) begin: i64,
    /// The first record to read: above `begin` when retention was faster than the workers.
    pub(crate) read_from: i64,
    /// The commit belonged to a topic of the same name that was deleted, or whose end was lost.
    pub(crate) recreated: bool,
}

impl Start {
    /// The offsets (first, first after) that retention removed before they were read.
    pub(crate) fn lost(&self) -> Option<(i64, i64)> {
        (self.begin < self.read_from).then_some((self.begin, self.read_from))
    }
}

/// Decides where to begin.
///
/// - Goes on where the group stands. What retention removed since is a lost range.
/// - Without a commit: at the end for a partition that was there when the pipeline began, at the beginning for one that
///   was added later, so that nothing of it is missed.
/// - A commit beyond the end, or of another creation of the topic, means nothing for this topic: at the beginning.
pub(crate) fn decide(known: &Known<'_>) -> Start {
    let metadata = known.committed.and_then(|(_, text)| Metadata::decode(text));
    let epoch = epoch::next(metadata, known.unix_seconds);
    let Some((offset, _)) = known.committed else {
        let added_later = known.partition >= known.recorded_partitions;
        let begin = if added_later { known.low } else { known.high };
        return Start {
            epoch,
            begin,
            read_from: begin,
            recreated: false,
        };
    };
    let other_topic = metadata.is_some_and(|metadata| {
        let unknown = [0; 16];
        metadata.incarnation != unknown
            && known.incarnation != unknown
            && metadata.incarnation != known.incarnation
    });
    if other_topic || offset > known.high {
        return Start {
            epoch,
            begin: known.low,
            read_from: known.low,
            recreated: true,
        };
    }
    Start {
        epoch,
        begin: offset,
        read_from: offset.max(known.low),
        recreated: false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: Known<'static> = Known {
        committed: None,
        partition: 3,
        recorded_partitions: 8,
        low: 100,
        high: 500,
        incarnation: [1; 16],
        unix_seconds: 1_700_000_000,
    };

    fn with_commit(offset: i64, metadata: &str) -> Known<'_> {
        Known {
            committed: Some((offset, metadata)),
            ..KNOWN
        }
    }

    #[test]
    fn a_first_partition_without_a_commit_begins_at_its_end() {
        let start = decide(&KNOWN);
        assert_eq!(
            start,
            Start {
                epoch: 1_700_000_000,
                begin: 500,
                read_from: 500,
                recreated: false
            }
        );
    }

    #[test]
    fn a_partition_added_later_begins_at_its_beginning() {
        let start = decide(&Known {
            partition: 8,
            ..KNOWN
        });
        assert_eq!(
            (start.begin, start.read_from, start.lost()),
            (100, 100, None)
        );
    }

    #[test]
    fn a_commit_is_continued_one_epoch_later() {
        let start = decide(&with_commit(321, "v1;epoch=17"));
        assert_eq!(
            start,
            Start {
                epoch: 18,
                begin: 321,
                read_from: 321,
                recreated: false
            }
        );
    }

    #[test]
    fn a_commit_at_the_very_end_is_continued() {
        assert_eq!(decide(&with_commit(500, "v1;epoch=17")).begin, 500);
    }

    #[test]
    fn what_retention_removed_is_lost_and_counted() {
        let start = decide(&with_commit(40, "v1;epoch=17"));
        assert_eq!(
            (start.begin, start.read_from, start.lost()),
            (40, 100, Some((40, 100)))
        );
    }

    #[test]
    fn a_commit_beyond_the_end_begins_anew() {
        let start = decide(&with_commit(501, "v1;epoch=17"));
        assert_eq!(
            start,
            Start {
                epoch: 18,
                begin: 100,
                read_from: 100,
                recreated: true
            }
        );
    }

    #[test]
    fn a_commit_of_another_creation_begins_anew() {
        let other = Metadata {
            epoch: 17,
            incarnation: [2; 16],
        }
        .encode();
        assert_eq!(
            decide(&with_commit(321, &other)),
            Start {
                epoch: 18,
                begin: 100,
                read_from: 100,
                recreated: true
            }
        );
        let same = Metadata {
            epoch: 17,
            incarnation: [1; 16],
        }
        .encode();
        assert_eq!(decide(&with_commit(321, &same)).begin, 321);
    }

    #[test]
    fn a_foreign_commit_is_continued_with_an_epoch_of_the_clock() {
        let start = decide(&with_commit(321, "moved by hand"));
        assert_eq!((start.epoch, start.begin), (1_700_000_000, 321));
    }

    proptest! {
        #[test]
        fn reading_begins_within_the_partition_and_never_before_the_commit(
            commit in prop::option::of((0i64..1000, ".{0,40}")),
            partition in 0..10i32, recorded_partitions in 0..10i32, low in 0i64..500, length in 0i64..500,
        ) {
            let committed = commit.as_ref().map(|(offset, text)| (*offset, text.as_str()));
            let known = Known { committed, partition, recorded_partitions, low, high: low + length, ..KNOWN };
            let start = decide(&known);
            prop_assert!((known.low..=known.high).contains(&start.read_from));
            prop_assert!(start.begin <= start.read_from);
            if let Some((offset, _)) = committed {
                prop_assert!(start.recreated || start.begin == offset);
            }
        }
    }
}
