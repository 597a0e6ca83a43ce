//! `match`: filters over a file of events, without any service.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use clickstream_engine::{Filter, FilterSet, Record, Scratch, Unreadable, limits};
use serde::Deserialize;
use serde_json::Value;

use crate::ndjson::Lines;
use crate::refusal::Refusal;

/// Longest line of the file of filters, in bytes: a filter of the longest kind with every
/// character escaped, and an id of any sensible length.
const MAX_FILTER_LINE_BYTES: usize = 64 << 10;

/// What `match` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Filters, one JSON object per line: {"id": .., "filter": "event.type == .."};
    /// `-` is standard input
    #[arg(long, value_name = "FILE")]
    filters: PathBuf,
    /// Events, one JSON object per line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
    /// What does the matching
    #[arg(long, value_enum, default_value_t = Engine::Index)]
    engine: Engine,
}

/// Two implementations of one meaning.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Engine {
    /// All filters at once, as workers do
    Index,
    /// One filter after the other, by the definition of the language
    Reference,
}

/// Prints, per event, which filters hold.
///
/// Filters see the event as a record of an empty topic, partition 0, whose offset is the line's
/// number; it has no key, no headers and the timestamp 1970-01-01T00:00:00Z.
///
/// # Errors
/// When a file cannot be read or the file of filters is not what it should be. A refused filter
/// gives exit code 2.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.filters == Path::new("-") && args.events == Path::new("-") {
        bail!("standard input can be the filters or the events, not both");
    }
    let filters = match read_filters(&args.filters)? {
        Ok(filters) => filters,
        Err((id, refusal)) => return Ok(refusal.report(&format!("filter {id} refused"))),
    };
    let mut matcher = Matcher::new(args.engine, &filters)?;
    let mut events = Lines::open(&args.events, limits::MAX_RECORD_BYTES)?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut matching = Vec::new();
    while let Some(line) = events.next()? {
        let record = Record {
            topic: "",
            partition: 0,
            offset: i64::try_from(line.number).unwrap_or(i64::MAX),
            timestamp_ms: 0,
            key: None,
            headers: &[],
            value: line.bytes,
        };
        matching.clear();
        match matcher.matching(&record, &mut matching) {
            Ok(()) => {
                let matching = matching.iter().filter_map(|at| filters.get(*at as usize));
                let ids = matching.map(|(id, _)| id.as_str());
                writeln!(
                    out,
                    r#"{{"event":{},"matches":[{}]}}"#,
                    line.number,
                    Commas(ids)
                )?;
            }
            Err(unreadable) => {
                writeln!(out, r#"{{"event":{},"error":"{unreadable}"}}"#, line.number)?;
            }
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The filters in the file's order, each with its id as JSON text; or the first that is refused.
type Filters = Vec<(String, Filter)>;

fn read_filters(path: &Path) -> anyhow::Result<Result<Filters, (String, Refusal)>> {
    #[derive(Deserialize)]
    struct Entry {
        id: Value,
        filter: String,
    }
    let mut lines = Lines::open(path, MAX_FILTER_LINE_BYTES)?;
    let mut filters = Vec::new();
    let mut seen = HashSet::new();
    while let Some(line) = lines.next()? {
        if line.bytes.trim_ascii().is_empty() {
            continue;
        }
        let place = || format!("line {} of `{}`", line.number, path.display());
        if line.bytes.len() > MAX_FILTER_LINE_BYTES {
            bail!("{} is longer than {MAX_FILTER_LINE_BYTES} bytes", place());
        }
        let entry: Entry = serde_json::from_slice(line.bytes)
            .with_context(|| format!(r#"{} is not `{{"id":…,"filter":"…"}}`"#, place()))?;
        let id = entry.id.to_string();
        if !seen.insert(id.clone()) {
            bail!("{}: id {id} stands in the file before", place());
        }
        match Filter::parse(&entry.filter) {
            Ok(filter) => filters.push((id, filter)),
            Err(error) => return Ok(Err((id, error.into()))),
        }
    }
    Ok(Ok(filters))
}

struct Matcher {
    engine: Engine,
    set: FilterSet,
    scratch: Scratch,
}

impl Matcher {
    fn new(engine: Engine, filters: &Filters) -> anyhow::Result<Self> {
        let mut set = FilterSet::new();
        for (key, (_, filter)) in (0..).zip(filters) {
            set.insert(key, filter.clone());
        }
        if filters.is_empty() {
            // A set without filters reads no event, and would not tell one that is none.
            set.insert(0, Filter::parse("true")?);
        }
        let scratch = Scratch::default();
        Ok(Self {
            engine,
            set,
            scratch,
        })
    }

    /// Appends the numbers of the filters that hold, ascending.
    fn matching(&mut self, record: &Record<'_>, out: &mut Vec<u32>) -> Result<(), Unreadable> {
        match self.engine {
            Engine::Index => self.set.matching(record, &mut self.scratch, out),
            Engine::Reference => self.set.matching_by_reference(record, out),
        }
    }
}

/// Texts with commas between.
struct Commas<I>(I);

impl<'a, I: Iterator<Item = &'a str> + Clone> fmt::Display for Commas<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, text) in self.0.clone().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(text)?;
        }
        Ok(())
    }
}
