//! Which offset of a partition is safe to commit.
//!
//! # Expected flow
//! 1. Every record that goes to a lane is counted into the open [`Segment`]; its delivery report takes it off again.
//! 2. At a global boundary (progress up to an offset stated to every lane in use) the segment is closed with that offset.
//! 3. A boundary is safe once its segment and all before it have nothing outstanding.
//!
//! # Guarantees
//! Only boundaries are committed, and none before every match and statement below it is acknowledged, so that a new
//! owner's first range begins exactly where a range of its predecessor ended.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Records handed to the producer between two boundaries and not acknowledged yet.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    outstanding: AtomicU32,
}

impl Segment {
    fn add(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
    }

    fn acknowledge(&self) {
        // Pairs with the load in `is_empty`: whoever sees zero sees what the acknowledging thread did before.
        self.outstanding.fetch_sub(1, Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.outstanding.load(Ordering::Acquire) == 0
    }
}

/// The segments that one record is counted into: one for a match, one for each partition that a statement is about.
#[derive(Debug)]
pub(crate) struct Segments {
    first: Arc<Segment>,
    others: Vec<Arc<Segment>>,
}

impl Segments {
    pub(crate) fn one(segment: Arc<Segment>) -> Self {
        Self {
            first: segment,
            others: Vec::new(),
        }
    }

    /// `None` for none.
    pub(crate) fn all(mut segments: impl Iterator<Item = Arc<Segment>>) -> Option<Self> {
        Some(Self {
            first: segments.next()?,
            others: segments.collect(),
        })
    }

    /// The record was acknowledged. One that failed never is, and holds all later commits up.
    pub(crate) fn acknowledge(&self) {
        self.first.acknowledge();
        self.others.iter().for_each(|segment| segment.acknowledge());
    }
}

/// The boundaries of one partition in one epoch.
#[derive(Debug)]
pub(crate) struct Offsets {
    /// Boundaries stated and not known to be safe, oldest first, each with what came before it.
    closed: VecDeque<(i64, Arc<Segment>)>,
    open: Arc<Segment>,
    safe: i64,
    /// The last one handed out by [`Offsets::take_commit`].
    committed: i64,
}

impl Offsets {
    /// Begins at an offset that is committed already.
    pub(crate) fn new(begin: i64) -> Self {
        Self {
            closed: VecDeque::new(),
            open: Arc::default(),
            safe: begin,
            committed: begin,
        }
    }

    /// Counts one record; the caller acknowledges the segment once when it is delivered.
    pub(crate) fn send(&self) -> Arc<Segment> {
        self.open.add();
        Arc::clone(&self.open)
    }

    /// Progress up to `end` has been handed to the producer for every lane in use.
    pub(crate) fn boundary(&mut self, end: i64) {
        self.closed.push_back((end, std::mem::take(&mut self.open)));
    }

    /// The highest boundary with nothing outstanding before it.
    pub(crate) fn safe(&mut self) -> i64 {
        while let Some((end, segment)) = self.closed.front()
            && segment.is_empty()
        {
            self.safe = *end;
            self.closed.pop_front();
        }
        self.safe
    }

    /// The safe boundary, if it was not handed out before.
    pub(crate) fn take_commit(&mut self) -> Option<i64> {
        let safe = self.safe();
        (safe > self.committed).then(|| {
            self.committed = safe;
            safe
        })
    }

    /// The next [`Offsets::take_commit`] gives the safe boundary again, even if it did not move.
    pub(crate) fn commit_again(&mut self) {
        self.committed = i64::MIN;
    }

