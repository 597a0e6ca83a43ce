//! Index, evaluator and crate `cel` agree on generated loads, pair by pair of event and filter.
//!
//! `AGREEMENT_PAIRS` asks for another number of pairs per mix, `AGREEMENT_SEED` for other loads.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use clickstream_engine::{Filter, FilterSet, Outcome, Record, Scratch, reference};
use clickstream_mixes::{Mix, Random};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// A set with these filters under their positions.
fn set_of(filters: &[Filter]) -> FilterSet {
    let mut set = FilterSet::new();
    for (key, filter) in (0..).zip(filters) {
        set.insert(key, filter.clone());
    }
    set
}

#[derive(Debug, PartialEq, Eq)]
struct Results {
    index: Vec<u32>,
    evaluator: Vec<u32>,
    reference: Vec<u32>,
}

/// The event as a record that has more than an event.
fn record(event: &[u8]) -> Record<'_> {
    Record {
        offset: 2,
        ..Record::of_value(event)
    }
}

fn results(set: &FilterSet, filters: &[Filter], event: &[u8], scratch: &mut Scratch) -> Results {
    let record = record(event);
    let (mut index, mut evaluator, mut all) = (Vec::new(), Vec::new(), Vec::new());
    set.matching(&record, scratch, &mut index).unwrap();
    set.matching_one_by_one(&record, &mut evaluator).unwrap();
    let mut key = 0;
    reference::each_outcome(filters, &record, |outcome| {
        if outcome == Outcome::Match {
            all.push(key);
        }
        key += 1;
    })
    .unwrap();
    Results {
        index,
        evaluator,
        reference: all,
    }
}

impl Results {
    fn agree(&self) -> bool {
        self.index == self.evaluator && self.evaluator == self.reference
    }
}

/// The smallest case of a disagreement: one filter if one is enough, and as few fields as can be.
fn smallest(filters: &[Filter], event: &[u8]) -> String {
    let disagree = |filters: &[Filter], event: &[u8]| {
        !results(&set_of(filters), filters, event, &mut Scratch::default()).agree()
    };
    let one = filters
        .iter()
        .find(|filter| disagree(std::slice::from_ref(filter), event));
    let mut few: Vec<Filter> = match one {
        Some(filter) => vec![filter.clone()],
        None => filters.to_vec(),
    };
    // Halves, as long as one of them is enough.
    while few.len() > 1 {
        let (first, second) = few.split_at(few.len() / 2);
        few = match (disagree(first, event), disagree(second, event)) {
            (true, _) => first.to_vec(),
            (_, true) => second.to_vec(),
            _ => break,
        };
    }
    // Texts and not values, as values would lose repeated names and spellings.
    let mut event = event.to_vec();
    if let Ok(map) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&event) {
        let mut map = map;
        for name in map.keys().cloned().collect::<Vec<_>>() {
            let mut fewer = map.clone();
            fewer.remove(&name);
            let text = serde_json::to_vec(&fewer).unwrap();
            if disagree(&few, &text) {
                (map, event) = (fewer, text);
            }
        }
    }
    let results = results(&set_of(&few), &few, &event, &mut Scratch::default());
    let few: Vec<String> = few.iter().take(20).map(ToString::to_string).collect();
    format!(
        "{}\n{}\n{results:?}",
        few.join("\n"),
        String::from_utf8_lossy(&event)
    )
}

/// Holds `pairs` of a mix against each other, in rounds of other filters.
fn check(mix: Mix, pairs: usize, filters_per_round: usize) {
    let seed = setting("AGREEMENT_SEED", 1);
    let pairs = setting("AGREEMENT_PAIRS", pairs as u64) as usize;
    let rounds = 4;
    let events_per_round = pairs.div_ceil(rounds * filters_per_round * 9 / 10);
    let (mut checked, mut matches) = (0, 0);
    let started = std::time::Instant::now();
    for round in 0..rounds as u64 {
        let texts = mix.filters(seed * 1_000 + round, filters_per_round);
        let filters: Vec<Filter> = texts
            .iter()
            .filter_map(|text| match Filter::parse(text) {
                Ok(filter) => Some(filter),
                // Some of those that are made of anything can never hold.
                Err(error) if matches!(mix, Mix::L | Mix::N) && error.category() == "type" => None,
                Err(error) => panic!("{error}\n{}", error.caret()),
            })
            .collect();
        assert!(
            filters.len() * 10 > texts.len() * 9,
            "{} are left",
            filters.len()
        );
        let set = set_of(&filters);
        let mut scratch = Scratch::default();
        for event in mix.events_of_shapes(seed * 1_000 + round, events_per_round, 50) {
            let results = results(&set, &filters, &event, &mut scratch);
            assert!(results.agree(), "{mix:?}:\n{}", smallest(&filters, &event));
            checked += filters.len();
            matches += results.index.len();
        }
    }
    assert!(checked >= pairs, "{checked} of {pairs}");
    // The rarest matches, those of S and E, are one in 4,000 pairs.
    assert!(matches > checked / 20_000, "only {matches} matches");
    eprintln!(
        "{mix:?}: {checked} pairs, {matches} matches, {:?}",
        started.elapsed()
    );
}

