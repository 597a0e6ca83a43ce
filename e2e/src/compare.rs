//! What was sent against what was seen, by `event_id`.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use clickstream_testkit::viewer::{Log, Viewer};

/// How a viewer's events differ from those it should have seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Events that should have been seen.
    pub expected: usize,
    /// Should have been seen and were not.
    pub missing: Vec<String>,
    /// Were seen more than once.
    pub twice: Vec<String>,
    /// Were seen and should not have been.
    pub foreign: Vec<String>,
}

impl Difference {
    /// Compares a viewer's events with the ids it should have seen once each.
    ///
    /// # Errors
    /// When an event has no `event_id`.
    pub fn between<I: IntoIterator<Item = String>>(expected: I, log: &Log) -> Result<Difference> {
        let mut times: HashMap<String, usize> = expected.into_iter().map(|id| (id, 0)).collect();
        let mut difference = Difference {
            expected: times.len(),
            ..Difference::default()
        };
        for seen in &log.events {
            let id = seen.event_id()?;
            match times.get_mut(&id) {
                Some(count) => *count += 1,
                None => difference.foreign.push(id),
            }
        }
        for (id, count) in times {
            match count {
                0 => difference.missing.push(id),
                1 => {}
                _ => difference.twice.push(id),
            }
        }
        Ok(difference)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.twice.is_empty() && self.foreign.is_empty()
    }
}

/// Compares a viewer's events with the ids it should have seen once each, and prints how they differ.
///
/// # Errors
/// When they do.
pub fn seen_once<I: IntoIterator<Item = String>>(viewer: &Viewer, expected: I) -> Result<()> {
    let (name, difference) = (viewer.name(), Difference::between(expected, &viewer.log())?);
    println!("{name}: {difference}");
    ensure!(difference.is_none(), "{name}: {difference}");
    Ok(())
}

/// [`seen_once`] as soon as the viewer's account says that it has all, of `scanned` events.
///
/// # Errors
/// When it does not say so within `limit`, or its events differ.
pub async fn account_is_complete(
    viewer: &Viewer,
    scanned: usize,
    expected: &[String],
    limit: Duration,
) -> Result<()> {
    let complete = |log: &Log| {
        log.progress("/scanned") == scanned as u64
            && log.progress("/delivered") == expected.len() as u64
            && log.events.len() == expected.len()
    };
    viewer.until("all to be delivered", limit, complete).await?;
    seen_once(viewer, expected.iter().cloned())
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (missing, twice, foreign) = (self.missing.len(), self.twice.len(), self.foreign.len());
        write!(
            out,
            "{} expected, {missing} missing, {twice} twice, {foreign} foreign",
            self.expected
        )?;
        for (name, ids) in [
            ("missing", &self.missing),
            ("twice", &self.twice),
            ("foreign", &self.foreign),
        ] {
            if !ids.is_empty() {
                let mut some = ids.clone();
                some.sort_by_key(|id| (id.len(), id.clone()));
                some.truncate(10);
                write!(out, "; {name}: {}", some.join(" "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use clickstream_testkit::viewer::{Log, Seen};

    use super::Difference;

    #[test]
    fn missing_twice_and_foreign_are_told_apart() {
        let seen = |id: &str| Seen {
            source: "t/0/0".to_owned(),
            body: format!("{{\"event_id\":\"{id}\"}}").into(),
            at: Instant::now(),
        };
        let log = Log {
            events: vec![seen("a"), seen("b"), seen("b"), seen("x")],
            ..Log::default()
        };
        let found = Difference::between(["a", "b", "c"].map(String::from), &log).unwrap();
        assert_eq!(
            found.to_string(),
            "3 expected, 1 missing, 1 twice, 1 foreign; missing: c; twice: b; foreign: x"
        );
        assert!(!found.is_none());
    }
}
