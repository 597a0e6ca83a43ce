//! The client of the Kubernetes API: bounded in time, its requests counted.

use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// For one answer to begin. Watches are renewed within [`WATCH_SECONDS`], and servers send bookmarks meanwhile.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Load balancers drop connections that are silent for about four minutes.
pub(crate) const WATCH_SECONDS: u32 = 200;

/// A client of the cluster that the file, or else `KUBECONFIG`, names, or of the one this runs in.
///
/// # Errors
/// When neither is there, or cannot be read.
pub(crate) async fn client(kubeconfig: Option<&Path>, metrics: Metrics) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file)
                .with_context(|| format!("reading --kubeconfig `{}`", file.display()))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("reading --kubeconfig `{}`", file.display()))?
        }
        None => Config::infer().await.context(
            "finding the cluster: give --kubeconfig, set KUBECONFIG, or run in a pod with a service account's token",
        )?,
    };
    config.connect_timeout = Some(Duration::from_secs(5));
    config.write_timeout = Some(READ_LIMIT);
    // A watch ends within this; a call is bounded by whoever makes it.
    config.read_timeout = Some(Duration::from_secs(u64::from(WATCH_SECONDS)) + READ_LIMIT);
    // Failures are counted by object, with a back-off of its own, and not repeated inside a call.
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).context("making a client of the cluster")?;
    Ok(builder.with_layer(&Count { metrics }).build())
}

#[derive(Clone)]
struct Count {
    metrics: Metrics,
}

#[derive(Clone)]
struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S> Layer<S> for Count {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (verb, kind) = (verb(request.method(), request.uri()), kind(request.uri()));
        let metrics = self.metrics.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            metrics.requested(verb, kind, code);
            if verb == "watch" && code == 200 {
                metrics.watches().begun(kind);
            }
            answer
        })
    }
}

fn verb(method: &Method, uri: &Uri) -> &'static str {
    let watches = uri
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    match method.as_str() {
        "GET" if watches => "watch",
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// The plural of the kind that a path names, with `/status` for that; `other` for what the operator does not know.
fn kind(uri: &Uri) -> &'static str {
    const KINDS: [&str; 17] = [
        "clickstreampipelines",
        "clickstreampipelines/status",
        "clickstreamqueries",
        "clickstreamqueries/status",
        "configmaps",
        "deployments",
        "events",
        "httproutes",
        "ingresses",
        "leases",
        "namespaces",
        "networkpolicies",
        "poddisruptionbudgets",
        "pods",
        "secrets",
        "serviceaccounts",
        "services",
    ];
    let mut segments = uri.path().split('/').filter(|segment| !segment.is_empty());
    // `/api/v1` or `/apis/GROUP/VERSION`
    let skip = if segments.next() == Some("apis") {
        2
    } else {
        1
    };
    let mut rest = segments.skip(skip).collect::<Vec<_>>();
    if rest.len() > 2 && rest[0] == "namespaces" {
        rest.drain(..2);
    }
    let wanted = match rest[..] {
        [plural, _, "status"] => format!("{plural}/status"),
        [plural, ..] => plural.to_owned(),
        [] => return "other",
    };
    KINDS
        .into_iter()
        .find(|kind| *kind == wanted)
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_by_verb_and_kind() {
        for (method, uri, expected) in [
            (
                "GET",
                "/apis/clickstream.dev/v1alpha1/clickstreamqueries?watch=true&x=1",
                ("watch", "clickstreamqueries"),
            ),
            (
                "PATCH",
                "/apis/clickstream.dev/v1alpha1/namespaces/a/clickstreamqueries/b/status?force=true",
                ("patch", "clickstreamqueries/status"),
            ),
            ("GET", "/api/v1/namespaces/a/secrets/b", ("get", "secrets")),
            ("GET", "/api/v1/namespaces/a", ("get", "namespaces")),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/a/events",
                ("create", "events"),
            ),
            ("GET", "/version", ("get", "other")),
        ] {
            let (method, uri): (Method, Uri) = (method.parse().unwrap(), uri.parse().unwrap());
            assert_eq!((verb(&method, &uri), kind(&uri)), expected, "{uri}");
        }
    }
}
