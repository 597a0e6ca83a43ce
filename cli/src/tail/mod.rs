//! `tail`: the events that match, one per line, as they happen.
//!
//! Three tasks of the work have a file each: [`door`] is what the doors of a server have in
//! common, [`stomp`] and [`sse`] speak with one, [`follow`] connects again whenever one is lost.
//! What they receive comes here through a bounded channel, so that a reader of standard output
//! that is slow makes the server's queue for this viewer fill, and heart-beats go on meanwhile.

mod door;
mod follow;
mod sse;
mod stomp;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use clickstream_telemetry::shutdown_signal;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use door::{Incoming, Request};
use follow::Outcome;

/// Events and status messages between the connection and standard output.
const QUEUE: usize = 1_000;
/// How long a server has to acknowledge the end.
const GOODBYE_LIMIT: Duration = Duration::from_secs(3);

/// What `tail` is told: which events, and how to show them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Events go to standard output, status messages as JSON lines to standard error.
Exit codes: 0 the count was reached, or time is up and no count was given; 1 the server cannot be
reached within 10 s; 2 the filter was refused; 3 time was up before the count.
A connection that is lost is made again; the events of the time between are not shown.")]
pub(crate) struct Args {
    /// Address of a handler, as http://HOST:PORT or https://HOST
    #[arg(long, env = "CLICKSTREAM_URL", hide_env_values = true, value_parser = parse_url)]
    url: Url,
    /// Which events, in CEL: event.type == "purchase" && event.price > 100
    /// [default: all]
    #[arg(long)]
    filter: Option<String>,
    /// Only events of these types, comma separated
    #[arg(long, value_name = "A,B")]
    event_types: Option<String>,
    /// Follow this standing query
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_query,
          conflicts_with_all = ["filter", "event_types"])]
    query: Option<String>,
    #[command(flatten)]
    view: View,
}

/// How the events are to be shown.
#[derive(Debug, clap::Args)]
pub(crate) struct View {
    /// Show only these fields of an event, comma separated paths
    #[arg(long, value_name = "a,b.c")]
    fields: Option<String>,
    /// Most events per second, 0 for no limit; what is over it is counted as left out
    /// [default: the server's, 100]
    #[arg(long)]
    rate: Option<u32>,
    /// End after so much time even if the server would allow more: 90s, 8h
    #[arg(long, value_name = "DURATION", value_parser = parse_time)]
    ttl: Option<Duration>,
    /// End after this many events
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time, counted from the start: 30s, 5m. With --count, exit code 3 says
    /// that it came first [default: none]
    #[arg(long, value_name = "DURATION", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// How to talk with the server
    #[arg(long, value_enum, default_value_t = Transport::Stomp)]
    transport: Transport,
    /// Header to add to the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The doors of a server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Transport {
    /// STOMP over WebSocket
    Stomp,
    /// STOMP over SockJS's WebSocket transport
    Sockjs,
    /// Server-sent events
    Sse,
}

/// Prints events until something ends it; the exit code says what did.
///
/// # Errors
/// When the server cannot be reached in time, or says that trying again is in vain.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    block_on(tail(args))
}

/// Follows the standing query `<namespace>/<name>` by the handlers at `url`.
///
/// # Errors
/// As [`run`].
pub(crate) async fn follow_standing(
    url: Url,
    query: String,
    view: View,
) -> anyhow::Result<ExitCode> {
    tail(Args {
        url,
        filter: None,
        event_types: None,
        query: Some(query),
        view,
    })
    .await
}

/// Runs what waits for a server.
///
/// # Errors
/// What it ends with.
pub(crate) fn block_on(
    work: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let result = runtime.block_on(work);
    // Whatever still waits for the network has had its time.
    runtime.shutdown_background();
    result
}

