use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

/// Sends logs to standard error: readable lines on a terminal, JSON objects otherwise.
///
/// `RUST_LOG` chooses what is logged (`info` when it is not set). Only the first call in a
/// process counts, so that several programs can run in one.
pub fn init_logs() {
    init_logs_at("info");
}

/// As [`init_logs`], with another choice when `RUST_LOG` is not set: `warn` for a program whose
/// user reads something else.
pub fn init_logs_at(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    let _ = if stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
}
