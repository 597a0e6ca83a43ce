//! STOMP 1.0, 1.1 and 1.2.
//!
//! [`Decoder`] turns bytes, cut anywhere, into [`Frame`]s; [`encode()`] writes
//! them. [`server::Session`] is the server's side of a connection as a state
//! machine. The frame layer serves clients too.

mod decode;
mod encode;
mod frame;
mod limits;
pub mod server;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use decode::{DecodeError, Decoder};
pub use encode::encode;
pub use frame::{Frame, Headers};
pub use limits::Limits;

/// A version of the protocol. Later versions are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// No heart-beats, no escaping, `id` optional on SUBSCRIBE.
    V1_0,
    /// Heart-beats, NACK, escapes `\n`, `\c`, `\\`.
    V1_1,
    /// CR LF line ends, the escape `\r`, `ack` headers.
    V1_2,
}

impl Version {
    /// Every version, the preferred one first.
    pub const ALL: [Version; 3] = [Version::V1_2, Version::V1_1, Version::V1_0];

    /// As in `accept-version` and `version` headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1_0 => "1.0",
            Version::V1_1 => "1.1",
            Version::V1_2 => "1.2",
        }
    }

    /// The registered WebSocket sub-protocol, e.g. `v12.stomp`.
    #[must_use]
    pub fn sub_protocol(self) -> &'static str {
        match self {
            Version::V1_0 => "v10.stomp",
            Version::V1_1 => "v11.stomp",
            Version::V1_2 => "v12.stomp",
        }
    }

    /// The version that a WebSocket sub-protocol stands for.
    #[must_use]
    pub fn from_sub_protocol(name: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|v| v.sub_protocol() == name)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a version of STOMP known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown STOMP version")]
pub struct UnknownVersion;

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Version, UnknownVersion> {
        Version::ALL
            .into_iter()
            .find(|v| v.as_str() == text)
            .ok_or(UnknownVersion)
    }
}
