//! Times of things that do the same, taken in turns.

use std::time::{Duration, Instant};

/// Rounds; the median of which counts.
const ROUNDS: usize = 5;

/// How long one of them runs in one round, at least.
const TURN: Duration = Duration::from_millis(300);

/// One thing to measure: does a piece of work, and says how many events that were.
pub(crate) type Contestant<'a> = Box<dyn FnMut() -> usize + 'a>;

/// Nanoseconds of processor time per event of each contestant: the median of rounds in which each has its turn, so that what
/// else happens on the machine happens to all of them.
pub(crate) fn interleaved(mut contestants: Vec<Contestant<'_>>) -> Vec<f64> {
    let mut times = vec![Vec::new(); contestants.len()];
    for _ in 0..ROUNDS {
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            contestant();
            let mut events = 0;
            let (start, before) = (Instant::now(), processor_time());
            while start.elapsed() < TURN {
                events += contestant();
            }
            let taken = match (before, processor_time()) {
                (Some(before), Some(after)) if after > before => after - before,
                _ => start.elapsed(),
            };
            times.push(taken.as_nanos() as f64 / events as f64);
        }
    }
    times.into_iter().map(median).collect()
}

/// How long this thread has been on a processor: what others do there meanwhile does not count. `None` where the
/// kernel does not tell.
pub(crate) fn processor_time() -> Option<Duration> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = times.split(' ').next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// The middle one.
pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
