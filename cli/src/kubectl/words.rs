//! Readiness in words. No I/O.

use std::fmt::Write as _;

use clickstream_resources::condition::{Reason, Type};
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

/// An explanation, and whether all is well.
pub(super) struct Explained {
    pub(super) text: String,
    pub(super) ready: bool,
}

/// What of an object's status its readiness is told from.
struct Seen<'a> {
    conditions: &'a [Condition],
    /// The status is about the spec as it is now.
    current: bool,
}

impl<'a> Seen<'a> {
    fn new(metadata: &ObjectMeta, observed: Option<i64>, conditions: &'a [Condition]) -> Self {
        Self {
            conditions,
            current: observed == metadata.generation,
        }
    }

    fn query(query: &'a ClickstreamQuery) -> Self {
        let status = query.status.as_ref();
        let conditions = status.map_or(&[][..], |status| &status.conditions);
        let observed = status.and_then(|status| status.observed_generation);
        Seen::new(&query.metadata, observed, conditions)
    }

    fn pipeline(pipeline: &'a ClickstreamPipeline) -> Self {
        let status = pipeline.status.as_ref();
        let conditions = status.map_or(&[][..], |status| &status.conditions);
        let observed = status.and_then(|status| status.observed_generation);
        Seen::new(&pipeline.metadata, observed, conditions)
    }

    fn get(&self, kind: Type) -> Option<&'a Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == kind.as_str())
    }

    fn is_ready(&self) -> bool {
        self.current
            && self
                .get(Type::Ready)
                .is_some_and(|ready| ready.status == "True")
    }

    /// In a few words, for a table.
    fn readiness(&self) -> String {
        match self.get(Type::Ready) {
            None => "not looked at yet".to_owned(),
            Some(_) if !self.current => "changed, not looked at yet".to_owned(),
            Some(ready) if ready.status == "True" && ready.reason == Reason::Ready.as_str() => {
                "ready".to_owned()
            }
            Some(ready) if ready.status == "True" => in_words(&ready.reason),
            Some(ready) if ready.status == "False" => {
                format!("not ready: {}", in_words(&ready.reason))
            }
            Some(ready) => format!("unknown: {}", in_words(&ready.reason)),
        }
    }

    /// What is not as it should be, each with its message and its meaning.
    fn troubles(&self, text: &mut String) {
        let summary = [Type::Ready, Type::Reconciling, Type::Stalled, Type::Paused];
        let wrong = self.conditions.iter().filter(|condition| {
            condition.status != "True" && !summary.iter().any(|it| it.as_str() == condition.type_)
        });
        for condition in wrong {
            let state = if condition.status == "False" {
                "no"
            } else {
                "not known"
            };
            let _ = write!(
                text,
                "\n  {}: {state}, {}\n",
                condition.type_, condition.reason
            );
            for line in condition.message.lines() {
                let _ = writeln!(text, "      {line}");
            }
            if let Some(reason) = known(&condition.reason) {
                let _ = writeln!(text, "    That is: {}", reason.meaning().trim());
            }
        }
    }

    fn sentence(&self, text: &mut String, what: &str) {
        match self.get(Type::Ready) {
            None => {
                let _ = writeln!(
                    text,
                    "{what} was not looked at yet. Does an operator run that watches this namespace?"
                );
            }
            Some(_) if !self.current => {
                let _ = writeln!(
                    text,
                    "{what} was changed, and the operator has not looked at the change yet. What follows is about before."
                );
            }
            Some(_) => {
                let _ = writeln!(text, "{what} is {}.", self.readiness());
            }
        }
    }
}

/// `PipelineNotFound` as `pipeline not found`.
fn in_words(reason: &str) -> String {
    let mut words = String::new();
    for char in reason.chars() {
        if char.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(char.to_lowercase());
    }
    words
}

fn known(name: &str) -> Option<Reason> {
    Reason::ALL
        .iter()
        .copied()
        .find(|reason| reason.as_str() == name)
}

fn named(metadata: &ObjectMeta, kind: &str) -> String {
    let (name, namespace) = (metadata.name.as_deref(), metadata.namespace.as_deref());
    format!(
        "{kind}/{} in `{}`",
        name.unwrap_or_default(),
        namespace.unwrap_or_default()
    )
}

/// Why a pipeline is not ready.
pub(super) fn explain_pipeline(pipeline: &ClickstreamPipeline) -> Explained {
    let seen = Seen::pipeline(pipeline);
    let mut text = String::new();
    seen.sentence(&mut text, &named(&pipeline.metadata, "csp"));
    seen.troubles(&mut text);
    Explained {
        text,
        ready: seen.is_ready(),
    }
}

/// Why a query is not ready; `pipeline` is its own, if it may be seen.
pub(super) fn explain_query(
    query: &ClickstreamQuery,
    pipeline: Option<&ClickstreamPipeline>,
) -> Explained {
    let seen = Seen::query(query);
    let mut text = String::new();
    seen.sentence(&mut text, &named(&query.metadata, "csq"));
    seen.troubles(&mut text);
    let ready = seen.is_ready();
    // A query is as well as its pipeline.
    if let Some(pipeline) =
        pipeline.filter(|pipeline| !ready && !Seen::pipeline(pipeline).is_ready())
    {
        let _ = writeln!(text, "\nIts pipeline, too:");
        text += &explain_pipeline(pipeline).text;
    }
    Explained { text, ready }
}

