//! The bundled data set: 31,106 events of an online shop (see `data/README.md`).

use anyhow::Context as _;
use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};

const ECOM: &[u8] = include_bytes!("../data/ecom.csv.gz");

/// A line of the file.
#[derive(Deserialize)]
struct Row {
    user_id: String,
    session_id: String,
    event: String,
    timestamp: String,
    platform: String,
    acquisition_channel: String,
    user_cohort: String,
    user_lifecycle: String,
}

/// What is sent for a line.
#[derive(Serialize)]
struct Event<'a> {
    event_id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: String,
    user_id: &'a str,
    session_id: &'a str,
    platform: &'a str,
    acquisition_channel: &'a str,
    user_cohort: &'a str,
    user_lifecycle: &'a str,
}

/// The events in file order, as (user id, JSON object).
///
/// `round` is part of each `event_id`, so that a repetition's events are events of their own.
pub(crate) fn events(round: u64) -> impl Iterator<Item = anyhow::Result<(String, Vec<u8>)>> {
    let rows = csv::Reader::from_reader(GzDecoder::new(ECOM)).into_deserialize();
    rows.enumerate().map(move |(line, row)| {
        let row: Row = row.with_context(|| format!("line {line} of the bundled data set"))?;
        let value = row.to_json(round, line)?;
        Ok((row.user_id, value))
    })
}

impl Row {
    fn to_json(&self, round: u64, line: usize) -> anyhow::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Event {
            event_id: format!("{round}-{line}"),
            kind: &self.event,
            // `2024-03-13 10:21:14`, in UTC.
            timestamp: format!("{}Z", self.timestamp.replacen(' ', "T", 1)),
            user_id: &self.user_id,
            session_id: &self.session_id,
            platform: &self.platform,
            acquisition_channel: &self.acquisition_channel,
            user_cohort: &self.user_cohort,
            user_lifecycle: &self.user_lifecycle,
        })?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn parsed(round: u64) -> Vec<Value> {
        events(round)
            .map(|event| serde_json::from_slice(&event.unwrap().1).unwrap())
            .collect()
    }

    /// The numbers come from `zcat`, `cut` and `awk`, not from this program.
    #[test]
    fn the_data_set_is_the_one_whose_counts_are_known() {
        let events = parsed(0);
        let count = |holds: &dyn Fn(&str, &str) -> bool| {
            let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
            let holds = |event: &&Value| holds(&text(event, "type"), &text(event, "platform"));
            events.iter().filter(holds).count()
        };
        assert_eq!(events.len(), 31_106);
        assert_eq!(count(&|kind, _| kind == "purchase"), 470);
        assert_eq!(
            count(&|kind, on| kind == "checkout_bug" && on == "mobile"),
            44
        );
        assert_eq!(
            count(&|kind, on| ["search", "catalog"].contains(&kind) && on != "mobile"),
            6_698
        );
    }

    #[test]
    fn an_event_is_written_as_the_data_sets_notice_says() {
        let (user, value) = events(7).next().unwrap().unwrap();
        assert_eq!(user, "user_0000");
        assert_eq!(
            String::from_utf8(value).unwrap(),
            r#"{"event_id":"7-0","type":"home","timestamp":"2024-03-13T10:21:14Z","user_id":"user_0000","session_id":"sess_000001","platform":"desktop","acquisition_channel":"email","user_cohort":"2024-01","user_lifecycle":"returning"}"#
        );
    }

    #[test]
    fn event_ids_differ_within_and_between_rounds() {
        let rounds = [parsed(0), parsed(1)];
        let ids: HashSet<_> = rounds
            .iter()
            .flatten()
            .map(|e| e["event_id"].as_str())
            .collect();
        assert_eq!(ids.len(), 2 * 31_106);
    }
}
