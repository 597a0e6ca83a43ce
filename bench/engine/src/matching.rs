//! Many filters against one event, beside the peers.

use std::hint::black_box;

use anyhow::{Result, ensure};
use clickstream_engine::{FieldPath, FieldReader, Validation};
use clickstream_mixes::Mix;

use crate::measure::{Contestant, interleaved};
use crate::peers::{Cel, Engine, Matches, Patterns, Trees, engine};
use crate::table::Table;
use crate::translate::{FLOATS, INTEGERS, TEXTS};
use crate::{SEED, nanoseconds};

/// A peer that is ready to be asked for the event of this index.
type Peer<'a> = Box<dyn FnMut(usize) -> Result<Matches> + 'a>;

/// Nanoseconds per event.
struct Times {
    peer: f64,
    engine: f64,
    /// The engine once the fields are cut out: what is left is to be compared with a peer whose event is ready.
    engine_matching: f64,
}

/// Asks both for every event first, and they have to agree.
fn compare(
    filters: &[String],
    events: &[Vec<u8>],
    mut peer: Peer<'_>,
    what: &str,
) -> Result<Times> {
    let set = engine(filters)?;
    let mut engine = Engine::new(&set, Validation::Inspected);
    let mut found = 0;
    for (at, event) in events.iter().enumerate() {
        let (ours, theirs) = (engine.matches(event)?, peer(at)?);
        ensure!(
            *ours == theirs,
            "{what} differs: {ours:?} and {theirs:?} for {}",
            String::from_utf8_lossy(event)
        );
        found += theirs.len();
    }
    ensure!(
        found > 0 || filters.len() < 100,
        "{what}: nothing matches, so that nothing is compared"
    );
    let mut next = 0;
    let contestants: Vec<Contestant<'_>> = vec![
        Box::new(|| {
            for event in events {
                let _ = black_box(engine.matches(event));
            }
            events.len()
        }),
        Box::new(|| {
            // One at a time: slow peers take milliseconds for each.
            next = (next + 1) % events.len();
            let _ = black_box(peer(next));
            1
        }),
        extraction(filters, events)?,
    ];
    let times = interleaved(contestants);
    Ok(Times {
        engine: times[0],
        peer: times[1],
        engine_matching: times[0] - times[2],
    })
}

/// Only cuts the fields out that `filters` ask for.
fn extraction<'a>(filters: &[String], events: &'a [Vec<u8>]) -> Result<Contestant<'a>> {
    let paths = TEXTS.iter().chain(&FLOATS).chain(&INTEGERS);
    let used = paths.filter(|path| {
        let asked = format!("event.{path} ");
        filters.iter().any(|filter| filter.contains(&asked))
    });
    let paths = used
        .map(|path| Ok(FieldPath::parse(path)?))
        .collect::<Result<Vec<_>>>()?;
    let mut reader = FieldReader::new(&paths, Validation::Inspected);
    Ok(Box::new(move || {
        for event in events {
            let _ = black_box(reader.read(event));
        }
        events.len()
    }))
}

