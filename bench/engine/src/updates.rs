//! Filters that come and go while events are matched.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clickstream_engine::{Filter, FilterSet, Record, Scratch, Validation};
use clickstream_mixes::Mix;

use crate::measure::{median, processor_time};
use crate::peers::engine;
use crate::table::Table;
use crate::{SEED, nanoseconds};

const FILTERS: usize = 100_000;
const UPDATES_A_SECOND: u32 = 1_000;
const ROUND: Duration = Duration::from_secs(2);

/// Where the writer puts the set, and the reader finds it between two events.
type Shared = Arc<Mutex<FilterSet>>;

/// What a matching thread saw.
struct Seen {
    events: usize,
    /// The longest time between two events.
    longest: Duration,
    /// On the processor.
    time: Duration,
    /// From a filter's acceptance to its first match.
    first_matches: Vec<f64>,
}

/// Matches until the time is over. `added` says which keys were accepted when; each filter among them holds for
/// every event.
fn matching(shared: &Shared, events: &[Vec<u8>], added: &Receiver<(u32, Instant)>) -> Result<Seen> {
    let mut scratch = Scratch::new(Validation::Inspected);
    let mut set = shared.lock().map_err(|_| anyhow!("poisoned"))?.clone();
    let mut out = Vec::new();
    let mut waiting: Vec<(u32, Instant)> = Vec::new();
    let mut seen = Seen {
        events: 0,
        longest: Duration::ZERO,
        time: Duration::ZERO,
        first_matches: Vec::new(),
    };
    // Warm.
    for event in events {
        set.matching(&Record::of_value(event), &mut scratch, &mut out)?;
    }
    let (start, before) = (Instant::now(), processor_time());
    let mut last = start;
    while start.elapsed() < ROUND {
        for event in events.iter().skip(seen.events % events.len()).take(64) {
            // A set that is being replaced is taken with the next event.
            if let Ok(shared) = shared.try_lock() {
                set = shared.clone();
            }
            out.clear();
            set.matching(&Record::of_value(event), &mut scratch, &mut out)?;
            waiting.extend(added.try_iter());
            let now = Instant::now();
            waiting.retain(|(key, accepted)| {
                let found = out.binary_search(key).is_ok();
                if found {
                    let taken = now.duration_since(*accepted);
                    seen.first_matches.push(taken.as_secs_f64() * 1e3);
                }
                !found
            });
            seen.longest = seen.longest.max(now.duration_since(last));
            last = now;
            seen.events += 1;
        }
    }
    seen.time = match (before, processor_time()) {
        (Some(before), Some(after)) if after > before => after - before,
        _ => start.elapsed(),
    };
    Ok(seen)
}

/// Adds and removes, at the pace, until the time is over.
fn updating(
    shared: &Shared,
    mut set: FilterSet,
    added: &mpsc::Sender<(u32, Instant)>,
) -> Result<()> {
    let filters = Mix::S.filters(SEED + 1, UPDATES_A_SECOND as usize * 4);
    let everything = Filter::parse("has(event.id)")?;
    let start = Instant::now();
    let mut updates = 0_u32;
    let first = FILTERS as u32;
    while start.elapsed() < ROUND {
        let due = (start.elapsed().as_secs_f64() * f64::from(UPDATES_A_SECOND)) as u32;
        if updates >= due {
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        let accepted = Instant::now();
        // One in a hundred is looked for in the results; it leaves again soon.
        let key = first + updates;
        if updates.is_multiple_of(100) {
            set.insert(key, everything.clone());
        } else if updates.is_multiple_of(2) {
            set.remove(updates * 7 % first);
        } else {
            set.insert(
                key,
                Filter::parse(&filters[updates as usize % filters.len()])?,
            );
        }
        if updates % 100 == 50 {
            set.remove(key - 50);
        }
        *shared.lock().map_err(|_| anyhow!("poisoned"))? = set.clone();
        if updates.is_multiple_of(100) {
            let _ = added.send((key, accepted));
        }
        updates += 1;
    }
    Ok(())
}

pub(crate) fn print() -> Result<()> {
    let base = engine(&Mix::S.filters(SEED, FILTERS))?;
    let events = Mix::S.events(SEED, 4_096);
    let (mut still, mut moving, mut longest, mut first) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        for updates in [false, true] {
            let shared = Arc::new(Mutex::new(base.clone()));
            let (sender, added) = mpsc::channel();
            let seen = thread::scope(|scope| {
                let writer =
                    updates.then(|| scope.spawn(|| updating(&shared, base.clone(), &sender)));
                let seen = matching(&shared, &events, &added);
                if let Some(writer) = writer {
                    writer
                        .join()
                        .map_err(|_| anyhow!("the writer panicked"))??;
                }
                seen
            })?;
            let time = seen.time.as_nanos() as f64 / seen.events as f64;
            if updates {
                moving.push(time);
                longest.push(seen.longest.as_secs_f64() * 1e3);
                first.extend(seen.first_matches);
            } else {
                still.push(time);
            }
        }
    }
    first.sort_by(f64::total_cmp);
    let p99 = first[(first.len() * 99 / 100).min(first.len() - 1)];
    let (still, moving, longest) = (median(still), median(moving), median(longest));
    let mut table = Table::new(
        "1,000 updates a second, 100,000 filters of mix S (a writer and a matching thread)",
        &["", "seen", "goal"],
    );
    let mut row = |name: &str, seen: String, goal: &str| {
        table.row([name.to_owned(), seen, goal.to_owned()]);
    };
    row("event, no updates", nanoseconds(still), "");
    row("event, 1,000 updates/s", nanoseconds(moving), "");
    row(
        "share of the throughput",
        format!("{:.2}", still / moving),
        "0.95",
    );
    row(
        "update accepted -> first match, p99",
        format!("{p99:.2} ms"),
        "50 ms",
    );
    row(
        "longest time between two events",
        format!("{longest:.2} ms"),
        "1 ms",
    );
    table.end();
    Ok(())
}
