//! `tail csq/NAME`: the matches of a standing query, through its address or a forwarded port.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clickstream_resources::ClickstreamQuery;
use reqwest::Url;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::cluster::Cluster;
use super::{Object, parse_object};
use crate::tail::{self, View};

/// For kubectl to forward a port.
const FORWARD_LIMIT: Duration = Duration::from_secs(20);

/// What `tail` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The query's address (`status.url`) is used; where it is one inside the cluster, or with --port-forward, a port of
the handlers' Service is forwarded to this machine.")]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: Cluster,
    /// Which: csq/NAME
    #[arg(value_name = "csq/NAME", value_parser = parse_object)]
    object: Object,
    /// Go through a forwarded port even if the query has an address
    #[arg(long)]
    port_forward: bool,
    #[command(flatten)]
    view: View,
}

/// Prints events until something ends it.
///
/// # Errors
/// When the query or a way to it cannot be found.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Object::Query(name) = &args.object else {
        bail!("only a query can be followed: write `csq/NAME`");
    };
    let query: ClickstreamQuery = args.cluster.get("csq", name, None)?;
    let namespace = query.metadata.namespace.clone().unwrap_or_default();
    let url = query.status.as_ref().and_then(|it| it.url.as_deref());
    let public = url.and_then(reachable).filter(|_| !args.port_forward);
    let standing = format!("{namespace}/{name}");
    tail::block_on(async move {
        let (url, _forwarding) = match public {
            Some(url) => (url, None),
            None => {
                let of = &query.spec.pipeline_ref;
                let namespace = of.namespace.as_deref().unwrap_or(&namespace);
                let (url, child) = forward(&args.cluster, namespace, &of.name).await?;
                (url, Some(child))
            }
        };
        tail::follow_standing(url, standing, args.view).await
    })
}

/// The handlers' address in a query's, unless only pods can reach it.
fn reachable(url: &str) -> Option<Url> {
    let mut url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    if host.ends_with(".svc") || host.ends_with(".svc.cluster.local") {
        return None;
    }
    url.set_query(None);
    Some(url)
}

/// Forwards a free port to the pipeline's handlers, until the child is dropped.
async fn forward(
    cluster: &Cluster,
    namespace: &str,
    pipeline: &str,
) -> anyhow::Result<(Url, Child)> {
    let mut command = Command::from(cluster.kubectl(Some(namespace)));
    command
        .args([
            "port-forward",
            "--address",
            "127.0.0.1",
            &format!("service/{pipeline}-handler"),
            ":80",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .context("running `kubectl`: is it on the PATH?")?;
    let stdout = child.stdout.take().context("kubectl has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let port = timeout(FORWARD_LIMIT, async {
        while let Some(line) = lines.next_line().await? {
            if let Some(port) = forwarded(&line) {
                return Ok(port);
            }
        }
        bail!("kubectl forwards no port to service `{pipeline}-handler` in `{namespace}`")
    });
    let port = port.await.context("kubectl does not forward a port")??;
    // It says something for each connection, and must not wait for a reader.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((Url::parse(&format!("http://127.0.0.1:{port}"))?, child))
}

/// The port in `Forwarding from 127.0.0.1:40123 -> 8080`.
fn forwarded(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("Forwarding from 127.0.0.1:")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_the_cluster_are_not_for_people() {
        let public = reachable("https://clicks.example.com/?query=team/carts").unwrap();
        assert_eq!(public.as_str(), "https://clicks.example.com/");
        for inside in [
            "http://shop-handler.team.svc/?query=team/carts",
            "http://shop-handler.team.svc.cluster.local/",
            "nonsense",
        ] {
            assert_eq!(reachable(inside), None, "{inside}");
        }
    }

    #[test]
    fn the_port_is_read_from_what_kubectl_says() {
        assert_eq!(
            forwarded("Forwarding from 127.0.0.1:40123 -> 8080"),
            Some(40123)
        );
        assert_eq!(forwarded("Handling connection for 40123"), None);
    }
}
