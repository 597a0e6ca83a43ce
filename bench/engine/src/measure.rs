//! Times of things that do the same, taken in turns.

use std::time::{Duration, Instant};

/// Rounds; the median of which counts.
const ROUNDS: usize = 5;

/// How long one of them runs in one round, at least.
const TURN: Duration = Duration::from_millis(300);

/// One thing to measure: does a piece of work, and says how many events that were.
pub(crate) type Contestant<'a> = Box<dyn FnMut() -> usize + 'a>;

/// Nanoseconds per event of each contestant: the median of rounds in which each has its turn, so that what
/// else happens on the machine happens to all of them.
pub(crate) fn interleaved(mut contestants: Vec<Contestant<'_>>) -> Vec<f64> {
    let mut times = vec![Vec::new(); contestants.len()];
    for _ in 0..ROUNDS {
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            contestant();
            let mut events = 0;
            let start = Instant::now();
            while start.elapsed() < TURN {
                events += contestant();
            }
            times.push(start.elapsed().as_nanos() as f64 / events as f64);
        }
    }
    times.into_iter().map(median).collect()
}

/// The middle one.
pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
