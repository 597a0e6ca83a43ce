//! What every door of a server has in common: what is asked, what comes back, and what its
//! refusals mean.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::Transport;
use crate::refusal::Refusal;

/// What is asked of the server, at every connection anew.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) url: Url,
    pub(super) transport: Transport,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) filter: Option<String>,
    pub(super) event_types: Option<String>,
    /// `<namespace>/<name>`
    pub(super) query: Option<String>,
    pub(super) fields: Option<String>,
    pub(super) rate: Option<u32>,
    pub(super) ttl: Option<Duration>,
}

impl Request {
    /// The address of `path` below the one that was given.
    pub(super) fn address(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path().trim_end_matches('/')));
        url.set_query(None);
        url.set_fragment(None);
        url
    }

    /// What is asked, but for a standing query: headers of SUBSCRIBE and parameters of the
    /// SSE door alike.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let seconds = self.ttl.map(|ttl| ttl.as_secs().to_string());
        [
            ("filter", self.filter.clone()),
            ("event-types", self.event_types.clone()),
            ("fields", self.fields.clone()),
            ("rate", self.rate.map(|rate| rate.to_string())),
            ("ttl", seconds),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

/// What arrives.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A JSON object, as it came.
    Event(Bytes),
    /// A JSON object with a member `status`: the server's, or this program's own.
    Status(Bytes),
}

impl Incoming {
    /// A match whose event did not fit the way to the viewer: only its place is known.
    pub(super) fn too_large(source: &str) -> Incoming {
        Status::TooLarge { source }.into()
    }
}

/// What this program itself says among the server's status messages.
#[derive(Serialize)]
#[serde(
    tag = "status",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub(super) enum Status<'a> {
    /// The server cannot be reached, or was lost.
    Reconnecting {
        error: &'a str,
        retry_in_seconds: f64,
    },
    /// It is there again.
    Reconnected {
        after_seconds: f64,
        message: &'a str,
    },
    /// See [`Incoming::too_large`].
    TooLarge {
        /// `<topic>/<partition>/<offset>`
        source: &'a str,
    },
}

impl From<Status<'_>> for Incoming {
    fn from(status: Status<'_>) -> Incoming {
        // Strings and finite numbers: there is nothing that JSON could refuse.
        Incoming::Status(serde_json::to_vec(&status).unwrap_or_default().into())
    }
}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was told to end, or nobody listens any more.
    Stopped,
    /// It never came to be.
    Unreachable(String),
    /// It was there, and another may be soon.
    Lost(String),
    /// The same request will not be served at a later time either.
    Rejected(String),
    /// What was asked for is wrong.
    Refused(Refusal),
    /// The subscription's time to live is over.
    Expired,
}

/// A problem object (RFC 9457), as far as it decides what to do.
#[derive(Deserialize)]
struct Problem {
    status: u16,
    #[serde(flatten)]
    refusal: Refusal,
}

/// What an answer means whose HTTP status is not 2xx. If its body is a problem object, a server
/// of ours wrote it; otherwise something on the way may have.
pub(super) fn rejection(status: u16, body: &[u8]) -> Failure {
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        return problem.into();
    }
    let text = format!("the server answers with HTTP status {status}");
    match status {
        408 | 425 | 429 | 500.. => Failure::Unreachable(text),
        _ => Failure::Rejected(text),
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        match problem.status {
            400 | 422 => Failure::Refused(problem.refusal),
            408 | 425 | 429 | 500.. => Failure::Lost(problem.refusal.to_string()),
            _ => Failure::Rejected(problem.refusal.to_string()),
        }
    }
}

/// Whether a status message ends the subscription, and what follows from that.
pub(super) fn ending(status: &[u8]) -> Option<Failure> {
    #[derive(Deserialize)]
    struct Status {
        status: String,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        message: String,
        error: Option<Problem>,
    }
    let ended: Status = serde_json::from_slice(status).ok()?;
    if ended.status != "ended" {
        return None;
    }
    let message = format!("the server ended it ({}): {}", ended.reason, ended.message);
    Some(match (ended.reason.as_str(), ended.error) {
        ("refused", Some(problem)) => problem.into(),
        ("expired", _) => Failure::Expired,
        ("refused" | "deleted" | "suspended", _) => Failure::Rejected(message),
        // `draining`, `slow`, and what later servers may say.
        _ => Failure::Lost(message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        Request {
            url: Url::parse(url).unwrap(),
            transport: Transport::Stomp,
            headers: Vec::new(),
            filter: Some(String::from("a && b")),
            event_types: None,
            query: None,
            fields: None,
            rate: Some(0),
            ttl: Some(Duration::from_secs(90)),
        }
    }

    #[test]
    fn paths_are_below_the_given_address() {
        for (url, address) in [
            ("http://h:1", "http://h:1/stomp"),
            ("http://h:1/", "http://h:1/stomp"),
            ("https://h/click/?x=1#y", "https://h/click/stomp"),
        ] {
            assert_eq!(request(url).address("stomp").as_str(), address);
        }
    }

    #[test]
    fn only_what_was_asked_is_a_parameter() {
        let expected = [("filter", "a && b"), ("rate", "0"), ("ttl", "90")];
        let expected = expected.map(|(name, value)| (name, value.to_owned()));
        assert_eq!(request("http://h").parameters(), expected);
    }

    #[test]
    fn the_reason_of_an_end_decides_what_follows() {
        let ended = |reason: &str| {
            ending(format!(r#"{{"status":"ended","reason":"{reason}","message":"m"}}"#).as_bytes())
        };
        assert!(matches!(ended("expired"), Some(Failure::Expired)));
        assert!(matches!(ended("draining"), Some(Failure::Lost(_))));
        assert!(matches!(ended("slow"), Some(Failure::Lost(_))));
        assert!(matches!(ended("deleted"), Some(Failure::Rejected(_))));
        assert!(ending(br#"{"status":"live","at":"x"}"#).is_none());
        assert!(ending(b"not json").is_none());
    }

    #[test]
    fn a_refusal_is_told_from_what_may_pass() {
        let refused = |status: u16| {
            let error = format!(r#"{{"status":{status},"title":"t","detail":"d"}}"#);
            let ended = format!(r#"{{"status":"ended","reason":"refused","error":{error}}}"#);
            let by_status = ending(ended.as_bytes()).unwrap();
            let by_http = rejection(status, error.as_bytes());
            assert_eq!(
                std::mem::discriminant(&by_status),
                std::mem::discriminant(&by_http)
            );
            by_http
        };
        assert!(matches!(refused(422), Failure::Refused(_)));
        assert!(matches!(refused(400), Failure::Refused(_)));
        assert!(matches!(refused(503), Failure::Lost(_)));
        assert!(matches!(refused(404), Failure::Rejected(_)));
        assert!(matches!(rejection(502, b"<html>"), Failure::Unreachable(_)));
        assert!(matches!(rejection(404, b""), Failure::Rejected(_)));
    }
}
