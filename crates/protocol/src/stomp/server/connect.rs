//! What a CONNECT frame and the server agree on.

use std::time::Duration;

use super::Settings;
use crate::stomp::{Headers, Version};

/// The outcome of a good CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) version: Version,
    /// The server sends something at least this often.
    pub(super) send_every: Option<Duration>,
    /// The client does.
    pub(super) receive_every: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// None of the client's versions is spoken here.
    Version,
    /// `heart-beat` is not two numbers of milliseconds.
    HeartBeat,
}

/// `sub_protocol`: what the WebSocket handshake settled; no other version may
/// be spoken there.
pub(super) fn agree(
    headers: &Headers,
    sub_protocol: Option<Version>,
    settings: &Settings,
) -> Result<Agreed, Refused> {
    // A client that does not say is one of 1.0.
    let accepted = headers.get("accept-version").unwrap_or("1.0");
    let version = spoken(sub_protocol)
        .find(|v| accepted.split(',').any(|a| a.trim() == v.as_str()))
        .ok_or(Refused::Version)?;
    let (can_send, wants) = match headers.get("heart-beat") {
        // 1.0 has no heart-beats.
        Some(text) if version > Version::V1_0 => parse(text).ok_or(Refused::HeartBeat)?,
        _ => (Duration::ZERO, Duration::ZERO),
    };
    Ok(Agreed {
        version,
        send_every: interval(settings.send_every, wants),
        receive_every: interval(settings.receive_every, can_send),
    })
}

/// The versions on offer, the preferred one first.
pub(super) fn spoken(sub_protocol: Option<Version>) -> impl Iterator<Item = Version> {
    Version::ALL
        .into_iter()
        .filter(move |v| sub_protocol.is_none_or(|only| only == *v))
}

/// None when one of the two does not take part, else the slower one's.
fn interval(ours: Duration, theirs: Duration) -> Option<Duration> {
    (!ours.is_zero() && !theirs.is_zero()).then(|| ours.max(theirs))
}

fn parse(text: &str) -> Option<(Duration, Duration)> {
    let (sends, wants) = text.split_once(',')?;
    // Four bytes hold 49 days.
    let millis = |text: &str| text.trim().parse::<u32>().ok();
    Some((
        Duration::from_millis(millis(sends)?.into()),
        Duration::from_millis(millis(wants)?.into()),
    ))
}