pub(crate) fn peers() -> Result<()> {
    let mut table = Table::new(
        "Matching beside peers; equal results for every event",
        &[
            "peer",
            "mix",
            "filters",
            "peer",
            "engine, end to end",
            "engine, match only",
            "ratio",
            "goal",
        ],
    );
    let mut row = |name: &str, mix: Mix, filters: usize, times: &Times, ratio: f64, goal: f64| {
        table.row([
            name.to_owned(),
            format!("{mix:?}"),
            filters.to_string(),
            nanoseconds(times.peer),
            nanoseconds(times.engine),
            nanoseconds(times.engine_matching),
            format!("{ratio:.1}"),
            format!("{goal:.0}"),
        ]);
    };

    for (count, goal) in [(10, 35.0), (100, 80.0), (1_000, 600.0)] {
        let filters = Mix::S.filters(SEED, count);
        let events = Mix::S.events(SEED, 1_024);
        let cel = Cel::new(&filters)?;
        let peer: Peer<'_> = Box::new(|at| cel.matches(&events[at]));
        let times = compare(&filters, &events, peer, "cel")?;
        let ratio = times.peer / times.engine;
        row("`cel` loop, end to end", Mix::S, count, &times, ratio, goal);
    }
    for (mix, count, goal) in [
        (Mix::S, 1_000, 30.0),
        (Mix::S, 10_000, 300.0),
        (Mix::S, 100_000, 3_000.0),
        (Mix::B, 10_000, 200.0),
        (Mix::B, 100_000, 1_200.0),
    ] {
        let filters = mix.filters(SEED, count);
        let events = mix.events(SEED, 256);
        let tree = Trees::new(&filters)?;
        let built: Vec<_> = events
            .iter()
            .map(|event| tree.event(event))
            .collect::<Result<_>>()?;
        let peer: Peer<'_> = Box::new(|at| tree.matches(&built[at]));
        let times = compare(&filters, &events, peer, "a-tree")?;
        let ratio = times.peer / times.engine_matching;
        row("`a-tree`, match only", mix, count, &times, ratio, goal);
    }
    for (count, goal) in [(10, 5.0), (1_000, 30.0)] {
        let filters = Mix::S.filters(SEED, count);
        let events = Mix::S.events(SEED, 1_024);
        let patterns = Patterns::new(&filters)?;
        let peer: Peer<'_> = Box::new(|at| patterns.matches(&events[at]));
        let times = compare(&filters, &events, peer, "quamina")?;
        let ratio = times.peer / times.engine;
        row("`quamina`, end to end", Mix::S, count, &times, ratio, goal);
    }
    table.end();
    Ok(())
}

/// How the time grows with the filters.
pub(crate) fn growth() -> Result<()> {
    const COUNTS: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
    for mix in [Mix::S, Mix::E, Mix::B, Mix::T] {
        let events = mix.events(SEED, 4_096);
        let sets: Vec<_> = COUNTS
            .iter()
            .map(|&count| engine(&mix.filters(SEED, count)))
            .collect::<Result<_>>()?;
        let mut engines = Vec::new();
        for validation in [Validation::Inspected, Validation::Whole] {
            engines.extend(sets.iter().map(|set| Engine::new(set, validation)));
        }
        let contestants = engines.iter_mut().map(|engine| -> Contestant<'_> {
            Box::new(|| {
                for event in &events {
                    let _ = black_box(engine.matches(event));
                }
                events.len()
            })
        });
        let times = interleaved(contestants.collect());
        let goal = if mix == Mix::S {
            "; goals: 10,000 over 10 at most 2, 100,000 over 10,000 at most 2.5"
        } else {
            ""
        };
        let mut table = Table::new(
            &format!("Growth with the filters, mix {mix:?}, end to end{goal}"),
            &[
                "filters",
                "inspected",
                "whole event validated",
                "inspected, times the row above",
                "bytes of index per filter",
            ],
        );
        for (at, count) in COUNTS.iter().enumerate() {
            let before = at.checked_sub(1).map_or(f64::NAN, |before| times[before]);
            table.row([
                count.to_string(),
                nanoseconds(times[at]),
                nanoseconds(times[at + COUNTS.len()]),
                format!("{:.2}", times[at] / before),
                (sets[at].index_bytes() / count).to_string(),
            ]);
        }
        table.end();
        println!(
            "10,000 over 10: {:.2}; 100,000 over 10,000: {:.2}\n",
            times[3] / times[0],
            times[4] / times[3]
        );
    }
    Ok(())
}

/// A thousand filters with one `matches` each, beside the loop that compiles the expression each time.
pub(crate) fn regular_expressions() -> Result<()> {
    let filters: Vec<String> = Mix::T
        .filters(SEED, 30_000)
        .into_iter()
        .filter(|filter| filter.matches(".matches(").count() == 1 && !filter.contains(' '))
        .take(1_000)
        .collect();
    ensure!(filters.len() == 1_000, "too few filters are one `matches`");
    let events = Mix::T.events(SEED, 8);
    let cel = Cel::new(&filters)?;
    let peer: Peer<'_> = Box::new(|at| cel.matches(&events[at]));
    let times = compare(&filters, &events, peer, "cel")?;
    let mut table = Table::new(
        "1,000 filters with one `matches` each (goal: at least 10,000x)",
        &["`cel` loop", "engine", "ratio"],
    );
    table.row([
        nanoseconds(times.peer),
        nanoseconds(times.engine),
        format!("{:.0}", times.peer / times.engine),
    ]);
    table.end();
    Ok(())
}
