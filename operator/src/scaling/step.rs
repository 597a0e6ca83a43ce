//! From how many are needed to how many there are next: a decision, without clock or I/O.

use std::collections::VecDeque;

/// Bounds and times of one component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Never fewer.
    pub min: i32,
    /// Never more, unless `min` is.
    pub max: i32,
    /// More than this have nothing to do.
    pub partitions: i32,
    /// Seconds without a decision after a change.
    pub stabilization: f64,
    /// Seconds over which the highest need counts when some are to go.
    pub scale_down_delay: f64,
}

impl Policy {
    /// The most there may be.
    #[must_use]
    pub fn upper(&self) -> i32 {
        self.max.min(self.partitions).max(self.min)
    }

    /// The smallest number within the bounds that gives nobody more partitions than `wanted` would: for 126 partitions
    /// 42 do what 50 do.
    #[must_use]
    pub fn fit(&self, wanted: f64) -> i32 {
        let upper = self.upper();
        // A float out of range becomes the nearest integer.
        let within = (wanted.ceil() as i32).clamp(self.min, upper);
        if self.partitions == i32::MAX || self.partitions < 1 {
            return within;
        }
        let each = (self.partitions + within - 1) / within;
        let enough = (self.partitions + each - 1) / each;
        enough.clamp(self.min, upper)
    }
}

/// What was needed lately, and when something was changed. Bounded: at most about 64 entries.
#[derive(Clone, Debug, Default)]
pub struct History {
    since: Option<f64>,
    changed: Option<f64>,
    /// First and last second of a stretch, and the highest need in it.
    needs: VecDeque<(f64, f64, f64)>,
}

impl History {
    /// That of a component that was last changed at `changed`.
    #[must_use]
    pub fn changed_at(changed: Option<f64>) -> History {
        History {
            changed,
            ..History::default()
        }
    }

    /// As if nothing had been changed.
    #[must_use]
    pub fn unchanged(self) -> History {
        History {
            changed: None,
            ..self
        }
    }

    fn add(&mut self, needed: f64, delay: f64, now: f64) {
        self.since.get_or_insert(now);
        while self
            .needs
            .front()
            .is_some_and(|(_, last, _)| now - last > delay)
        {
            self.needs.pop_front();
        }
        match self.needs.back_mut() {
            Some((first, last, most)) if now - *first < delay / 64.0 => {
                *last = now;
                *most = most.max(needed);
            }
            _ => self.needs.push_back((now, now, needed)),
        }
    }
}

/// Why a number is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is enough.
    Enough,
    /// More are needed.
    More,
    /// Fewer do.
    Fewer,
    /// It is out of the bounds.
    Bounds,
    /// A change was made a moment ago.
    Stabilizing,
    /// More are needed, and there are as many as there may be.
    AtMaximum,
    /// Nobody knows how many are needed.
    Unknown,
}

/// Spare room that there has to be before one goes: what is needed and what is measured both vary.
const HEADROOM: f64 = 1.1;

/// How many there are to be, when `needed` are, `current` are there and it is second `now`.
///
/// Up at once, to twice as many at most; down to the highest need within the delay, by 40 % or one at most; nothing after a
/// change until things are stable; nothing when `needed` is no number.
pub fn step(
    policy: &Policy,
    history: &mut History,
    needed: f64,
    current: i32,
    now: f64,
) -> (i32, Why) {
    if !needed.is_finite() || needed < 0.0 {
        return (current, Why::Unknown);
    }
    history.add(needed, policy.scale_down_delay, now);
    let (to, why) = decide(policy, history, needed, current, now);
    if to != current {
        history.changed = Some(now);
    }
    (to, why)
}

