//! The server's side of a connection, as a state machine.
//!
//! # Expected flow
//! 1. Make a [`Session`] when the connection opens.
//! 2. Pass in what arrives ([`Session::receive`]) and, when
//!    [`Session::deadline`] has passed, the time ([`Session::tick`]).
//! 3. Carry out the [`Action`]s in order. A [`Action::Subscribe`] is answered,
//!    at any later time, with [`Session::subscribed`] or [`Session::refuse`].
//! 4. Write messages with [`Session::message`] and tell each write that
//!    reached the connection by [`Session::sent`].
//! 5. [`Action::Close`] is the last one; everything later is ignored.
//!
//! # Guarantees
//! - Whatever arrives, memory stays bounded: by [`Limits`] for frames, by
//!   twice [`MAX_SUBSCRIPTIONS`] for subscriptions, ended ones included, and
//!   by the credit given for each for unacknowledged messages, when the caller
//!   keeps to it.
//! - A receipt is sent after its frame was processed: that of a SUBSCRIBE not
//!   before the caller says that it was registered.
//! - After ERROR the connection closes, as the protocol demands.
//!
//! # Assumptions
//! The server only delivers: SEND and transactions are refused. A negative
//! acknowledgement gives room in the window and nothing is sent again.

mod acks;
mod connect;
mod session;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;

pub use session::Session;

use super::{Headers, Limits};

/// Subscriptions that a connection may have at once. The first above is left
/// to the caller, who can refuse it in the way the client asked for, see
/// [`Session::active`]; one more while that is open ends the connection.
pub const MAX_SUBSCRIPTIONS: usize = 128;

/// What a server offers and bears; the same for all its connections.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `server` header: name, slash, version.
    pub server: String,
    /// How often the server can send a heart-beat; zero: never.
    pub send_every: Duration,
    /// How often the server wants a heart-beat; zero: never.
    pub receive_every: Duration,
    /// How long a connection may stay without CONNECT.
    pub connect_timeout: Duration,
    /// Of frames from the client.
    pub limits: Limits,
    /// Messages of a subscription that may wait for their acknowledgement:
    /// the credit that it starts with.
    pub window: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            server: concat!("clickstream/", env!("CARGO_PKG_VERSION")).to_owned(),
            send_every: Duration::from_secs(10),
            receive_every: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            limits: Limits::SERVER,
            window: 1_000,
        }
    }
}

/// What the holder of the connection is to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write one frame, or one heart-beat.
    Send(Bytes),
    /// Start a subscription, then answer.
    Subscribe(Subscribe),
    /// The client ended the subscription with this key.
    Unsubscribe(u32),
    /// The client acknowledged: so many more messages may be sent.
    Credit {
        /// Of the subscription.
        key: u32,
        /// At least one.
        more: u32,
    },
    /// Close the connection once all that was sent is written.
    Close(Close),
}

/// A SUBSCRIBE frame whose form is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Names the subscription between session and caller; never used again.
    pub key: u32,
    /// Counted messages that may be sent until [`Action::Credit`] allows more;
    /// `None`: the client does not acknowledge.
    pub credit: Option<u32>,
    /// Where to.
    pub destination: String,
    /// All headers of the frame.
    pub headers: Headers,
}

/// Why a connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The client sent DISCONNECT.
    Disconnect,
    /// An ERROR frame was sent.
    Error,
    /// The client did not send the heart-beats it promised.
    HeartBeat,
    /// The client did not send CONNECT in time; an ERROR frame was sent.
    ConnectTimeout,
}
