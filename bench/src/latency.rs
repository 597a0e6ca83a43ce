//! From Kafka's acknowledgement of an event to its frame at the viewer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_testkit::stomp::{Carrier, Client, Frame};

use crate::load::{self, Acknowledged};
use crate::{Services, percentile};

/// Viewers, each with a filter of its own that matches 1 %; together they see every event once.
const VIEWERS: usize = 100;

/// Not counted: until buffers, caches and connections are warm.
const WARM_UP: usize = 3;

/// Counted.
const SECONDS: usize = 15;

/// Prints a row per rate.
pub(crate) async fn print(services: &Services) -> Result<()> {
    println!("Kafka's acknowledgement -> frame at the viewer, {VIEWERS} queries of 1 % each\n");
    println!(
        "| events/s | p50 ms | p99 ms | most ms | frames | not seen |\n|---|---|---|---|---|---|"
    );
    for rate in [1_000, 20_000] {
        let (latencies, unseen) = measure(services, rate).await?;
        println!(
            "| {rate} | {:.1} | {:.1} | {:.1} | {} | {unseen} |",
            percentile(&latencies, 0.5),
            percentile(&latencies, 0.99),
            percentile(&latencies, 1.0),
            latencies.len()
        );
    }
    println!();
    Ok(())
}

async fn measure(services: &Services, rate: usize) -> Result<(Vec<f64>, usize)> {
    let database = services.postgres.create_database().await?;
    let setup = Setup {
        workers: 1,
        handlers: 1,
        ..Setup::default()
    };
    let pipeline = Pipeline::start(&services.kafka, &database, setup).await?;
    let url = pipeline.handlers[0].url();
    let total = rate * (WARM_UP + SECONDS);
    let acks = Acknowledged::new(total);
    let seen = Arc::new(AtomicUsize::new(0));

    let mut viewers = Vec::new();
    for bucket in 0..VIEWERS {
        let mut client = Client::connect(&url, Carrier::WebSocket).await?;
        let subscribe = Frame::new("SUBSCRIBE")
            .with("id", "0")
            .with("destination", "/live")
            .with("rate", "0");
        client
            .send(&subscribe.with("filter", &format!("event.bucket == {bucket}")))
            .await?;
        live(&mut client).await?;
        let seen = Arc::clone(&seen);
        viewers.push(tokio::spawn(async move {
            let mut arrivals: Vec<(usize, Instant)> = Vec::new();
            // A viewer is told its progress every second; silence means that all is over.
            while let Ok(Ok(Some(frame))) =
                tokio::time::timeout(Duration::from_secs(30), client.recv()).await
            {
                let now = Instant::now();
                if frame.header("source").is_some() {
                    arrivals.push((number(&frame)?, now));
                    if seen.fetch_add(1, Ordering::Relaxed) + 1 >= total {
                        break;
                    }
                } else if seen.load(Ordering::Relaxed) >= total {
                    break;
                }
            }
            anyhow::Ok(arrivals)
        }));
    }

    let (config, topic, sent) = (
        services.kafka.client(),
        pipeline.source.clone(),
        Arc::clone(&acks),
    );
    tokio::task::spawn_blocking(move || {
        load::send(&config, &topic, total, rate, sent, &load::event)
    })
    .await??;
    let limit = Instant::now() + Duration::from_secs(30);
    while seen.load(Ordering::Relaxed) < total && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let unseen = total.saturating_sub(seen.load(Ordering::Relaxed));
    // The viewers' loops end at the next status, or here when something is missing.
    seen.store(total, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for viewer in viewers {
        for (n, at) in viewer.await?? {
            if n >= rate * WARM_UP {
                latencies.push(
                    acks.milliseconds_until(n, at)
                        .context("a frame of an event that was not sent")?,
                );
            }
        }
    }
    latencies.sort_by(f64::total_cmp);
    pipeline.stop()?;
    Ok((latencies, unseen))
}

/// Reads until `live`.
pub(crate) async fn live(client: &mut Client) -> Result<()> {
    while let Some(frame) = client.recv().await? {
        match frame.header("status") {
            Some("live") => return Ok(()),
            _ if frame.command == "ERROR" => bail!("{frame:?}"),
            _ => {}
        }
    }
    bail!("closed before `live`: {:?}", client.closed())
}

/// `n` of an event: its first field.
fn number(frame: &Frame) -> Result<usize> {
    let text = std::str::from_utf8(&frame.body)?;
    let digits = text
        .strip_prefix("{\"n\":")
        .and_then(|rest| rest.split(',').next());
    Ok(digits
        .with_context(|| format!("another event: {text}"))?
        .parse()?)
}