/// All of them, as two tables.
pub(super) fn overview(
    pipelines: &[ClickstreamPipeline],
    queries: &[ClickstreamQuery],
    with_namespace: bool,
) -> String {
    let of = |ready: i32, desired: i32| format!("{ready}/{desired}");
    let dash = || "-".to_owned();
    let pipelines = pipelines.iter().map(|pipeline| {
        let status = pipeline.status.as_ref();
        let worker = status.and_then(|status| status.worker.as_ref());
        let handler = status.and_then(|status| status.handler.as_ref());
        let queries = status.and_then(|status| status.queries.as_ref());
        row(
            &pipeline.metadata,
            with_namespace,
            [
                worker.map_or_else(dash, |it| of(it.ready, it.desired)),
                handler.map_or_else(dash, |it| of(it.ready, it.desired)),
                queries.map_or_else(dash, |it| of(it.programmed, it.total)),
                Seen::pipeline(pipeline).readiness(),
            ],
        )
    });
    let columns = ["WORKERS", "HANDLERS", "QUERIES", "READINESS"];
    let mut text = table(
        "PIPELINE",
        columns,
        with_namespace,
        pipelines.collect(),
        "no pipelines",
    );
    text.push('\n');
    let queries = queries.iter().map(|query| {
        let status = query.status.as_ref();
        let rate = status.and_then(|status| status.match_rate.clone());
        let viewers = status.and_then(|status| status.viewers);
        row(
            &query.metadata,
            with_namespace,
            [
                query.spec.pipeline_ref.name.clone(),
                viewers.map_or_else(dash, |viewers| viewers.to_string()),
                rate.unwrap_or_else(dash),
                Seen::query(query).readiness(),
            ],
        )
    });
    let columns = ["PIPELINE", "VIEWERS", "MATCHES", "READINESS"];
    text += &table(
        "QUERY",
        columns,
        with_namespace,
        queries.collect(),
        "no queries",
    );
    text
}

fn row(metadata: &ObjectMeta, with_namespace: bool, cells: [String; 4]) -> Vec<String> {
    let namespace = metadata.namespace.clone().filter(|_| with_namespace);
    let name = metadata.name.clone().unwrap_or_default();
    namespace.into_iter().chain([name]).chain(cells).collect()
}

/// Columns as wide as their widest cell, three spaces apart.
fn table(
    first: &str,
    columns: [&str; 4],
    with_namespace: bool,
    rows: Vec<Vec<String>>,
    empty: &str,
) -> String {
    if rows.is_empty() {
        return format!("{empty}\n");
    }
    let namespace = with_namespace.then_some("NAMESPACE");
    let head = namespace.into_iter().chain([first]).chain(columns);
    let rows: Vec<Vec<String>> = [head.map(str::to_owned).collect()]
        .into_iter()
        .chain(rows)
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}   "))
            .collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn query(observed: i64, conditions: &[(&str, &str, &str, &str)]) -> ClickstreamQuery {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason, message)| {
                json!({"type": kind, "status": status, "reason": reason, "message": message,
                       "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "clickstream.dev/v1alpha1", "kind": "ClickstreamQuery",
            "metadata": {"name": "carts", "namespace": "team", "generation": 2},
            "spec": {"pipelineRef": {"name": "shop"}, "filter": "event.a = 1"},
            "status": {"observedGeneration": observed, "conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn a_refused_filter_is_explained_with_its_caret() {
        let message = "the filter is refused: no\nevent.a = 1\n        ^";
        let bad = query(
            2,
            &[
                ("Accepted", "False", "InvalidFilter", message),
                ("ResolvedRefs", "True", "Resolved", "fine"),
                (
                    "Programmed",
                    "False",
                    "InvalidFilter",
                    "the query is not matched",
                ),
                ("Ready", "False", "InvalidFilter", "x"),
                ("Stalled", "True", "InvalidFilter", "x"),
            ],
        );
        let explained = explain_query(&bad, None);
        assert!(!explained.ready);
        assert_eq!(
            explained.text,
            "csq/carts in `team` is not ready: invalid filter.\n\
             \n  Accepted: no, InvalidFilter\n      the filter is refused: no\n      event.a = 1\n              ^\n    \
             That is: The filter is refused; the message has the place and what to write instead.\n\
             \n  Programmed: no, InvalidFilter\n      the query is not matched\n    \
             That is: The filter is refused; the message has the place and what to write instead.\n"
        );
    }

    #[test]
    fn what_nobody_looked_at_is_not_ready() {
        let ready = [("Ready", "True", "Ready", "every worker matches it")];
        assert!(explain_query(&query(2, &ready), None).ready);
        let stale = explain_query(&query(1, &ready), None);
        assert!(
            !stale.ready && stale.text.contains("was changed"),
            "{}",
            stale.text
        );
        let new = explain_query(&query(2, &[]), None);
        assert!(
            !new.ready && new.text.contains("not looked at yet"),
            "{}",
            new.text
        );
    }

    #[test]
    fn tables_say_readiness_in_words() {
        let suspended = query(2, &[("Ready", "True", "Suspended", "x")]);
        let missing = query(2, &[("Ready", "False", "PipelineNotFound", "x")]);
        assert_eq!(
            overview(&[], &[suspended, missing], true),
            "no pipelines\n\n\
             NAMESPACE   QUERY   PIPELINE   VIEWERS   MATCHES   READINESS\n\
             team        carts   shop       -         -         suspended\n\
             team        carts   shop       -         -         not ready: pipeline not found\n"
        );
    }
}
