//! Prints what the whole path costs on this machine, on real Kafka and PostgreSQL. Times are printed, never judged:
//! producer, Kafka, PostgreSQL, programs and viewers share its cores.
//!
//! `clickstream-bench [latency] [subscribe] [throughput] [operator]`: all four when none is named.

mod latency;
mod load;
mod operator;
mod subscribe;
mod throughput;

use anyhow::Result;
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::postgres::Postgres;

/// The services that all measurements share.
struct Services {
    kafka: Kafka,
    postgres: Postgres,
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores, {} build\n",
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
    );
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let wants = |part: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == part);
    let services = Services {
        kafka: Kafka::start()?,
        postgres: Postgres::start().await?,
    };
    if wants("latency") {
        latency::print(&services).await?;
    }
    if wants("subscribe") {
        subscribe::print(&services).await?;
    }
    if wants("throughput") {
        throughput::print(&services).await?;
    }
    if wants("operator") {
        operator::print(&services).await?;
    }
    Ok(())
}

/// The value below which `share` of the sorted `values` lie.
fn percentile(values: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below the length"
    )]
    let index = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}
