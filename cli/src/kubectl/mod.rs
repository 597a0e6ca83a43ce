//! `kubectl clickstream`: what the pipelines and queries of a cluster are doing, in words.
//!
//! It asks `kubectl` itself, which is there when it runs: so whatever gets a person into their cluster (contexts,
//! tokens, login helpers) works here, too. It only reads.

mod cluster;
mod tail;
mod words;

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};

use crate::{check, match_events};
use cluster::Cluster;

/// The plugin of kubectl: pipelines and queries of a cluster.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-clickstream",
    bin_name = "kubectl clickstream",
    version
)]
struct Plugin {
    #[command(subcommand)]
    command: Command,
}

/// What the plugin does.
#[derive(Debug, Subcommand)]
enum Command {
    /// Shows pipelines and queries, and whether they are ready
    Status(StatusArgs),
    /// Says why a query or a pipeline is not ready, and what to do about it
    Explain(ExplainArgs),
    /// Shows the events that match a query, one per line, as they happen
    Tail(tail::Args),
    /// Checks a filter and prints its canonical form
    Check(check::Args),
    /// Matches filters against events, both from files
    Match(match_events::Args),
}

/// What `status` is told.
#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    cluster: Cluster,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// What `explain` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 it is ready, 3 it is not, 1 it cannot be found.")]
struct ExplainArgs {
    #[command(flatten)]
    cluster: Cluster,
    /// Which: csq/NAME or csp/NAME
    #[arg(value_name = "KIND/NAME", value_parser = parse_object)]
    object: Object,
}

/// An object by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Object {
    Query(String),
    Pipeline(String),
}

/// Whether the program goes by the name under which kubectl finds its plugins.
pub(crate) fn is_called() -> bool {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name();
    name.is_some_and(|name| name.to_string_lossy().starts_with("kubectl-"))
}

/// Parses the process's arguments and does what they ask.
///
/// # Errors
/// When kubectl cannot be run or refuses; with its words.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    match Plugin::parse().command {
        Command::Status(args) => status(&args),
        Command::Explain(args) => explain(&args),
        Command::Tail(args) => tail::run(args),
        Command::Check(args) => check::run(&args),
        Command::Match(args) => match_events::run(&args),
    }
}

fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let pipelines: Vec<ClickstreamPipeline> = args.cluster.list("csp", args.all_namespaces)?;
    let queries: Vec<ClickstreamQuery> = args.cluster.list("csq", args.all_namespaces)?;
    print!(
        "{}",
        words::overview(&pipelines, &queries, args.all_namespaces)
    );
    Ok(ExitCode::SUCCESS)
}

fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let cluster = &args.cluster;
    let explained = match &args.object {
        Object::Pipeline(name) => {
            words::explain_pipeline(&cluster.get::<ClickstreamPipeline>("csp", name, None)?)
        }
        Object::Query(name) => {
            let query: ClickstreamQuery = cluster.get("csq", name, None)?;
            let of = &query.spec.pipeline_ref;
            let namespace = of.namespace.as_ref().or(query.metadata.namespace.as_ref());
            // Whoever may see the query need not be allowed to see the pipeline.
            let pipeline = cluster.get("csp", &of.name, namespace.map(String::as_str));
            words::explain_query(&query, pipeline.as_ref().ok())
        }
    };
    print!("{}", explained.text);
    Ok(if explained.ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

fn parse_object(text: &str) -> anyhow::Result<Object> {
    let Some((kind, name)) = text.split_once('/').filter(|(_, name)| !name.is_empty()) else {
        bail!("write it as `csq/NAME` or `csp/NAME`");
    };
    match kind.split('.').next().unwrap_or_default() {
        "csq" | "clickstreamquery" | "clickstreamqueries" => Ok(Object::Query(name.to_owned())),
        "csp" | "clickstreampipeline" | "clickstreampipelines" => {
            Ok(Object::Pipeline(name.to_owned()))
        }
        _ => bail!("`{kind}` is neither `csq` nor `csp`"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Plugin::command().debug_assert();
    }

    #[test]
    fn objects_are_named_as_for_kubectl() {
        let query = Object::Query("carts".into());
        for text in [
            "csq/carts",
            "clickstreamqueries/carts",
            "clickstreamquery.clickstream.dev/carts",
        ] {
            assert_eq!(parse_object(text).unwrap(), query);
        }
        assert_eq!(
            parse_object("csp/shop").unwrap(),
            Object::Pipeline("shop".into())
        );
        for wrong in ["carts", "csq/", "pod/a", "/a", ""] {
            assert!(parse_object(wrong).is_err(), "{wrong}");
        }
    }
}
