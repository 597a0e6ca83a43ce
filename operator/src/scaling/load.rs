//! From what pods say of themselves to how many are needed.

use std::collections::BTreeMap;

/// Seconds for which partitions stand still when workers come or go.
const RESTART: f64 = 3.0;
/// A backlog below this may be a moment's.
const STUCK_RECORDS: f64 = 100.0;
/// Seconds for which nothing is read before a partition counts as stuck.
const STUCK_SECONDS: f64 = 5.0;
/// Seconds of reading that a backlog takes from which on a worker is behind, if it does not become less.
const BEHIND_SECONDS: f64 = 5.0;

/// What one worker says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    /// Read since it started.
    pub records: f64,
    /// Seconds in which its threads did not wait for records, as they see it.
    pub busy: f64,
    /// Threads that read.
    pub consumers: f64,
    /// By topic and partition: the next offset and the records from there to the end.
    pub partitions: BTreeMap<(String, i32), (f64, f64)>,
}

/// What all workers said at one moment, by the name of their pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Seconds.
    pub at: f64,
    /// The workers.
    pub workers: BTreeMap<String, Worker>,
}

/// What a source partition asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Partition {
    /// Records waiting.
    pub lag: f64,
    /// Records that came, per second.
    pub arrived: f64,
    /// Records read, per second.
    pub read: f64,
    /// It has a backlog, and nobody read it on.
    pub stuck: bool,
}

/// What lies between two samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Every source partition.
    pub partitions: Vec<Partition>,
    /// Records that one thread reads in a second without waiting; unknown while nothing is read.
    pub rate: Option<f64>,
    /// Threads of a worker that have a partition, on average.
    pub threads: f64,
    /// Share of the time in which these did not wait; all of it for a worker whose backlog does not become less.
    pub utilization: f64,
}

/// The load between two samples; `None` while workers or partitions come and go.
#[must_use]
pub fn measure(before: &Sample, after: &Sample, partitions: usize) -> Option<Load> {
    let seconds = after.at - before.at;
    if seconds < 0.5 || !before.workers.keys().eq(after.workers.keys()) {
        return None;
    }
    let (mut records, mut busy, mut threads) = (0.0, 0.0, 0.0);
    let mut list = Vec::new();
    for (now, then) in after.workers.values().zip(before.workers.values()) {
        if now.records < then.records || !now.partitions.keys().eq(then.partitions.keys()) {
            return None;
        }
        records += now.records - then.records;
        let reading = now.consumers.min(now.partitions.len() as f64);
        threads += reading;
        let (mut backlog, mut former_backlog, mut flow) = (0.0, 0.0, 0.0);
        for ((next, lag), (former_next, former_lag)) in
            now.partitions.values().zip(then.partitions.values())
        {
            let read = (next - former_next).max(0.0);
            let partition = Partition {
                lag: *lag,
                arrived: (next + lag - former_next - former_lag).max(0.0) / seconds,
                read: read / seconds,
                stuck: read == 0.0
                    && *lag >= STUCK_RECORDS
                    && *former_lag >= STUCK_RECORDS
                    && seconds >= STUCK_SECONDS,
            };
            if !partition.stuck {
                backlog += lag;
                former_backlog += former_lag;
                flow += partition.read;
            }
            list.push(partition);
        }
        // A thread sees neither the client's threads that fetch for it nor a processor that is withheld: it waits.
        let behind =
            former_backlog >= STUCK_RECORDS.max(flow * BEHIND_SECONDS) && backlog >= former_backlog;
        busy += if behind {
            seconds * reading
        } else {
            now.busy - then.busy
        };
    }
    if list.len() != partitions {
        return None;
    }
    Some(Load {
        partitions: list,
        rate: (records > 0.0 && busy > 0.0).then(|| records / busy),
        threads: (threads / after.workers.len().max(1) as f64).max(1.0),
        utilization: busy / (seconds * threads.max(1.0)),
    })
}

/// How many workers the load takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// Workers, as a share; not a number when the rate of a thread is unknown and there is something to read.
    pub workers: f64,
    /// The same, were a partition read by several threads.
    pub unsplit: f64,
    /// Most of it is a backlog and not what comes in.
    pub backlog: bool,
    /// A partition has more than a thread can read, even without a pause.
    pub hot: bool,
}

