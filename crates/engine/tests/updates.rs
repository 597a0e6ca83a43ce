//! A set that changes while it is matched is what a plain model says it is, and clones stay as they were.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;

use clickstream_engine::{Filter, FilterSet, Record, Scratch};
use clickstream_mixes::{Mix, Random};

/// Filters of all kinds, events, and which of them match.
struct Pool {
    filters: Vec<Filter>,
    events: Vec<Vec<u8>>,
    /// By event, then by filter.
    matches: Vec<Vec<bool>>,
}

impl Pool {
    fn new() -> Self {
        let mixes = [Mix::S, Mix::B, Mix::T, Mix::L, Mix::N];
        let filters: Vec<Filter> = mixes
            .iter()
            .flat_map(|mix| mix.filters(11, 120))
            .filter_map(|text| Filter::parse(&text).ok())
            .collect();
        let events: Vec<Vec<u8>> = mixes.iter().flat_map(|mix| mix.events(12, 12)).collect();
        let matches = events
            .iter()
            .map(|event| filters.iter().map(|filter| holds(filter, event)).collect())
            .collect();
        Self {
            filters,
            events,
            matches,
        }
    }
}

fn holds(filter: &Filter, event: &[u8]) -> bool {
    let mut set = FilterSet::new();
    set.insert(0, filter.clone());
    let mut keys = Vec::new();
    set.matching_one_by_one(&Record::of_value(event), &mut keys)
        .unwrap();
    !keys.is_empty()
}

/// Key to the filter's place in the pool.
type Model = BTreeMap<u32, usize>;

fn check(pool: &Pool, set: &FilterSet, model: &Model, event: usize, scratch: &mut Scratch) {
    let mut keys = Vec::new();
    set.matching(&Record::of_value(&pool.events[event]), scratch, &mut keys)
        .unwrap();
    let expected: Vec<u32> = model
        .iter()
        .filter(|(_, filter)| pool.matches[event][**filter])
        .map(|(key, _)| *key)
        .collect();
    assert_eq!(
        keys,
        expected,
        "{}",
        String::from_utf8_lossy(&pool.events[event])
    );
    assert_eq!(set.len(), model.len());
}

/// Changes a set at random; `grow` of 100 changes insert.
fn churn(pool: &Pool, seed: u64, changes: usize, keys: u64, grow: u64) {
    let mut random = Random::new(seed);
    let (mut set, mut model) = (FilterSet::new(), Model::new());
    let mut clones: Vec<(FilterSet, Model)> = Vec::new();
    let mut scratch = Scratch::default();
    for _ in 0..changes {
        let key = random.below(keys) as u32;
        if random.chance(grow) {
            let filter = random.below(pool.filters.len() as u64) as usize;
            set.insert(key, pool.filters[filter].clone());
            model.insert(key, filter);
        } else {
            assert_eq!(set.remove(key), model.remove(&key).is_some());
        }
        let event = random.below(pool.events.len() as u64) as usize;
        // Often enough to see every change of segments, seldom enough that bursts are many changes.
        match random.below(200) {
            0 => check(pool, &set, &model, event, &mut scratch),
            1 if clones.len() < 4 => clones.push((set.clone(), model.clone())),
            2 if !clones.is_empty() => {
                let at = random.below(clones.len() as u64) as usize;
                let (set, model) = clones.swap_remove(at);
                check(pool, &set, &model, event, &mut scratch);
            }
            _ => {}
        }
    }
    for event in 0..pool.events.len() {
        check(pool, &set, &model, event, &mut scratch);
    }
    for (set, model) in &clones {
        check(pool, set, model, 0, &mut scratch);
    }
}

#[test]
fn a_set_that_changes_is_what_a_plain_model_says() {
    let pool = Pool::new();
    // Small; growing past several merges; shrinking.
    churn(&pool, 21, 3_000, 40, 60);
    churn(&pool, 22, 20_000, 30_000, 95);
    churn(&pool, 23, 12_000, 4_000, 50);
}

#[test]
fn a_set_that_is_filled_at_once_takes_single_changes() {
    let pool = Pool::new();
    let (mut set, mut model) = (FilterSet::new(), Model::new());
    let mut scratch = Scratch::default();
    for key in 0..10_000 {
        let filter = key as usize % pool.filters.len();
        set.insert(key, pool.filters[filter].clone());
        model.insert(key, filter);
    }
    let full = (set.clone(), model.clone());
    for key in (0..10_000).step_by(3) {
        assert!(set.remove(key));
        model.remove(&key);
        if key % 500 == 0 {
            check(
                &pool,
                &set,
                &model,
                key as usize % pool.events.len(),
                &mut scratch,
            );
        }
    }
    for event in 0..pool.events.len() {
        check(&pool, &set, &model, event, &mut scratch);
        check(&pool, &full.0, &full.1, event, &mut scratch);
    }
    // Merged or not, nothing comes back and nothing is lost.
    for key in 0..10_000 {
        assert_eq!(set.remove(key), model.remove(&key).is_some());
    }
    assert!(set.is_empty());
}
