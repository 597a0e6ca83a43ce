//! From SUBSCRIBE to `live`, while events flow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clickstream_e2e::pipeline::{Pipeline, Setup};
use clickstream_testkit::stomp::{Carrier, Client, Frame};

use crate::latency::live;
use crate::load::{self, Acknowledged};
use crate::{Services, percentile};

const SAMPLES: usize = 200;

const RATE: usize = 1_000;

/// Below what one connection may have.
const PER_CONNECTION: usize = 100;

/// Prints a row per number of other queries.
pub(crate) async fn print(services: &Services) -> Result<()> {
    println!("SUBSCRIBE -> `live`, at {RATE} events/s\n");
    println!("| other queries | p50 ms | p99 ms | most ms |\n|---|---|---|---|");
    let database = services.postgres.create_database().await?;
    let setup = Setup {
        workers: 1,
        handlers: 1,
        ..Setup::default()
    };
    let pipeline = Pipeline::start(&services.kafka, &database, setup).await?;
    let url = pipeline.handlers[0].url();
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (config, topic, stop) = (
            services.kafka.client(),
            pipeline.source.clone(),
            Arc::clone(&stop),
        );
        tokio::task::spawn_blocking(move || -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                load::send(
                    &config,
                    &topic,
                    RATE,
                    RATE,
                    Acknowledged::new(RATE),
                    &load::event,
                )?;
            }
            Ok(())
        })
    };
    for others in [0, 1_000] {
        let mut crowd = Vec::new();
        for first in (0..others).step_by(PER_CONNECTION) {
            let mut client = Client::connect(&url, Carrier::WebSocket).await?;
            for query in first..first + PER_CONNECTION {
                client
                    .send(&subscribe(
                        &format!("event.price == {query}.5 && event.bucket == 101"),
                        query,
                    ))
                    .await?;
                live(&mut client).await?;
            }
            // Reads what comes, so that nothing is left out for slowness.
            crowd.push(tokio::spawn(async move {
                while let Ok(Some(_)) = client.recv().await {}
            }));
        }
        let mut client = Client::connect(&url, Carrier::WebSocket).await?;
        let mut times = Vec::new();
        for sample in 0..SAMPLES {
            let start = Instant::now();
            client
                .send(&subscribe(&format!("event.n == -{}", sample + 1), sample))
                .await?;
            live(&mut client).await?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            client
                .send(&Frame::new("UNSUBSCRIBE").with("id", &sample.to_string()))
                .await?;
            // People do not come one right after the other, nor in step with the second.
            tokio::time::sleep(Duration::from_millis(37)).await;
        }
        times.sort_by(f64::total_cmp);
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| percentile(&times, share));
        println!("| {others} | {p50:.1} | {p99:.1} | {most:.1} |");
        crowd.iter().for_each(tokio::task::JoinHandle::abort);
    }
    println!();
    stop.store(true, Ordering::Relaxed);
    load.await??;
    pipeline.stop()
}

fn subscribe(filter: &str, id: usize) -> Frame {
    let frame = Frame::new("SUBSCRIBE")
        .with("id", &id.to_string())
        .with("destination", "/live");
    frame.with("filter", filter).with("rate", "0")
}