    /// Whether everything handed to the producer is acknowledged, so that the last boundary stated is safe.
    pub(crate) fn is_settled(&mut self) -> bool {
        self.safe();
        self.closed.is_empty() && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// The next source record matches on so many lanes.
        Record(usize),
        /// Statements to so many lanes, then a boundary.
        Boundary(usize),
        /// A statement for a registry change: to one lane, no boundary.
        Change,
        /// Some record outstanding is acknowledged.
        Acknowledge(prop::sample::Index),
        /// Some record outstanding fails for good.
        Fail(prop::sample::Index),
        /// The owner looks what it may commit.
        Commit,
        CommitAgain,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0usize..3).prop_map(Step::Record),
            2 => (0usize..3).prop_map(Step::Boundary),
            1 => Just(Step::Change),
            8 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
            1 => any::<prop::sample::Index>().prop_map(Step::Fail),
            3 => Just(Step::Commit),
            1 => Just(Step::CommitAgain),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        /// Whatever happens in whatever order, and wherever it is cut off: what is committed is a boundary, and nothing
        /// handed to the producer before that boundary is unacknowledged.
        #[test]
        fn commits_are_boundaries_with_everything_before_them_acknowledged(steps in steps()) {
            let begin = 1000;
            let mut offsets = Offsets::new(begin);
            let mut position = begin;
            let mut boundaries = vec![begin];
            // In the order sent: the boundaries stated before it, its segment, whether it is acknowledged.
            let mut sent: Vec<(usize, Arc<Segment>, bool)> = Vec::new();
            let mut outstanding: Vec<usize> = Vec::new();
            for step in steps {
                let records = match step {
                    Step::Record(lanes) => lanes,
                    Step::Boundary(lanes) => lanes,
                    Step::Change => 1,
                    _ => 0,
                };
                for _ in 0..records {
                    outstanding.push(sent.len());
                    sent.push((boundaries.len(), offsets.send(), false));
                }
                match step {
                    Step::Record(_) => position += 1,
                    Step::Boundary(_) => {
                        offsets.boundary(position);
                        boundaries.push(position);
                    }
                    Step::Change => {}
                    Step::Acknowledge(index) if !outstanding.is_empty() => {
                        let record = outstanding.swap_remove(index.index(outstanding.len()));
                        sent[record].1.acknowledge();
                        sent[record].2 = true;
                    }
                    Step::Fail(index) if !outstanding.is_empty() => {
                        outstanding.swap_remove(index.index(outstanding.len()));
                    }
                    Step::Commit => {
                        if let Some(commit) = offsets.take_commit() {
                            let stated = boundaries.iter().position(|boundary| *boundary == commit);
                            prop_assert!(stated.is_some(), "{} is no boundary", commit);
                            // Of several equal boundaries at least the first must be covered.
                            let stated = stated.unwrap();
                            let unacknowledged = sent.iter().any(|(after, _, done)| *after <= stated && !done);
                            prop_assert!(!unacknowledged, "{} is before its acknowledgements", commit);
                        }
                    }
                    Step::CommitAgain => offsets.commit_again(),
                    _ => {}
                }
                prop_assert_eq!(offsets.is_settled(), sent.iter().all(|(_, _, done)| *done));
            }
        }
    }

    #[test]
    fn a_boundary_waits_for_its_own_statements() {
        let mut offsets = Offsets::new(5);
        let statement = offsets.send();
        offsets.boundary(9);
        assert_eq!(offsets.take_commit(), None);
        statement.acknowledge();
        assert_eq!(offsets.take_commit(), Some(9));
        assert_eq!(offsets.take_commit(), None);
    }

    #[test]
    fn a_later_acknowledgement_does_not_overtake_an_earlier_record() {
        let mut offsets = Offsets::new(0);
        let first = offsets.send();
        offsets.boundary(10);
        let second = offsets.send();
        offsets.boundary(20);
        second.acknowledge();
        assert_eq!(offsets.take_commit(), None);
        first.acknowledge();
        assert_eq!(offsets.take_commit(), Some(20));
    }

    #[test]
    fn a_commit_is_repeated_when_asked() {
        let mut offsets = Offsets::new(0);
        offsets.boundary(10);
        assert_eq!(offsets.take_commit(), Some(10));
        offsets.commit_again();
        assert_eq!(offsets.take_commit(), Some(10));
    }

    #[test]
    fn nothing_new_is_not_committed() {
        let mut offsets = Offsets::new(10);
        offsets.boundary(10);
        assert_eq!(offsets.take_commit(), None);
    }
}