fn decide(policy: &Policy, history: &History, needed: f64, current: i32, now: f64) -> (i32, Why) {
    let upper = policy.upper();
    if current < policy.min || current > upper {
        return (current.clamp(policy.min, upper), Why::Bounds);
    }
    let changed = history.changed.unwrap_or(f64::NEG_INFINITY);
    if now - changed < policy.stabilization {
        return (current, Why::Stabilizing);
    }
    if needed > f64::from(current) {
        let twice = f64::from(current.saturating_mul(2));
        let to = policy.fit(needed.min(twice));
        return match to > current {
            true => (to, Why::More),
            false if current == upper => (current, Why::AtMaximum),
            false => (current, Why::Enough),
        };
    }
    let seen = now - history.since.unwrap_or(now);
    if seen < policy.scale_down_delay {
        return (current, Why::Enough);
    }
    let most = history.needs.iter().map(|(_, _, most)| *most);
    let enough = policy.fit(most.fold(0.0, f64::max) * HEADROOM);
    let slowest = ((f64::from(current) * 0.6).ceil() as i32).min(current - 1);
    let to = enough.max(slowest).max(policy.min);
    if to < current {
        (to, Why::Fewer)
    } else {
        (current, Why::Enough)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(min: i32, max: i32, partitions: i32) -> Policy {
        Policy {
            min,
            max,
            partitions,
            stabilization: 30.0,
            scale_down_delay: 1_200.0,
        }
    }

    /// Runs on until `ticks` of 15 s are over; answers each number.
    fn run(policy: &Policy, start: i32, needs: impl Iterator<Item = f64>) -> Vec<i32> {
        let mut history = History::default();
        let mut current = start;
        needs
            .enumerate()
            .map(|(tick, needed)| {
                current = step(policy, &mut history, needed, current, tick as f64 * 15.0).0;
                current
            })
            .collect()
    }

    #[test]
    fn workers_that_cannot_help_are_left_out() {
        assert_eq!(policy(1, 100, 126).fit(50.0), 42);
        assert_eq!(policy(1, 100, 12).fit(7.0), 6);
        assert_eq!(policy(1, 100, i32::MAX).fit(7.0), 7);
        assert_eq!(policy(4, 100, 2).fit(1.0), 4, "min is kept");
    }

    #[test]
    fn up_at_once_by_twice_and_down_slowly() {
        let policy = policy(1, 100, i32::MAX);
        let up = run(&policy, 1, std::iter::repeat_n(7.5, 12));
        assert_eq!(up, [2, 2, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8]);
        let down = run(&policy, 10, std::iter::repeat_n(0.5, 200));
        assert!(down[..80].iter().all(|n| *n == 10), "not before the delay");
        let mut steps = down.clone();
        steps.dedup();
        assert_eq!(steps, [10, 6, 4, 3, 2, 1]);
    }

    #[test]
    fn what_is_unknown_changes_nothing() {
        let policy = policy(1, 10, 12);
        let mut history = History::default();
        for needed in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(
                step(&policy, &mut history, needed, 99, 0.0),
                (99, Why::Unknown)
            );
        }
    }

    proptest! {
        #[test]
        fn bounds_and_steps_are_kept(
            min in 1..20i32, more in 0..40i32, partitions in 1..60i32, current in 0..80i32,
            needed in 0.0..200f64,
        ) {
            let policy = policy(min, min + more, partitions);
            let (to, why) = step(&policy, &mut History::default(), needed, current, 0.0);
            prop_assert!(to >= min && (to <= min + more));
            prop_assert!(to <= partitions.max(min));
            if why != Why::Bounds {
                prop_assert!(to <= current * 2);
            }
        }

        #[test]
        fn a_greater_need_never_gives_fewer(
            a in 0.0..100f64, b in 0.0..100f64, current in 1..30i32, partitions in 1..60i32,
        ) {
            let policy = policy(1, 30, partitions);
            let to = |needed| step(&policy, &mut History::default(), needed, current, 0.0).0;
            prop_assert!(to(a.min(b)) <= to(a.max(b)));
        }

        #[test]
        fn a_constant_need_comes_to_rest(needed in 0.0..40f64, start in 1..30i32, partitions in 1..60i32) {
            let policy = policy(1, 30, partitions);
            let all = run(&policy, start, std::iter::repeat_n(needed, 400));
            let rest = all[399];
            prop_assert!(all[300..].iter().all(|n| *n == rest));
        }

        #[test]
        fn noise_does_not_flap(
            level in 0.5..30f64,
            noise in proptest::collection::vec(0.8..1.2f64, 600),
        ) {
            let policy = policy(1, 60, i32::MAX);
            let all = run(&policy, 1, noise.iter().map(|factor| factor * level));
            let turns = all.windows(2).filter(|pair| pair[1] < pair[0]).count();
            prop_assert_eq!(turns, 0, "{:?}", all);
        }
    }
}
