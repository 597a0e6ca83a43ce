//! The engine and its peers, each with the same filters.

use std::str::FromStr;

use a_tree::{ATree, AttributeDefinition, Event};
use anyhow::{Result, anyhow};
use cel::{Context, Program, Value};
use clickstream_engine::{Filter, FilterSet, Record, Scratch, Validation};
use quamina::Quamina;

use crate::translate::{self, FLOATS, INTEGERS, TEXTS, attribute};

/// Numbers of filters, ascending.
pub(crate) type Matches = Vec<u32>;

pub(crate) fn engine(filters: &[String]) -> Result<FilterSet> {
    let mut set = FilterSet::new();
    for (key, filter) in (0..).zip(filters) {
        set.insert(key, Filter::parse(filter)?);
    }
    // Indexes what is new, as a worker does before it publishes a set.
    Ok(set.clone())
}

pub(crate) struct Engine<'s> {
    set: &'s FilterSet,
    scratch: Scratch,
    matches: Matches,
}

impl<'s> Engine<'s> {
    pub(crate) fn new(set: &'s FilterSet, validation: Validation) -> Self {
        Self {
            set,
            scratch: Scratch::new(validation),
            matches: Vec::new(),
        }
    }

    /// From the bytes on.
    pub(crate) fn matches(&mut self, event: &[u8]) -> Result<&Matches> {
        self.matches.clear();
        let record = Record::of_value(event);
        self.set
            .matching(&record, &mut self.scratch, &mut self.matches)?;
        Ok(&self.matches)
    }
}

/// Program after program.
pub(crate) struct Cel(Vec<Program>);

impl Cel {
    pub(crate) fn new(filters: &[String]) -> Result<Self> {
        let programs = filters.iter().map(|filter| Ok(Program::compile(filter)?));
        Ok(Self(programs.collect::<Result<_>>()?))
    }

    /// From the bytes on: the event is parsed once.
    pub(crate) fn matches(&self, event: &[u8]) -> Result<Matches> {
        let event: serde_json::Value = serde_json::from_slice(event)?;
        let mut context = Context::default();
        context
            .add_variable("event", event)
            .map_err(|error| anyhow!("{error}"))?;
        Ok((0..)
            .zip(&self.0)
            .filter(|(_, program)| matches!(program.execute(&context), Ok(Value::Bool(true))))
            .map(|(key, _)| key)
            .collect())
    }
}

pub(crate) struct Trees(ATree<u32>);

impl Trees {
    pub(crate) fn new(filters: &[String]) -> Result<Self> {
        let definitions: Vec<_> = TEXTS
            .iter()
            .map(|path| AttributeDefinition::string(&attribute(path)))
            .chain(
                FLOATS
                    .iter()
                    .map(|path| AttributeDefinition::float(&attribute(path))),
            )
            .chain(
                INTEGERS
                    .iter()
                    .map(|path| AttributeDefinition::integer(&attribute(path))),
            )
            .collect();
        let mut tree = ATree::new(&definitions).map_err(|error| anyhow!("{error}"))?;
        for (key, filter) in (0..).zip(filters) {
            let expression = translate::a_tree(filter)?;
            tree.insert(&key, &expression)
                .map_err(|error| anyhow!("{expression}: {error}"))?;
        }
        Ok(Self(tree))
    }

    /// The event as it wants it, which is not measured.
    pub(crate) fn event(&self, event: &[u8]) -> Result<Event> {
        let event: serde_json::Value = serde_json::from_slice(event)?;
        let at = |path: &str| {
            path.split('.')
                .try_fold(&event, |value, name| value.get(name))
                .ok_or_else(|| anyhow!("`{path}` is missing"))
        };
        let mut builder = self.0.make_event();
        for path in TEXTS {
            let text = at(path)?.as_str().unwrap_or_default();
            builder.with_string(&attribute(path), text)?;
        }
        for path in FLOATS {
            let cents = f64::from_str(&at(path)?.to_string())? * 100.0;
            builder.with_float(&attribute(path), cents.round() as i64, 2)?;
        }
        for path in INTEGERS {
            builder.with_integer(&attribute(path), at(path)?.as_i64().unwrap_or_default())?;
        }
        Ok(builder.build()?)
    }

    /// From the event on.
    pub(crate) fn matches(&self, event: &Event) -> Result<Matches> {
        let report = self.0.search(event).map_err(|error| anyhow!("{error}"))?;
        let mut matches: Matches = report.matches().iter().map(|&&key| key).collect();
        matches.sort_unstable();
        matches.dedup();
        Ok(matches)
    }
}

pub(crate) struct Patterns(Quamina<u32>);

impl Patterns {
    pub(crate) fn new(filters: &[String]) -> Result<Self> {
        let mut quamina = Quamina::new();
        for (key, filter) in (0..).zip(filters) {
            quamina
                .add_pattern(key, &translate::quamina(filter)?)
                .map_err(|error| anyhow!("{filter}: {error}"))?;
        }
        Ok(Self(quamina))
    }

    /// From the bytes on.
    pub(crate) fn matches(&self, event: &[u8]) -> Result<Matches> {
        let matches = self.0.matches_for_event(event);
        let mut matches = matches.map_err(|error| anyhow!("{error}"))?;
        matches.sort_unstable();
        matches.dedup();
        Ok(matches)
    }
}
