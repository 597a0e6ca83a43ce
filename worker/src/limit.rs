//! A query's limit on the matches that one worker sends to its lane.

use std::sync::atomic::{AtomicU64, Ordering};

const SECOND_NANOS: u64 = 1_000_000_000;

/// At most `per_second` matches a second, with a burst of one second's worth; shared by all threads of the worker.
///
/// The generic cell rate algorithm: one number says until when the allowance is used up.
/// The clock is that of processing, not of the records: the limit protects lane and viewers now.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Nanoseconds between two matches at the limit.
    interval: u64,
    /// When all matches let through so far would have been sent at exactly the limit.
    used_until: AtomicU64,
}

impl Limit {
    /// A limit of 0 lets one match through each second: who wants none has no query.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            interval: SECOND_NANOS / u64::from(per_second.max(1)),
            used_until: AtomicU64::new(0),
        }
    }

    /// Whether a match at `now` (nanoseconds of any steady clock) may go to the lane; if not, it is counted as left out.
    pub(crate) fn allow(&self, now: u64) -> bool {
        self.used_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used_until| {
                let next = used_until.max(now) + self.interval;
                (next <= now + SECOND_NANOS).then_some(next)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_stretch_sees_the_limit_and_one_burst_at_most(
            per_second in 1u32..500, gaps in prop::collection::vec(0u64..20_000_000, 1..2000),
        ) {
            let limit = Limit::new(per_second);
            let mut now = 7 * SECOND_NANOS;
            let begin = now;
            let mut passed = 0u64;
            for gap in gaps {
                now += gap;
                passed += u64::from(limit.allow(now));
                let seconds = (now - begin) as f64 / SECOND_NANOS as f64;
                prop_assert!(passed as f64 <= f64::from(per_second) * (1.0 + seconds) + 1.0);
            }
        }

        #[test]
        fn a_stream_below_the_limit_passes_whole(per_second in 1u32..10_000, steps in 1u64..5000) {
            let limit = Limit::new(per_second);
            let interval = SECOND_NANOS / u64::from(per_second);
            for step in 0..steps {
                prop_assert!(limit.allow(step * interval));
            }
        }
    }

    #[test]
    fn a_burst_of_one_second_passes_and_the_rest_is_left_out() {
        let limit = Limit::new(100);
        let passed = (0..1000).filter(|_| limit.allow(0)).count();
        assert_eq!(passed, 100);
        assert!(limit.allow(SECOND_NANOS / 100));
        assert!(!limit.allow(SECOND_NANOS / 100));
    }
}
