//! `clickstream demo`: one process, no services.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clickstream_e2e::{SOON, alone};
use clickstream_testkit::port;
use clickstream_testkit::process::{Process, built, http};
use clickstream_testkit::viewer::{Door, Viewer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_serves_the_page_and_events() -> Result<()> {
    let _alone = alone().await;
    let folder = tempfile::tempdir()?;
    let port = port::free()?.port();
    let mut command = std::process::Command::new(built("clickstream")?);
    command
        .args(["demo", "--rate", "1000", "--port", &port.to_string()])
        .env_remove("BROKERS")
        .env_remove("DATABASE_URL");
    let mut demo = Process::start("demo", command, &folder.path().join("log"))?;
    let url = format!("http://127.0.0.1:{port}");
    let ready = async || match http()?.get(format!("{url}/readyz")).send().await {
        Ok(answer) => Ok(answer.status().is_success()),
        Err(_) => Ok(false),
    };
    let seconds = clickstream_e2e::until("the demo is ready", SOON, ready)
        .await
        .with_context(|| demo.log_tail(20))?;
    println!(
        "ready after {seconds:.1} s; it prints:\n{}",
        demo.log_tail(20)
    );
    ensure!(
        demo.log_tail(20).contains(&url),
        "the address is not printed"
    );
    let page = http()?
        .get(&url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?;
    ensure!(
        page.contains("<title>") && page.contains("<script"),
        "no page: {page}"
    );

    let purchases = Viewer::open(
        "purchases",
        &url,
        Door::SockJs,
        &[("filter", r#"event.type == "purchase""#)],
    )
    .await?;
    purchases.live(SOON).await?;
    purchases
        .until("five purchases", SOON, |log| log.events.len() >= 5)
        .await?;
    for seen in &purchases.log().events {
        let event: serde_json::Value = serde_json::from_slice(&seen.body)?;
        ensure!(event["type"] == "purchase", "{event}");
    }
    demo.signal(clickstream_testkit::process::Signal::Term)?;
    let status = demo.wait(Duration::from_secs(30))?;
    ensure!(
        status.success(),
        "the demo ended with {status}: {}",
        demo.log_tail(20)
    );
    Ok(())
}
