//! The catalogue: which event types and fields a sample of the events showed.

use std::collections::BTreeMap;

/// Most event types kept; the one seen longest ago goes first.
pub const MAX_EVENT_TYPES: usize = 500;
/// Most fields kept; new ones are left out beyond it.
pub const MAX_CATALOGUE_FIELDS: usize = 2_000;
/// Most examples kept for a field; the newest are.
pub const MAX_EXAMPLES: usize = 20;
/// Longest event type and field path; longer ones are left out.
pub const MAX_PATH_BYTES: usize = 256;
/// Longest example; longer ones are left out.
pub const MAX_EXAMPLE_BYTES: usize = 256;
/// The end of the year 9999, beyond which the database's times have no use; later ones count as this.
const LAST_MS: i64 = 253_402_300_799_999;

/// What has been seen; given by a worker for its sample, read for the whole pipeline.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalogue {
    /// By name.
    pub event_types: Vec<EventType>,
    /// By path.
    pub fields: Vec<Field>,
}

/// A value of the event type field.
#[derive(Debug, Clone, PartialEq)]
pub struct EventType {
    /// The value.
    pub name: String,
    /// Events per second: of one worker when reported, the sum over the workers that are there when read.
    pub per_second: f64,
    /// When an event of it was last seen: milliseconds since 1970.
    pub last_seen_ms: i64,
}

/// A path in the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Dotted, without `event.` before it.
    pub path: String,
    /// The kinds of value seen there (`string`, `int`, ..), sorted.
    pub kinds: Vec<String>,
    /// Values seen there, newest first, as the worker wrote them.
    pub examples: Vec<String>,
}

/// What is stored of a catalogue: rates belong to the worker that reported them and are kept with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// Name to milliseconds since 1970.
    pub(crate) event_types: BTreeMap<String, i64>,
    pub(crate) fields: BTreeMap<String, Field>,
}

impl Seen {
    /// Adds a worker's report, within the bounds.
    pub(crate) fn merge(&mut self, report: &Catalogue) {
        for found in report
            .event_types
            .iter()
            .filter(|found| fits(&found.name, MAX_PATH_BYTES))
        {
            let at = found.last_seen_ms.clamp(0, LAST_MS);
            let seen = self.event_types.entry(found.name.clone()).or_insert(at);
            *seen = (*seen).max(at);
        }
        if self.event_types.len() > MAX_EVENT_TYPES {
            let mut by_age: Vec<_> = self
                .event_types
                .iter()
                .map(|(name, seen)| (*seen, name.clone()))
                .collect();
            by_age.sort_unstable();
            for (_, name) in &by_age[..by_age.len() - MAX_EVENT_TYPES] {
                self.event_types.remove(name);
            }
        }
        for found in report
            .fields
            .iter()
            .filter(|found| fits(&found.path, MAX_PATH_BYTES))
        {
            if self.fields.len() >= MAX_CATALOGUE_FIELDS && !self.fields.contains_key(&found.path) {
                continue;
            }
            let field = self
                .fields
                .entry(found.path.clone())
                .or_insert_with(|| Field {
                    path: found.path.clone(),
                    kinds: Vec::new(),
                    examples: Vec::new(),
                });
            let kinds = found
                .kinds
                .iter()
                .filter(|kind| fits(kind, MAX_PATH_BYTES))
                .take(MAX_EXAMPLES);
            field.kinds.extend(kinds.cloned());
            field.kinds.sort_unstable();
            field.kinds.dedup();
            field.kinds.truncate(MAX_EXAMPLES);
            let old = std::mem::take(&mut field.examples);
            for example in found.examples.iter().chain(&old) {
                if field.examples.len() == MAX_EXAMPLES {
                    break;
                }
                if example.len() <= MAX_EXAMPLE_BYTES
                    && !example.contains('\0')
                    && !field.examples.contains(example)
                {
                    field.examples.push(example.clone());
                }
            }
        }
    }

