//! The epoch of an ownership, kept in the metadata of the group's commits.
//!
//! Every commit carries it, also those that only move the offset: a commit without metadata would erase it.

use clickstream_wire::Incarnation;

/// What a commit's metadata says: `v1;epoch=17;topic=<32 hex digits>`.
///
/// A reader skips parts it does not know, so that later versions can add some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Grows by one with every ownership of the partition.
    pub(crate) epoch: u32,
    /// The creation of the topic that the offset belongs to; zeros if it was not known.
    pub(crate) incarnation: Incarnation,
}

impl Metadata {
    /// As it is committed.
    pub(crate) fn encode(&self) -> String {
        let topic = u128::from_be_bytes(self.incarnation);
        format!("v1;epoch={};topic={topic:032x}", self.epoch)
    }

    /// `None` when it was not written by a worker (another program used the group, or a tool moved the offset).
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        if parts.next() != Some("v1") {
            return None;
        }
        let mut epoch = None;
        let mut incarnation = [0; 16];
        for part in parts {
            match part.split_once('=') {
                Some(("epoch", digits)) => epoch = Some(digits.parse().ok()?),
                Some(("topic", digits)) => {
                    incarnation = u128::from_str_radix(digits, 16).ok()?.to_be_bytes()
                }
                _ => {}
            }
        }
        Some(Self {
            epoch: epoch?,
            incarnation,
        })
    }
}

/// The epoch of the next ownership.
///
/// Without a usable predecessor it begins at the wall clock's seconds: a group's commits can be lost (they expire when
/// the group was empty for long, a re-created topic loses its own, a tool may overwrite them), and handlers that saw
/// earlier epochs of the partition would ignore one that begins at 1 again. Ownership changes far less often than once
/// a second, so the clock stays ahead of the count.
pub(crate) fn next(committed: Option<Metadata>, unix_seconds: u64) -> u32 {
    match committed {
        Some(metadata) => metadata.epoch.saturating_add(1),
        None => u32::try_from(unix_seconds).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn written_metadata_is_read_again(epoch: u32, incarnation: [u8; 16]) {
            let metadata = Metadata { epoch, incarnation };
            prop_assert_eq!(Metadata::decode(&metadata.encode()), Some(metadata));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}", epoch in "[-+0-9a-f]{0,12}") {
            let _ = Metadata::decode(&text);
            let _ = Metadata::decode(&format!("v1;epoch={epoch};{text}"));
        }

        #[test]
        fn the_next_epoch_is_above_the_last(epoch in 0..u32::MAX, seconds: u64) {
            let last = Metadata { epoch, incarnation: [0; 16] };
            prop_assert!(next(Some(last), seconds) > epoch);
        }
    }

    #[test]
    fn format_is_that_of_the_specification() {
        let metadata = Metadata {
            epoch: 17,
            incarnation: [0; 16],
        };
        assert_eq!(Metadata::decode("v1;epoch=17"), Some(metadata));
        assert_eq!(
            Metadata::decode("v1;epoch=17;colour=blue;flag"),
            Some(metadata)
        );
        assert_eq!(
            metadata.encode(),
            "v1;epoch=17;topic=00000000000000000000000000000000"
        );
    }

    #[test]
    fn foreign_metadata_is_none() {
        for text in [
            "",
            "v1",
            "v2;epoch=17",
            "v1;epoch=",
            "v1;epoch=-1",
            "v1;epoch=4294967296",
            "epoch=3",
            "v1;epoch=1;topic=x",
        ] {
            assert_eq!(Metadata::decode(text), None, "{text}");
        }
    }

    #[test]
    fn without_a_predecessor_the_clock_decides() {
        assert_eq!(next(None, 1_800_000_000), 1_800_000_000);
        assert_eq!(next(None, u64::MAX), u32::MAX);
    }
}
