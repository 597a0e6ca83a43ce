//! A real Kafka and a real PostgreSQL for as long as one likes: prints where they are, ends them with Ctrl-C.
//! Their data goes with them.

use anyhow::Result;
use clickstream_testkit::kafka::Kafka;
use clickstream_testkit::postgres::Postgres;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, Postgres::start().await?);
    println!("BROKERS={}", kafka.brokers());
    println!("DATABASE_URL={}", postgres.create_database().await?);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
