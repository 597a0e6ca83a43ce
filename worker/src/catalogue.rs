//! Which event types and fields there are, from a sample.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use clickstream_engine::FieldPath;
use clickstream_registry::{
    Catalogue, EventType, Field, MAX_CATALOGUE_FIELDS, MAX_EVENT_TYPES, MAX_EXAMPLE_BYTES,
    MAX_EXAMPLES, MAX_PATH_BYTES,
};
use parking_lot::Mutex;
use serde_json::Value;

/// At most 20 events a second are looked at, over all threads.
const INTERVAL_NANOS: u64 = 1_000_000_000 / 20;

/// Fields deeper than this are not looked for.
const MAX_DEPTH: usize = 8;

/// How much of the former windows' counts remains in a window: rates of rare types do not flicker.
const REMAINS: f64 = 0.7;

/// Takes the sample. Threads share it.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// When the next event is wanted, in nanoseconds of the worker's steady clock.
    next: AtomicU64,
    sample: Mutex<Sample>,
}

impl Sampler {
    pub(crate) fn new(event_type: FieldPath) -> Self {
        Self {
            next: AtomicU64::new(0),
            sample: Mutex::new(Sample::new(event_type)),
        }
    }

    /// Whether an event should be [`added`](Sampler::add) now; true for one caller each 50 ms.
    pub(crate) fn wants(&self, now: u64) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        now >= next
            && self
                .next
                .compare_exchange(
                    next,
                    now + INTERVAL_NANOS,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }

    /// Looks at an event, after masking. What is no JSON object is passed over.
    pub(crate) fn add(&self, event: &[u8], now_ms: i64) {
        if let Ok(event @ Value::Object(_)) = serde_json::from_slice(event) {
            self.sample.lock().add(&event, now_ms);
        }
    }

    /// What has been seen, if anything is new; `records` were read by the worker in the `seconds` since the last call.
    pub(crate) fn report(&self, records: u64, seconds: f64) -> Option<Catalogue> {
        self.sample.lock().report(records, seconds)
    }
}

/// What the sample showed.
#[derive(Debug)]
struct Sample {
    event_type: FieldPath,
    types: HashMap<String, Seen>,
    fields: BTreeMap<String, FieldSeen>,
    /// Events in this window, and what remains of former ones.
    events: f64,
    records: f64,
    seconds: f64,
    changed: bool,
}

#[derive(Debug, Default)]
struct Seen {
    events: f64,
    last_ms: i64,
}

#[derive(Debug, Default)]
struct FieldSeen {
    kinds: BTreeSet<&'static str>,
    /// Newest first.
    examples: VecDeque<String>,
}

impl Sample {
    fn new(event_type: FieldPath) -> Self {
        Self {
            event_type,
            types: HashMap::new(),
            fields: BTreeMap::new(),
            events: 0.0,
            records: 0.0,
            seconds: 0.0,
            changed: false,
        }
    }

    fn add(&mut self, event: &Value, now_ms: i64) {
        self.changed = true;
        self.events += 1.0;
        if let Some(Value::String(name)) = self.event_type.get(event)
            && !name.is_empty()
            && name.len() <= MAX_PATH_BYTES
        {
            if !self.types.contains_key(name) {
                self.make_room_for_type();
            }
            let seen = self.types.entry(name.clone()).or_default();
            seen.events += 1.0;
            seen.last_ms = now_ms;
        }
        self.fields("", event, 0);
    }

    /// The type seen longest ago goes.
    fn make_room_for_type(&mut self) {
        if self.types.len() < MAX_EVENT_TYPES {
            return;
        }
        if let Some(oldest) = self
            .types
            .iter()
            .min_by_key(|(_, seen)| seen.last_ms)
            .map(|(name, _)| name.clone())
        {
            self.types.remove(&oldest);
        }
    }

    fn fields(&mut self, prefix: &str, value: &Value, depth: usize) {
        let Value::Object(members) = value else {
            return;
        };
        for (name, value) in members {
            let path = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            // Names that cannot be written with a dot are left out; so are those of maps keyed by data, mostly.
            if !is_identifier(name) || path.len() > MAX_PATH_BYTES {
                continue;
            }
            if self.fields.len() < MAX_CATALOGUE_FIELDS || self.fields.contains_key(&path) {
                self.fields.entry(path.clone()).or_default().add(value);
            }
            if depth + 1 < MAX_DEPTH {
                self.fields(&path, value, depth + 1);
            }
        }
    }

    fn report(&mut self, records: u64, seconds: f64) -> Option<Catalogue> {
        self.records += records as f64;
        self.seconds += seconds;
        // After the last event rates still have to fall, the last time to nothing.
        let flowing = self.records >= 1.0 && self.seconds > 0.0 && self.events > 0.0;
        if !flowing {
            // Quiet time does not lower the rates of what comes after it.
            self.remain(0.0);
        }
        if !std::mem::replace(&mut self.changed, flowing) {
            return None;
        }
        let per_event = if flowing {
            self.records / self.seconds / self.events
        } else {
            0.0
        };
        let event_types = self.types.iter().map(|(name, seen)| EventType {
            name: name.clone(),
            per_second: seen.events * per_event,
            last_seen_ms: seen.last_ms,
        });
        let fields = self.fields.iter().map(|(path, seen)| Field {
            path: path.clone(),
            kinds: seen.kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            examples: seen.examples.iter().cloned().collect(),
        });
        let mut catalogue = Catalogue {
            event_types: event_types.collect(),
            fields: fields.collect(),
        };
        catalogue.event_types.sort_by(|a, b| a.name.cmp(&b.name));
        self.remain(REMAINS);
        Some(catalogue)
    }