/// How many workers read the load at `target` utilisation (0 to 1) and a backlog away within `catch_up` seconds.
///
/// A partition is read by one thread: what it asks for beyond that does not count, nor does one that is stuck.
#[must_use]
pub fn need(load: &Load, rate: Option<f64>, target: f64, catch_up: f64) -> Need {
    let moving = || load.partitions.iter().filter(|partition| !partition.stuck);
    let backlog: f64 = moving().map(|partition| partition.lag / catch_up).sum();
    let input: f64 = moving()
        .map(|partition| partition.arrived * (RESTART / catch_up + 1.0 / target))
        .sum();
    let total = backlog + input;
    if total <= 0.0 {
        return Need {
            workers: 0.0,
            unsplit: 0.0,
            backlog: false,
            hot: false,
        };
    }
    let Some(rate) = rate.filter(|rate| *rate > 0.0) else {
        return Need {
            workers: f64::NAN,
            unsplit: f64::NAN,
            backlog: false,
            hot: false,
        };
    };
    let capped: f64 = moving()
        .map(|partition| {
            let asked =
                partition.lag / catch_up + partition.arrived * (RESTART / catch_up + 1.0 / target);
            asked.min(rate)
        })
        .sum();
    Need {
        workers: capped / (rate * load.threads),
        unsplit: total / (rate * load.threads),
        backlog: backlog > input,
        hot: moving().any(|partition| partition.arrived + partition.lag / catch_up > rate),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn worker(records: f64, busy: f64, partitions: &[(i32, f64, f64)]) -> Worker {
        Worker {
            records,
            busy,
            consumers: 1.0,
            partitions: partitions
                .iter()
                .map(|(number, next, lag)| (("t".to_owned(), *number), (*next, *lag)))
                .collect(),
        }
    }

    fn sample(at: f64, workers: &[(&str, Worker)]) -> Sample {
        Sample {
            at,
            workers: workers
                .iter()
                .map(|(name, worker)| ((*name).to_owned(), worker.clone()))
                .collect(),
        }
    }

    fn load(partitions: &[(f64, f64)]) -> Load {
        let partition = |(lag, arrived): &(f64, f64)| Partition {
            lag: *lag,
            arrived: *arrived,
            read: *arrived,
            stuck: false,
        };
        Load {
            partitions: partitions.iter().map(partition).collect(),
            rate: Some(1_000.0),
            threads: 1.0,
            utilization: 0.5,
        }
    }

    #[test]
    fn two_samples_give_the_load() {
        let before = sample(
            0.0,
            &[("a", worker(100.0, 1.0, &[(0, 100.0, 0.0), (1, 5.0, 500.0)]))],
        );
        let after = sample(
            10.0,
            &[(
                "a",
                worker(1_100.0, 6.0, &[(0, 1_100.0, 1_000.0), (1, 5.0, 500.0)]),
            )],
        );
        let load = measure(&before, &after, 2).unwrap();
        assert_eq!(load.rate, Some(200.0));
        assert_eq!(load.utilization, 0.5);
        assert_eq!(
            (load.partitions[0].arrived, load.partitions[0].read),
            (200.0, 100.0)
        );
        assert!(load.partitions[1].stuck && !load.partitions[0].stuck);
        assert_eq!(measure(&before, &after, 3), None, "a partition is nobody's");
        let other = sample(
            10.0,
            &[("b", worker(1.0, 1.0, &[(0, 1.0, 0.0), (1, 5.0, 0.0)]))],
        );
        assert_eq!(measure(&before, &other, 2), None, "another worker");
        let restarted = sample(
            10.0,
            &[("a", worker(1.0, 0.1, &[(0, 100.0, 0.0), (1, 5.0, 500.0)]))],
        );
        assert_eq!(measure(&before, &restarted, 2), None);
    }

    #[test]
    fn worker_that_does_not_get_rid_of_its_backlog_is_busy_whatever_it_says() {
        let after = |lag: f64| {
            let before = sample(0.0, &[("a", worker(0.0, 0.0, &[(0, 0.0, 5_000.0)]))]);
            let after = sample(10.0, &[("a", worker(10_000.0, 0.1, &[(0, 10_000.0, lag)]))]);
            measure(&before, &after, 1).unwrap()
        };
        let behind = after(5_000.0);
        assert_eq!((behind.utilization, behind.rate), (1.0, Some(1_000.0)));
        assert_eq!(after(4_999.0).utilization, 0.01, "it catches up");
        let before = sample(0.0, &[("a", worker(0.0, 0.0, &[(0, 0.0, 4_999.0)]))]);
        let end = sample(
            10.0,
            &[("a", worker(10_000.0, 0.1, &[(0, 10_000.0, 9_000.0)]))],
        );
        let short = measure(&before, &end, 1).unwrap();
        assert_eq!(short.utilization, 0.01, "on their way");
    }

    #[test]
    fn input_and_backlog_add_up() {
        let input = need(
            &load(&[(0.0, 650.0), (0.0, 650.0)]),
            Some(1_000.0),
            0.7,
            600.0,
        );
        assert!(
            (input.workers - 1.863_643).abs() < 1e-5 && !input.backlog,
            "{input:?}"
        );
        let backlog = need(&load(&[(60_000.0, 0.0); 4]), Some(1_000.0), 0.7, 600.0);
        assert!(
            (backlog.workers - 0.4).abs() < 1e-9 && backlog.backlog,
            "{backlog:?}"
        );
    }

    #[test]
    fn one_hot_partition_asks_for_one_thread() {
        let hot = need(
            &load(&[(0.0, 5_000.0), (0.0, 10.0)]),
            Some(1_000.0),
            0.7,
            600.0,
        );
        assert!(hot.workers < 1.1 && hot.unsplit > 7.0 && hot.hot, "{hot:?}");
    }

    #[test]
    fn without_a_rate_something_to_read_is_unknown_and_nothing_is_nothing() {
        assert!(
            need(&load(&[(1.0, 0.0)]), None, 0.7, 600.0)
                .workers
                .is_nan()
        );
        assert_eq!(need(&load(&[(0.0, 0.0)]), None, 0.7, 600.0).workers, 0.0);
    }

    proptest! {
        #[test]
        fn more_input_never_takes_fewer(
            arrived in proptest::collection::vec(0.0..5_000f64, 1..12),
            factor in 1.0..10f64,
            lag in 0.0..1e6f64,
        ) {
            let of = |factor: f64| {
                let all: Vec<_> = arrived.iter().map(|arrived| (lag, arrived * factor)).collect();
                need(&load(&all), Some(1_000.0), 0.7, 600.0)
            };
            prop_assert!(of(1.0).workers <= of(factor).workers + 1e-9);
            prop_assert!(of(1.0).workers <= of(1.0).unsplit + 1e-9);
            prop_assert!(of(factor).workers <= arrived.len() as f64 + 1e-9);
        }
    }
}