async fn tail(args: Args) -> anyhow::Result<ExitCode> {
    let view = args.view;
    let deadline = view.timeout.map(|timeout| Instant::now() + timeout);
    let stop = shutdown_signal().context("listening for signals")?;
    let request = Request {
        url: args.url,
        transport: view.transport,
        headers: view.headers,
        filter: args.filter,
        event_types: args.event_types,
        query: args.query,
        fields: view.fields,
        rate: view.rate,
        ttl: view.ttl,
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let following = tokio::spawn(follow::follow(request, sender, stop.clone()));
    let printed = print(receiver, view.count, deadline, &stop).await;
    // The end of `follow` tells the server, so that nothing is matched for nobody.
    stop.cancel();
    let outcome = match tokio::time::timeout(GOODBYE_LIMIT, following).await {
        Ok(outcome) => outcome.context("following the server")?,
        Err(_) => Outcome::Stopped { reached: true },
    };
    let complete = view
        .count
        .is_none_or(|count| printed.as_ref().is_ok_and(|n| *n == count));
    printed?;
    match outcome {
        Outcome::Stopped { reached: true } | Outcome::Expired if complete => Ok(ExitCode::SUCCESS),
        Outcome::Stopped { reached: true } | Outcome::Expired => Ok(ExitCode::from(3)),
        Outcome::Stopped { reached: false } => bail!("the server was not reached in time"),
        Outcome::Refused(refusal) => Ok(refusal.report("refused")),
        Outcome::Failed(reason) => bail!("{reason}"),
    }
}

/// Prints what arrives until `count` events are printed, time is up, it is told to stop, or
/// nothing more can come. Gives the number of events printed.
async fn print(
    mut incoming: mpsc::Receiver<Incoming>,
    count: Option<u64>,
    deadline: Option<Instant>,
    stop: &CancellationToken,
) -> io::Result<u64> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut printed = 0;
    let time_is_up = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time_is_up);
    while count != Some(printed) {
        let next = match incoming.try_recv() {
            Ok(next) => next,
            Err(mpsc::error::TryRecvError::Disconnected) => break,
            Err(mpsc::error::TryRecvError::Empty) => {
                out.flush()?;
                tokio::select! {
                    next = incoming.recv() => match next {
                        Some(next) => next,
                        None => break,
                    },
                    () = &mut time_is_up => break,
                    () = stop.cancelled() => break,
                }
            }
        };
        match next {
            Incoming::Event(event) => {
                write_line(&mut out, &event)?;
                printed += 1;
            }
            // Nobody may be reading; that is no reason to end.
            Incoming::Status(status) => drop(write_line(&mut io::stderr().lock(), &status)),
        }
    }
    out.flush()?;
    Ok(printed)
}

/// Writes JSON on one line. Inside its strings line breaks are always escaped, so every one
/// that stands plain is between tokens and may go.
fn write_line(out: &mut impl Write, json: &[u8]) -> io::Result<()> {
    for part in json.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.write_all(part)?;
    }
    out.write_all(b"\n")
}

fn parse_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(String::from(
            "write it as `http://HOST:PORT` or `https://HOST`",
        )),
    }
}

/// A time with its unit; a bare number counts seconds.
fn parse_time(text: &str) -> Result<Duration, humantime::DurationError> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    }
}

fn parse_query(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(text.to_owned())
        }
        _ => Err(String::from("write it as `NAMESPACE/NAME`")),
    }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `NAME:VALUE`")?;
    let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_on_one_line() {
        let mut out = Vec::new();
        write_line(&mut out, b"{\n  \"a\": \"x\\ny\",\r\n  \"b\": [1,\r2]\n}\n").unwrap();
        assert_eq!(out, b"{  \"a\": \"x\\ny\",  \"b\": [1,2]}\n");
    }

    #[test]
    fn addresses_need_a_scheme() {
        assert!(parse_url("http://127.0.0.1:8080").is_ok());
        assert!(parse_url("https://example.org/clickstream").is_ok());
        for wrong in [
            "127.0.0.1:8080",
            "localhost:8080",
            "ws://localhost",
            "",
            "http://",
        ] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h 1s", 3601), ("7", 7)] {
            assert_eq!(parse_time(text).unwrap(), Duration::from_secs(seconds));
        }
        for wrong in ["", "s", "-1s", "5 apples"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_and_queries_are_checked() {
        let (name, value) = parse_header("X-User: a:b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-user", "a:b"));
        for wrong in ["X-User", "a b:c", "a:\u{1}", ":"] {
            assert!(parse_header(wrong).is_err(), "{wrong}");
        }
        assert!(parse_query("shop/purchases").is_ok());
        for wrong in ["purchases", "/a", "a/", "a/b/c"] {
            assert!(parse_query(wrong).is_err(), "{wrong}");
        }
    }
}