    /// Keeps this share of the counts.
    fn remain(&mut self, share: f64) {
        for count in [&mut self.events, &mut self.records, &mut self.seconds] {
            *count *= share;
        }
        for seen in self.types.values_mut() {
            seen.events *= share;
        }
    }
}

impl FieldSeen {
    fn add(&mut self, value: &Value) {
        self.kinds.insert(kind(value));
        // As they are written in a filter.
        let example = match value {
            Value::Object(_) | Value::Array(_) | Value::Null => return,
            value => value.to_string(),
        };
        if example.len() > MAX_EXAMPLE_BYTES || self.examples.contains(&example) {
            return;
        }
        self.examples.push_front(example);
        self.examples.truncate(MAX_EXAMPLES);
    }
}

/// CEL's word for a JSON value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int",
        Value::Number(number) if number.is_u64() => "uint",
        Value::Number(_) => "double",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Sample {
        Sample::new(FieldPath::parse("type").unwrap())
    }

    fn field<'a>(catalogue: &'a Catalogue, path: &str) -> &'a Field {
        catalogue
            .fields
            .iter()
            .find(|field| field.path == path)
            .unwrap()
    }

    #[test]
    fn quiet_time_lowers_no_later_rate() {
        let mut sample = sample();
        assert!(sample.report(0, 3_600.0).is_none());
        for round in 0..2 {
            for n in 0..20 {
                sample.add(&json!({"type": "view"}), n);
            }
            let catalogue = sample.report(1_000, 10.0).unwrap();
            assert_eq!(catalogue.event_types[0].per_second, 100.0, "round {round}");
            while sample.report(0, 10.0).is_some() {}
            assert!(sample.report(0, 3_600.0).is_none());
        }
    }

    #[test]
    fn types_come_with_their_share_of_all_records() {
        let mut sample = sample();
        for n in 0..10 {
            sample.add(&json!({"type": if n < 7 { "view" } else { "buy" }}), n);
        }
        let catalogue = sample.report(10_000, 10.0).unwrap();
        let types: Vec<_> = catalogue
            .event_types
            .iter()
            .map(|t| (t.name.as_str(), t.per_second.round(), t.last_seen_ms))
            .collect();
        assert_eq!(types, [("buy", 300.0, 9), ("view", 700.0, 6)]);
    }

    #[test]
    fn rates_fall_when_events_end_and_then_nothing_is_reported() {
        let mut sample = sample();
        sample.add(&json!({"type": "view"}), 1);
        assert!(sample.report(100, 10.0).unwrap().event_types[0].per_second > 9.0);
        let mut rates = Vec::new();
        while let Some(catalogue) = sample.report(0, 10.0) {
            rates.push(catalogue.event_types[0].per_second);
        }
        assert!(
            rates.is_sorted_by(|a, b| a > b) && rates.last() == Some(&0.0),
            "{rates:?}"
        );
    }

    #[test]
    fn fields_have_paths_kinds_and_examples_as_in_filters() {
        let mut sample = sample();
        sample.add(&json!({"page": {"path": "/a"}, "n": 1, "tags": ["x"], "ok": true, "none": null, "a-b": 1}), 1);
        sample.add(&json!({"page": {"path": "/b"}, "n": 1.5}), 2);
        let catalogue = sample.report(2, 1.0).unwrap();
        assert_eq!(field(&catalogue, "page").kinds, ["map"]);
        assert_eq!(
            field(&catalogue, "page.path").examples,
            ["\"/b\"", "\"/a\""]
        );
        assert_eq!(field(&catalogue, "n").kinds, ["double", "int"]);
        assert_eq!(field(&catalogue, "n").examples, ["1.5", "1"]);
        assert_eq!(
            (
                field(&catalogue, "tags").kinds.as_slice(),
                field(&catalogue, "none").kinds.as_slice()
            ),
            (&["list".to_owned()][..], &["null".to_owned()][..])
        );
        assert!(catalogue.fields.iter().all(|field| field.path != "a-b"));
    }

    #[test]
    fn every_bound_holds() {
        let mut sample = sample();
        for n in 0..3_000 {
            sample.add(&json!({"type": format!("t{n}"), format!("f{n}"): "x", "same": format!("{n}"), "long": "x".repeat(300)}), n);
        }
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!({"d": deep});
        }
        sample.add(&deep, 3_000);
        let catalogue = sample.report(3_001, 1.0).unwrap();
        assert_eq!(catalogue.event_types.len(), MAX_EVENT_TYPES);
        assert!(
            catalogue
                .event_types
                .iter()
                .any(|seen| seen.name == "t2999")
        );
        assert_eq!(catalogue.fields.len(), MAX_CATALOGUE_FIELDS);
        assert_eq!(field(&catalogue, "same").examples.len(), MAX_EXAMPLES);
        assert_eq!(field(&catalogue, "same").examples[0], "\"2999\"");
        assert!(field(&catalogue, "long").examples.is_empty());
    }

    #[test]
    fn at_most_twenty_events_a_second_are_wanted() {
        let sampler = Sampler::new(FieldPath::parse("type").unwrap());
        let wanted = (0..1_000_000_000u64)
            .step_by(1_000_000)
            .filter(|now| sampler.wants(*now))
            .count();
        assert_eq!(wanted, 20);
    }
}