#[test]
fn realistic_filters_agree() {
    check(Mix::S, 10_000_000, 2_500);
}

#[test]
fn realistic_filters_without_ranges_agree() {
    check(Mix::E, 10_000_000, 2_500);
}

#[test]
fn filters_without_rare_clauses_agree() {
    check(Mix::B, 10_000_000, 2_500);
}

/// Enough of them for postings that fork several times.
#[test]
fn many_filters_without_rare_clauses_agree() {
    check(Mix::B, 1_200_000, 10_000);
}

/// What no values find, and enough of it for a directory of pages of several words.
#[test]
fn many_filters_of_ranges_agree() {
    let mut random = Random::new(setting("AGREEMENT_SEED", 1));
    let fields = [
        ("latencyMs", 3_000),
        ("cart.total", 5_000),
        ("product.price", 2_000),
        ("session.depth", 200),
    ];
    let filters: Vec<Filter> = (0..10_000)
        .map(|_| {
            let mut clauses = Vec::new();
            for (field, most) in fields {
                let bound = random.below(most);
                clauses.extend(match random.below(4) {
                    0 => Some(format!("event.{field} > {bound}")),
                    1 => Some(format!("event.{field} <= {bound}")),
                    2 => Some(format!(
                        "event.{field} >= {bound} && event.{field} < {}",
                        bound + most / 8
                    )),
                    _ => None,
                });
            }
            clauses.push(match random.below(4) {
                0 => "event.device.type == \"phone\"".to_owned(),
                1 => "has(event.extra7)".to_owned(),
                2 => "!has(event.extra8)".to_owned(),
                _ => "event.latencyMs != 7".to_owned(),
            });
            Filter::parse(&clauses.join(" && ")).unwrap()
        })
        .collect();
    let set = set_of(&filters);
    let mut scratch = Scratch::default();
    let mut matches = 0;
    for event in Mix::S.events_of_shapes(setting("AGREEMENT_SEED", 1), 100, 7_000) {
        let results = results(&set, &filters, &event, &mut scratch);
        assert!(results.agree(), "{}", smallest(&filters, &event));
        matches += results.index.len();
    }
    assert!(matches > 10_000, "{matches}");
}

#[test]
fn searches_in_texts_agree() {
    check(Mix::T, 10_000_000, 1_000);
}

#[test]
fn logic_and_errors_agree() {
    check(Mix::L, 10_000_000, 500);
}

#[test]
fn numbers_and_spellings_agree() {
    check(Mix::N, 10_000_000, 500);
}

/// More patterns of one field than one automaton takes, some of them large, none with a text that it needs.
#[test]
fn many_patterns_of_a_field_agree() {
    let filters: Vec<Filter> = (0..300)
        .map(|count| {
            let want = if count % 7 == 0 { "!" } else { "" };
            let text = format!("{want}event.s.matches(\"^[a-c]*[0-9]{{{count}}}$\")");
            Filter::parse(&text).unwrap()
        })
        .collect();
    let set = set_of(&filters);
    let mut scratch = Scratch::default();
    let mut matches = 0;
    for length in 0..320 {
        let event = format!(r#"{{"s":"{}{}"}}"#, "ab", "1".repeat(length));
        let results = results(&set, &filters, event.as_bytes(), &mut scratch);
        assert!(results.agree(), "{}", smallest(&filters, event.as_bytes()));
        matches += results.index.len();
    }
    assert!(matches > 300, "{matches}");
}
