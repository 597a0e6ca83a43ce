//! What pods say on `/metrics`. Bounded in time, size and number.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::load::Worker;
use crate::reconcile::build::PORT;

/// For one pod.
const LIMIT: Duration = Duration::from_secs(3);
/// Of one answer.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Pods asked at once.
const AT_ONCE: usize = 16;

/// The pods of a component.
#[derive(Debug)]
pub(super) enum Pods {
    /// As many as there should be are ready: name and answer.
    Answered(Vec<(String, String)>),
    /// Pods come and go.
    Changing,
    /// This one does not answer.
    Silent(String),
}

/// Asks all pods, if as many as there should be are ready.
pub(super) async fn ask(
    client: &Client,
    http: &reqwest::Client,
    namespace: &str,
    selector: &str,
    expected: i32,
) -> Result<Pods, kube::Error> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let found = api.list(&ListParams::default().labels(selector)).await?;
    let staying = found
        .items
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let all: Option<Vec<(String, IpAddr)>> = staying
        .map(|pod| Some((pod.name_any(), ready_at(pod)?)))
        .collect();
    let Some(all) = all.filter(|all| i32::try_from(all.len()) == Ok(expected)) else {
        return Ok(Pods::Changing);
    };
    let answers = futures_util::stream::iter(all.into_iter().map(async |(name, ip)| {
        let body = tokio::time::timeout(LIMIT, get(http, ip)).await;
        (name, body.ok().flatten())
    }));
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
    let mut bodies = Vec::new();
    for (name, body) in answers {
        match body {
            Some(body) => bodies.push((name, body)),
            None => return Ok(Pods::Silent(name)),
        }
    }
    bodies.sort();
    Ok(Pods::Answered(bodies))
}

/// The address of a pod that is ready.
fn ready_at(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let ready = status.conditions.iter().flatten();
    ready
        .into_iter()
        .find(|condition| condition.type_ == "Ready" && condition.status == "True")?;
    status.pod_ip.as_ref()?.parse().ok()
}

async fn get(http: &reqwest::Client, ip: IpAddr) -> Option<String> {
    let address = std::net::SocketAddr::new(ip, u16::try_from(PORT).ok()?);
    let answer = http.get(format!("http://{address}/metrics")).send().await;
    let mut answer = answer.ok()?.error_for_status().ok()?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BYTES {
            return None;
        }
    }
    String::from_utf8(body).ok()
}

/// Every value of a metric, with the text of its labels.
fn values<'a>(body: &'a str, name: &str) -> Vec<(&'a str, f64)> {
    let value = |line: &'a str| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let number = value.split(' ').next()?.parse::<f64>().ok()?;
        number.is_finite().then_some((labels, number))
    };
    body.lines().filter_map(value).collect()
}

/// What a worker says; `None` when something is missing.
pub(super) fn worker(body: &str) -> Option<Worker> {
    let one = |name| values(body, name).first().map(|(_, value)| *value);
    let partition = |labels: &str| {
        let topic = labels.split("topic=\"").nth(1)?.split('"').next()?;
        let number = labels.split("partition=\"").nth(1)?.split('"').next()?;
        Some((topic.to_owned(), number.parse().ok()?))
    };
    let lags = values(body, "worker_lag_records").into_iter();
    let lags: BTreeMap<(String, i32), f64> = lags
        .filter_map(|(labels, lag)| Some((partition(labels)?, lag)))
        .collect();
    let offsets = values(body, "worker_next_offset").into_iter();
    let partitions = offsets
        .filter_map(|(labels, next)| {
            let of = partition(labels)?;
            let lag = *lags.get(&of)?;
            Some((of, (next, lag)))
        })
        .collect();
    Some(Worker {
        records: one("worker_records_total")?,
        busy: one("worker_busy_seconds_total")?,
        consumers: one("worker_consumers")?,
        partitions,
    })
}

/// Connections of a handler, of all doors. None that has ever been there is none.
pub(super) fn connections(body: &str) -> Option<f64> {
    // A handler that nobody ever used does not list its doors; this one it always has.
    values(body, "handler_subscriptions").first()?;
    let all = values(body, "handler_connections").into_iter();
    Some(all.map(|(_, value)| value).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_a_worker_are_read() {
        let body = "# HELP worker_records Source records read.\n# TYPE worker_records counter\nworker_records_total 12\n\
                    worker_busy_seconds_total 0.5\nworker_consumers 2\n\
                    worker_lag_records{topic=\"a.b\",partition=\"3\"} 7\nworker_lag_records{topic=\"a.b\",partition=\"4\"} 1\n\
                    worker_next_offset{topic=\"a.b\",partition=\"3\"} 100\n# EOF\n";
        let read = worker(body).unwrap();
        assert_eq!((read.records, read.busy, read.consumers), (12.0, 0.5, 2.0));
        assert_eq!(
            read.partitions,
            BTreeMap::from([(("a.b".to_owned(), 3), (100.0, 7.0))])
        );
        assert_eq!(worker("worker_records_total 12\n"), None, "an older worker");
        assert_eq!(worker("worker_records_total NaN\n"), None);
    }

    #[test]
    fn connections_of_all_doors_count() {
        let body = "handler_subscriptions 9\nhandler_connections{door=\"sse\"} 3\nhandler_connections{door=\"stomp\"} 5\n";
        assert_eq!(connections(body), Some(8.0));
        assert_eq!(connections("handler_subscriptions 0\n"), Some(0.0));
        assert_eq!(connections(""), None);
    }
}
