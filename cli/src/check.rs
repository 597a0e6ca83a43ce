//! `check`: is this a filter, and what is its canonical form?

use std::io::Write as _;
use std::process::ExitCode;

use clickstream_engine::Filter;

use crate::refusal::Refusal;

/// What `check` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The filter, in CEL: event.type == "purchase" && event.price > 100
    #[arg(allow_hyphen_values = true)]
    filter: String,
}

/// Prints the canonical form and gives 0, or says what is wrong and gives 2.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match Filter::parse(&args.filter) {
        Ok(filter) => {
            writeln!(std::io::stdout(), "{}", filter.canonical())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Ok(Refusal::from(error).report("filter refused")),
    }
}
