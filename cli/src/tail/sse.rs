//! The door for server-sent events: `GET /api/v1/live`.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::Response;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use super::door::{Failure, Incoming, Request, rejection};
use super::follow::Door;

/// How long the connection and the answer may take: a server needs up to 10 s to say that it
/// cannot register a query.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// A server says something each second; one that is silent for so long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// Longest line, in bytes.
const MAX_LINE_BYTES: usize = 16 << 20;
/// Of an answer that is no stream, so many bytes are looked at.
const MAX_PROBLEM_BYTES: usize = 64 << 10;

/// Hands on what arrives.
///
/// # Errors
/// Why it is over: always.
pub(super) async fn session(request: &Request, door: &mut Door<'_>) -> Result<Infallible, Failure> {
    let opened = tokio::select! {
        () = door.stopped() => return Err(Failure::Stopped),
        opened = timeout(OPEN_LIMIT, open(request)) => opened,
    };
    let response =
        opened.map_err(|_| Failure::Unreachable(String::from("no answer in time")))??;
    door.opened().await;
    let bytes = StreamReader::new(response.bytes_stream().map_err(io::Error::other));
    let mut lines = FramedRead::new(bytes, LinesCodec::new_with_max_length(MAX_LINE_BYTES));
    let mut message = Message::default();
    loop {
        let line = tokio::select! {
            () = door.stopped() => return Err(Failure::Stopped),
            line = timeout(SILENCE_LIMIT, lines.next()) => line,
        };
        let line = match line {
            Ok(Some(Ok(line))) => line,
            Ok(Some(Err(error))) => return Err(Failure::Lost(error.to_string())),
            Ok(None) => return Err(Failure::Lost(String::from("the server closed the stream"))),
            Err(_) => return Err(Failure::Lost(String::from("the server fell silent"))),
        };
        if let Some(incoming) = message.line(&line) {
            door.room().await?.hand_on(incoming)?;
        }
    }
}

async fn open(request: &Request) -> Result<Response, Failure> {
    let mut address = request.address("api/v1/live");
    address
        .query_pairs_mut()
        .extend_pairs(request.parameters())
        .extend_pairs(request.query.iter().map(|query| ("query", query)));
    let client = reqwest::Client::builder()
        .build()
        .map_err(|error| Failure::Rejected(format!("{:#}", anyhow::Error::from(error))))?;
    let response = client
        .get(address)
        .header(ACCEPT, "text/event-stream")
        .headers(request.headers.iter().cloned().collect())
        .send()
        .await
        // The address holds the whole filter, which nobody wants to read again.
        .map_err(|error| {
            Failure::Unreachable(format!("{:#}", anyhow::Error::from(error.without_url())))
        })?;
    let status = response.status();
    if !status.is_success() {
        let body = problem(response).await;
        return Err(rejection(status.as_u16(), &body));
    }
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"text/event-stream")) {
        let text = "the address answers, but not with a stream of events";
        return Err(Failure::Rejected(String::from(text)));
    }
    Ok(response)
}

/// The start of an answer's body; less of it when the connection breaks.
async fn problem(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_PROBLEM_BYTES {
            break;
        }
    }
    body
}

/// A message of the stream, as far as it has arrived.
#[derive(Default)]
struct Message {
    event: String,
    id: String,
    data: Vec<u8>,
}

impl Message {
    /// Takes the next line; gives what is complete by it.
    ///
    /// Other fields than `event`, `id` and `data` are passed over, as the standard says, and
    /// so are events of other names than `status`.
    fn line(&mut self, line: &str) -> Option<Incoming> {
        if line.is_empty() {
            let Message {
                event,
                id,
                mut data,
            } = std::mem::take(self);
            // The line break after the last line of data.
            data.pop()?;
            return match event.as_str() {
                "" if data == b"null" => Some(Incoming::too_large(&id)),
                "" => Some(Incoming::Event(Bytes::from(data))),
                "status" => Some(Incoming::Status(Bytes::from(data))),
                _ => None,
            };
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "id" => value.clone_into(&mut self.id),
            "data" if self.data.len() + value.len() <= MAX_LINE_BYTES => {
                self.data.extend_from_slice(value.as_bytes());
                self.data.push(b'\n');
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives, as `event` or `status` and the text.
    fn read(stream: &str) -> Vec<(&'static str, String)> {
        let mut message = Message::default();
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        stream
            .lines()
            .filter_map(|line| message.line(line))
            .map(|incoming| match incoming {
                Incoming::Event(bytes) => ("event", text(bytes)),
                Incoming::Status(bytes) => ("status", text(bytes)),
            })
            .collect()
    }

    #[test]
    fn matches_and_statuses_are_told_apart() {
        let stream = "event: status\ndata: {\"status\":\"live\"}\n\n: hello\n\nid: t/0/7\ndata: {\"a\":1}\n\n";
        let expected = [("status", "{\"status\":\"live\"}"), ("event", "{\"a\":1}")];
        assert_eq!(
            read(stream),
            expected.map(|(kind, text)| (kind, text.to_owned()))
        );
    }

    #[test]
    fn data_of_several_lines_is_one_message() {
        assert_eq!(
            read("data: {\ndata:}\n\n"),
            [("event", String::from("{\n}"))]
        );
    }

    #[test]
    fn what_the_standard_passes_over_is_passed_over() {
        assert!(read("retry: 5\nid: 1\n\nevent: other\ndata: x\n\ndata").is_empty());
    }

    #[test]
    fn an_event_that_did_not_fit_is_a_status() {
        let status = String::from(r#"{"status":"too-large","source":"t/0/7"}"#);
        assert_eq!(read("id: t/0/7\ndata: null\n\n"), [("status", status)]);
    }
}
