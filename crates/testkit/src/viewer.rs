//! A viewer: one subscription over one of the doors, which keeps everything that it was sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::stomp::{Carrier, Client, Frame};

/// The way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// STOMP on a WebSocket.
    Stomp,
    /// STOMP on SockJS's WebSocket transport.
    SockJs,
    /// `GET /api/v1/live`.
    Sse,
}

/// An event as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `<topic>/<partition>/<offset>`.
    pub source: String,
    /// The body.
    pub body: Bytes,
    /// When it came.
    pub at: Instant,
}

impl Seen {
    /// The field `event_id` of the body.
    ///
    /// # Errors
    /// When the body is no JSON object with that field as text.
    pub fn event_id(&self) -> Result<String> {
        let event: Value = serde_json::from_slice(&self.body)?;
        let id = event.get("event_id").and_then(Value::as_str);
        Ok(id
            .with_context(|| format!("no `event_id` in {event}"))?
            .to_owned())
    }

    /// The source's partition.
    ///
    /// # Errors
    /// When the source is not of the form `<topic>/<partition>/<offset>`.
    pub fn partition(&self) -> Result<i32> {
        let partition = self
            .source
            .rsplit('/')
            .nth(1)
            .and_then(|text| text.parse().ok());
        partition.with_context(|| format!("no partition in `{}`", self.source))
    }
}

/// Everything that a viewer was sent.
#[derive(Debug, Default)]
pub struct Log {
    /// Events in the order they came.
    pub events: Vec<Seen>,
    /// Status messages, parsed, in the order they came.
    pub statuses: Vec<Value>,
    /// The ERROR frame, or the body of a refused request.
    pub error: Option<String>,
    /// Set when nothing more can come: why.
    pub ended: Option<String>,
}

impl Log {
    /// The last status message of that name.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<&Value> {
        self.statuses
            .iter()
            .rev()
            .find(|status| status["status"] == name)
    }

    /// A number of the last `progress`, by JSON pointer; 0 before the first.
    #[must_use]
    pub fn progress(&self, pointer: &str) -> u64 {
        self.status("progress")
            .and_then(|status| status.pointer(pointer))
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }
}

/// A running subscription. Dropping it breaks the connection; [`Viewer::close`] ends it cleanly.
#[derive(Debug)]
pub struct Viewer {
    name: String,
    log: Arc<Mutex<Log>>,
    close: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Viewer {
    /// Subscribes at `url` (`http://host:port`) with the SUBSCRIBE headers `options` on top of destination and id; a
    /// `destination` among them replaces `/live`. Over SSE they are the request's parameters.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn open(
        name: &str,
        url: &str,
        door: Door,
        options: &[(&str, &str)],
    ) -> Result<Viewer> {
        let log = Arc::new(Mutex::new(Log::default()));
        let (close, closing) = oneshot::channel();
        let task = match door {
            Door::Stomp | Door::SockJs => {
                let carrier = if door == Door::Stomp {
                    Carrier::WebSocket
                } else {
                    Carrier::SockJs
                };
                let mut client = Client::connect(url, carrier).await?;
                let mut subscribe = Frame::new("SUBSCRIBE").with("id", "0");
                if !options.iter().any(|(name, _)| *name == "destination") {
                    subscribe = subscribe.with("destination", "/live");
                }
                let subscribe = options
                    .iter()
                    .fold(subscribe, |frame, (name, value)| frame.with(name, value));
                client.send(&subscribe).await?;
                tokio::spawn(watch_stomp(client, Arc::clone(&log), closing))
            }
            Door::Sse => {
                let client = reqwest_client()?;
                let answer = client
                    .get(format!("{url}/api/v1/live"))
                    .query(options)
                    .send()
                    .await?;
                tokio::spawn(watch_sse(answer, Arc::clone(&log), closing))
            }
        };
        Ok(Viewer {
            name: name.to_owned(),
            log,
            close: Some(close),
            task,
        })
    }