    /// What a reader gets; `rates` are those of the workers that are there, a name may come several times.
    pub(crate) fn with_rates(self, rates: impl IntoIterator<Item = (String, f64)>) -> Catalogue {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for (name, rate) in rates {
            *sums.entry(name).or_default() += rate;
        }
        let event_types = self.event_types.into_iter().map(|(name, last_seen_ms)| {
            let per_second = sums.get(&name).copied().unwrap_or_default();
            EventType {
                name,
                per_second,
                last_seen_ms,
            }
        });
        Catalogue {
            event_types: event_types.collect(),
            fields: self.fields.into_values().collect(),
        }
    }
}

/// The part of a report that is kept with the worker: rates within the bounds.
pub(crate) fn rates(report: &Catalogue) -> Vec<(String, f64)> {
    let usable =
        |found: &&EventType| fits(&found.name, MAX_PATH_BYTES) && found.per_second.is_finite();
    report
        .event_types
        .iter()
        .filter(usable)
        .take(MAX_EVENT_TYPES)
        .map(|found| (found.name.clone(), found.per_second))
        .collect()
}

fn fits(text: &str, max_bytes: usize) -> bool {
    !text.is_empty() && text.len() <= max_bytes && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::{
        Catalogue, EventType, Field, MAX_CATALOGUE_FIELDS, MAX_EVENT_TYPES, MAX_EXAMPLES, Seen,
    };

    fn event_type(name: String, last_seen_ms: i64) -> EventType {
        EventType {
            name,
            per_second: 1.0,
            last_seen_ms,
        }
    }

    fn field(path: String, examples: &[&str]) -> Field {
        Field {
            path,
            kinds: vec!["string".into()],
            examples: examples.iter().map(|&e| e.to_owned()).collect(),
        }
    }

    #[test]
    fn every_bound_holds_and_the_newest_stay() {
        let mut seen = Seen::default();
        let types =
            |range: std::ops::Range<i64>| range.map(|n| event_type(format!("t{n}"), n)).collect();
        let fields = (0..3_000).map(|n| field(format!("f{n:04}"), &[])).collect();
        seen.merge(&Catalogue {
            event_types: types(0..500),
            fields,
        });
        seen.merge(&Catalogue {
            event_types: types(400..900),
            fields: vec![],
        });
        assert_eq!(seen.event_types.len(), MAX_EVENT_TYPES);
        assert_eq!(seen.event_types.values().min(), Some(&400));
        assert_eq!(seen.fields.len(), MAX_CATALOGUE_FIELDS);
        assert!(seen.fields.contains_key("f0000") && !seen.fields.contains_key("f2999"));
    }

    #[test]
    fn newest_examples_stay_and_come_once() {
        let mut seen = Seen::default();
        let names: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        seen.merge(&Catalogue {
            event_types: vec![],
            fields: vec![field("a".into(), &names[..20])],
        });
        seen.merge(&Catalogue {
            event_types: vec![],
            fields: vec![field("a".into(), &["25", "3", "25"])],
        });
        let examples = &seen.fields["a"].examples;
        assert_eq!(examples.len(), MAX_EXAMPLES);
        assert_eq!(examples[..4], ["25", "3", "0", "1"]);
    }

    #[test]
    fn what_the_database_cannot_hold_is_left_out() {
        let mut seen = Seen::default();
        seen.merge(&Catalogue {
            event_types: vec![event_type("a\0".into(), 1), event_type("x".repeat(300), 1)],
            fields: vec![field("b\0".into(), &[]), field("c".into(), &["d\0"])],
        });
        assert!(seen.event_types.is_empty());
        assert_eq!(seen.fields["c"].examples, Vec::<String>::new());
        assert_eq!(seen.fields.len(), 1);
    }

    #[test]
    fn rates_of_workers_add_up() {
        let mut seen = Seen::default();
        seen.merge(&Catalogue {
            event_types: vec![event_type("a".into(), 7)],
            fields: vec![],
        });
        let read = seen.with_rates([
            ("a".to_owned(), 1.5),
            ("a".to_owned(), 2.0),
            ("gone".to_owned(), 9.0),
        ]);
        assert_eq!(
            read.event_types,
            [EventType {
                name: "a".into(),
                per_second: 3.5,
                last_seen_ms: 7
            }]
        );
    }
}
