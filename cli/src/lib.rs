//! The command line: see a stream (`tail`), try filters without any service (`check`, `match`),
//! send events (`generate`), and all of it in one process (`demo`). Under the name `kubectl-clickstream` it is a plugin
//! of kubectl, with what goes on in a cluster (`status`, `explain`, `tail`) and the offline commands.
//!
//! Results go to standard output, everything said about them to standard error.
//! Exit codes: 0 done, 1 failed, 2 a filter or an argument was refused, 3 `tail` ended before
//! its `--count`. A reader that closes standard output ends a command quietly with 0.

mod check;
mod dataset;
mod demo;
mod generate;
mod kafka;
#[cfg(feature = "kubectl")]
mod kubectl;
mod match_events;
mod ndjson;
mod refusal;
mod tail;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A live stream of user events, filtered.
#[derive(Debug, Parser)]
#[command(name = "clickstream", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the events that match, one per line, as they happen
    Tail(tail::Args),
    /// Checks a filter and prints its canonical form
    Check(check::Args),
    /// Matches filters against events, both from files
    Match(match_events::Args),
    /// Sends events to a Kafka topic
    Generate(generate::Args),
    /// Runs everything in one process, with events to look at
    Demo(demo::Args),
}

/// Parses the process's arguments, does what they ask and gives the exit code.
pub fn run() -> ExitCode {
    // TLS by `ring`. Fails only if a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match dispatch() {
        Ok(code) => code,
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> anyhow::Result<ExitCode> {
    #[cfg(feature = "kubectl")]
    if kubectl::is_called() {
        return kubectl::run();
    }
    match Cli::parse().command {
        Command::Tail(args) => tail::run(args),
        Command::Check(args) => check::run(&args),
        Command::Match(args) => match_events::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Demo(args) => demo::run(args),
    }
}

/// Whether standard output was closed by its reader, as `head` does.
///
/// Commands that talk to the network turn that side's errors into their own, so a broken pipe
/// that arrives here is one of standard output.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_a_broken_pipe_ends_quietly() {
        let broken = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(reader_is_gone(&broken.context("writing")));
        assert!(!reader_is_gone(&anyhow::anyhow!("broken pipe")));
    }
}