    /// The name given at its start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it has been sent so far.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// When it does not hold after `limit`, or nothing more can come; with what was sent last.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&Log) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            {
                let log = self.log();
                if condition(&log) {
                    return Ok(());
                }
                if log.ended.is_some() || Instant::now() > end {
                    bail!(
                        "viewer {} waited {limit:?} for {what}: {} events, last status {:?}, error {:?}, ended {:?}",
                        self.name,
                        log.events.len(),
                        log.statuses.last().map(Value::to_string),
                        log.error,
                        log.ended
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for `live`.
    ///
    /// # Errors
    /// As [`Viewer::until`].
    pub async fn live(&self, limit: Duration) -> Result<()> {
        self.until("`live`", limit, |log| log.status("live").is_some())
            .await
    }

    /// Ends it cleanly (UNSUBSCRIBE and DISCONNECT with its receipt, then the close of the WebSocket; an SSE request
    /// is dropped) and waits for that.
    ///
    /// # Errors
    /// When the server does not let go within 10 s.
    pub async fn close(&mut self) -> Result<()> {
        if let Some(close) = self.close.take() {
            let _ = close.send(());
        }
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, &mut self.task)
            .await
            .with_context(|| format!("{} does not close", self.name))??;
        Ok(())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch_stomp(mut client: Client, log: Arc<Mutex<Log>>, mut closing: oneshot::Receiver<()>) {
    let ended = loop {
        let next = tokio::select! {
            next = client.recv() => next,
            _ = &mut closing => break leave(&mut client).await.map_or_else(|err| format!("{err:#}"), |()| "closed".to_owned()),
        };
        match next {
            Ok(Some(frame)) => record(&log, frame),
            Ok(None) => break format!("closed by the server: {:?}", client.closed()),
            Err(err) => break format!("{err:#}"),
        }
    };
    lock(&log).ended = Some(ended);
}

/// DISCONNECT's receipt says that the server has dealt with all before it. What still comes is not kept.
async fn leave(client: &mut Client) -> Result<()> {
    client
        .send(&Frame::new("UNSUBSCRIBE").with("id", "0"))
        .await?;
    client
        .send(&Frame::new("DISCONNECT").with("receipt", "bye"))
        .await?;
    while let Some(frame) = client.recv().await? {
        if frame.header("receipt-id") == Some("bye") {
            break;
        }
    }
    // The server may have closed first.
    let _ = client.close().await;
    while let Ok(Some(_)) = client.recv().await {}
    Ok(())
}

fn record(log: &Mutex<Log>, frame: Frame) {
    let mut log = lock(log);
    if frame.command == "ERROR" {
        let message = frame.header("message").unwrap_or_default();
        log.error = Some(format!(
            "{message}\n{}",
            String::from_utf8_lossy(&frame.body)
        ));
    } else if frame.command != "MESSAGE" {
        log.error = Some(format!("unexpected frame {frame:?}"));
    } else if frame.header("status").is_some() {
        match frame.json() {
            Ok(status) => log.statuses.push(status),
            Err(err) => log.error = Some(format!("{err:#}")),
        }
    } else {
        let source = frame.header("source").unwrap_or_default().to_owned();
        log.events.push(Seen {
            source,
            body: frame.body,
            at: Instant::now(),
        });
    }
}

fn reqwest_client() -> Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

async fn watch_sse(
    answer: reqwest::Response,
    log: Arc<Mutex<Log>>,
    mut closing: oneshot::Receiver<()>,
) {
    let status = answer.status();
    if !status.is_success() {
        let body = answer.text().await.unwrap_or_default();
        let mut log = lock(&log);
        log.error = Some(body);
        log.ended = Some(status.to_string());
        return;
    }
    let mut stream = answer.bytes_stream();
    let mut buffer: Vec<u8> = Vec::new();
    let ended = loop {
        let next = tokio::select! {
            next = stream.next() => next,
            _ = &mut closing => break "closed".to_owned(),
        };
        match next {
            Some(Ok(bytes)) => buffer.extend_from_slice(&bytes),
            Some(Err(err)) => break format!("{err:#}"),
            None => break "closed by the server".to_owned(),
        }
        let mut done = 0;
        while let Some(length) = buffer[done..].windows(2).position(|pair| pair == b"\n\n") {
            record_sse(&log, &String::from_utf8_lossy(&buffer[done..done + length]));
            done += length + 2;
        }
        buffer.drain(..done);
    };
    lock(&log).ended = Some(ended);
}

fn record_sse(log: &Mutex<Log>, block: &str) {
    let (mut kind, mut id, mut data) = ("", "", Vec::new());
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => kind = value,
            "id" => id = value,
            "data" => data.push(value),
            _ => {}
        }
    }
    if data.is_empty() {
        return;
    }
    let data = data.join("\n");
    let mut log = lock(log);
    match kind {
        "" => log.events.push(Seen {
            source: id.to_owned(),
            body: data.into(),
            at: Instant::now(),
        }),
        "status" => match serde_json::from_str(&data) {
            Ok(status) => log.statuses.push(status),
            Err(err) => log.error = Some(format!("{err:#}: {data}")),
        },
        other => log.error = Some(format!("unexpected event `{other}`: {data}")),
    }
}
