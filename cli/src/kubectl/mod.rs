//! `kubectl clickstream`: what the pipelines and queries of a cluster are doing, in words.
//!
//! It asks `kubectl` itself, which is there when it runs: so whatever gets a person into their cluster (contexts,
//! tokens, login helpers) works here, too. It only reads.

mod cluster;
mod tail;
mod words;

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use clickstream_resources::{ClickstreamPipeline, ClickstreamQuery};

use cluster::Cluster;

/// What the plugin does beside the offline commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows pipelines and queries, and whether they are ready
    Status(StatusArgs),
    /// Says why a query or a pipeline is not ready, and what to do about it
    Explain(ExplainArgs),
    /// Shows the events that match a query, one per line, as they happen
    Tail(tail::Args),
}

/// What `status` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
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
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    cluster: Cluster,
    /// Which: csq/NAME or csp/NAME
    #[arg(value_name = "KIND/NAME", value_parser = parse_object)]
    object: Object,
}

/// An object by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Query(String),
    Pipeline(String),
}

/// Does what is asked.
///
/// # Errors
/// When kubectl cannot be run or refuses; with its words.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Status(args) => status(&args),
        Command::Explain(args) => explain(&args),
        Command::Tail(args) => tail::run(args),
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
    use super::*;

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
