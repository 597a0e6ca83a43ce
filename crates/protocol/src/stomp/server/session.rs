//! The state machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::acks::{AckMode, Acks};
use super::connect::{self, Agreed, Refused};
use super::{Action, Close, MAX_SUBSCRIPTIONS, Settings, Subscribe};
use crate::stomp::encode::{encode_message, message_prefix};
use crate::stomp::{Decoder, Frame, Version, encode};

/// The server's side of one connection. See the [module](super) for its use.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    id: String,
    sub_protocol: Option<Version>,
    decoder: Decoder,
    state: State,
    subscriptions: Vec<Subscription>,
    next_key: u32,
    /// Messages are numbered through the connection: every version finds the
    /// one that an ACK means by this number.
    next_message: u64,
    last_received: Instant,
    last_sent: Instant,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Connecting { until: Instant },
    Connected(Agreed),
    Closed,
}

#[derive(Debug)]
struct Subscription {
    key: u32,
    id: Option<String>,
    destination: String,
    receipt: Option<String>,
    phase: Phase,
    acks: Acks,
    /// Command and own headers of its messages.
    prefix: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Pending,
    Active,
    /// No more messages come; the client may still UNSUBSCRIBE.
    Ended,
}

/// Why a frame ends the connection: the ERROR frame's `message`.
struct Fault(String);

impl<T: Into<String>> From<T> for Fault {
    fn from(message: T) -> Fault {
        Fault(message.into())
    }
}

impl Session {
    /// A connection that opened at `now`. `id` goes into the `session` header;
    /// `sub_protocol` is what the WebSocket handshake settled, if anything.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        id: String,
        sub_protocol: Option<Version>,
        now: Instant,
    ) -> Session {
        Session {
            decoder: Decoder::new(settings.limits),
            state: State::Connecting {
                until: now + settings.connect_timeout,
            },
            settings,
            id,
            sub_protocol,
            subscriptions: Vec::new(),
            next_key: 0,
            next_message: 1,
            last_received: now,
            last_sent: now,
        }
    }

    /// Takes over what arrived; appends what is to be done about it.
    pub fn receive(&mut self, bytes: &[u8], now: Instant, actions: &mut Vec<Action>) {
        if self.is_closed() {
            return;
        }
        self.last_received = now;
        self.decoder.push(bytes);
        while !self.is_closed() {
            match self.decoder.next() {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    if let Err(Fault(message)) = self.frame(&frame, now, actions) {
                        let receipt = frame.header("receipt");
                        self.fail(&message, None, receipt, Close::Error, actions);
                    }
                }
                Err(error) => {
                    let receipt = self.decoder.partial().get("receipt").map(str::to_owned);
                    let message = error.to_string();
                    self.fail(&message, None, receipt.as_deref(), Close::Error, actions);
                }
            }
        }
    }

    /// When [`Session::tick`] is due; `None`: nothing depends on time.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { until } => Some(until),
            State::Connected(agreed) => [self.next_send(agreed), self.receive_limit(agreed)]
                .into_iter()
                .flatten()
                .min(),
            State::Closed => None,
        }
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.state {
            State::Connecting { until } if now >= until => {
                let message = "no CONNECT frame came in time";
                self.fail(message, None, None, Close::ConnectTimeout, actions);
            }
            State::Connected(agreed) => {
                if self.receive_limit(agreed).is_some_and(|limit| now >= limit) {
                    self.close(Close::HeartBeat, actions);
                } else if self.next_send(agreed).is_some_and(|due| now >= due) {
                    actions.push(Action::Send(Bytes::from_static(b"\n")));
                    self.last_sent = now;
                }
            }
            State::Connecting { .. } | State::Closed => {}
        }
    }

    /// Something was written to the connection: no heart-beat is due soon.
    pub fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Subscriptions that are active or wait to become so.
    #[must_use]
    pub fn active(&self) -> usize {
        self.subscriptions
            .iter()
            .filter(|s| s.phase != Phase::Ended)
            .count()
    }

    /// The caller registered the subscription: its receipt is due.
    ///
    /// False: the client has ended it meanwhile.
    pub fn subscribed(&mut self, key: u32, actions: &mut Vec<Action>) -> bool {
        let Some(subscription) = self.subscriptions.iter_mut().find(|s| s.key == key) else {
            return false;
        };
        subscription.phase = Phase::Active;
        if let Some(receipt) = subscription.receipt.take() {
            self.receipt(&receipt, actions);
        }
        true
    }

    /// The caller refused the subscription: ERROR and close, as the protocol
    /// has it. `body`, of that content type, says more than `message` does.
    pub fn refuse(
        &mut self,
        key: u32,
        message: &str,
        content_type: &'static str,
        body: Bytes,
        actions: &mut Vec<Action>,
    ) {
        if let Some(at) = self.subscriptions.iter().position(|s| s.key == key) {
            let receipt = self.subscriptions[at].receipt.take();
            let body = Some((content_type, body));
            self.fail(message, body, receipt.as_deref(), Close::Error, actions);
        }
    }

    /// No more messages will come on the subscription. The client may still
    /// UNSUBSCRIBE, or SUBSCRIBE again with the same id.
    pub fn ended(&mut self, key: u32) {
        if let Some(subscription) = self.subscriptions.iter_mut().find(|s| s.key == key) {
            subscription.phase = Phase::Ended;
        }
    }

    /// ERROR and close, for a reason of the caller's.
    pub fn error(&mut self, message: &str, actions: &mut Vec<Action>) {
        if !self.is_closed() {
            self.fail(message, None, None, Close::Error, actions);
        }
    }

    /// Appends one MESSAGE to `out`. `headers` come beside `subscription`,
    /// `destination`, `message-id`, `ack` and `content-length`. Only a message
    /// that is `counted` uses credit: others may be acknowledged, too, but
    /// need not be.
    ///
    /// False: there is no such subscription (any more), and nothing is appended.
    pub fn message(
        &mut self,
        key: u32,
        counted: bool,
        headers: &[(&str, &str)],
        body: &[u8],
        out: &mut BytesMut,
    ) -> bool {
        let State::Connected(Agreed { version, .. }) = self.state else {
            return false;
        };
        let Some(subscription) = self.subscriptions.iter_mut().find(|s| s.key == key) else {
            return false;
        };
        let id = self.next_message;
        self.next_message += 1;
        if counted {
            subscription.acks.sent(id);
        }
        // 1.0 and 1.1 acknowledge by `message-id`.
        let ack = version == Version::V1_2 && subscription.acks.mode != AckMode::Auto;
        encode_message(version, &subscription.prefix, id, ack, headers, body, out);
        true
    }

    /// Whether [`Action::Close`] was given out.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn frame(
        &mut self,
        frame: &Frame,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        let State::Connected(Agreed { version, .. }) = self.state else {
            return match frame.command.as_str() {
                "CONNECT" | "STOMP" => self.connect(frame, now, actions),
                other => Err(format!("`{other}` came before CONNECT").into()),
            };
        };
        let has_body = !frame.body.is_empty();
        if has_body && version > Version::V1_0 && frame.command != "SEND" {
            return Err(format!("`{}` must not have a body", frame.command).into());
        }
        match frame.command.as_str() {
            // Its receipt waits until it was processed.
            "SUBSCRIBE" => return self.subscribe(frame, version, actions),
            "UNSUBSCRIBE" => self.unsubscribe(frame, version, actions)?,
            "ACK" => self.settle(frame, version, actions)?,
            "NACK" if version > Version::V1_0 => self.settle(frame, version, actions)?,
            "DISCONNECT" => {
                if let Some(receipt) = frame.header("receipt") {
                    self.receipt(receipt, actions);
                }
                self.close(Close::Disconnect, actions);
                return Ok(());
            }
            "CONNECT" | "STOMP" => return Err("the connection is already established".into()),
            command @ ("SEND" | "BEGIN" | "COMMIT" | "ABORT") => {
                return Err(
                    format!("`{command}` is not supported: this server only delivers").into(),
                );
            }
            command => return Err(format!("unknown command `{command}`").into()),
        }
        if let Some(receipt) = frame.header("receipt") {
            self.receipt(receipt, actions);
        }
        Ok(())
    }

    fn connect(
        &mut self,
        frame: &Frame,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        let agreed = match connect::agree(&frame.headers, self.sub_protocol, &self.settings) {
            Ok(agreed) => agreed,
            Err(Refused::HeartBeat) => {
                return Err("`heart-beat` must be two numbers of milliseconds".into());
            }
            Err(Refused::Version) => {
                let spoken: Vec<_> = connect::spoken(self.sub_protocol)
                    .map(Version::as_str)
                    .collect();
                let spoken = spoken.join(",");
                let mut error = Frame::new(
                    "ERROR",
                    [
                        ("version", spoken.as_str()),
                        ("content-type", "text/plain"),
                        ("message", "no common protocol version"),
                    ],
                );
                error.body = format!("this server speaks STOMP {spoken} here").into();
                self.send(&error, actions);
                self.close(Close::Error, actions);
                return Ok(());
            }
        };
        self.decoder.set_version(agreed.version);
        self.state = State::Connected(agreed);
        self.last_sent = now;
        let heart_beat = format!(
            "{},{}",
            self.settings.send_every.as_millis(),
            self.settings.receive_every.as_millis()
        );
        let mut connected = Frame::new(
            "CONNECTED",
            [
                ("version", agreed.version.as_str()),
                ("session", self.id.as_str()),
                ("server", self.settings.server.as_str()),
            ],
        );
        if agreed.version > Version::V1_0 {
            connected.headers.push("heart-beat", heart_beat);
        }
        self.send(&connected, actions);
        Ok(())
    }

    fn subscribe(
        &mut self,
        frame: &Frame,
        version: Version,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        let destination = frame
            .header("destination")
            .ok_or("SUBSCRIBE needs a `destination` header")?;
        let id = frame.header("id");
        if id.is_none() && version > Version::V1_0 {
            return Err("SUBSCRIBE needs an `id` header".into());
        }
        let mode = frame.header("ack").unwrap_or("auto");
        let mode = AckMode::parse(mode)
            .filter(|m| version > Version::V1_0 || *m != AckMode::ClientIndividual)
            .ok_or_else(|| format!("`ack` cannot be `{mode}`"))?;
        if let Some(at) = self.find(id, destination) {
            if self.subscriptions[at].phase != Phase::Ended {
                return Err("a subscription with this id is active on the connection".into());
            }
            self.subscriptions.remove(at);
        }
        self.forget_ended();
        if self.active() > MAX_SUBSCRIPTIONS {
            return Err("too many subscriptions on the connection".into());
        }
        let key = self.next_key;
        self.next_key += 1;
        self.subscriptions.push(Subscription {
            key,
            id: id.map(str::to_owned),
            destination: destination.to_owned(),
            receipt: frame.header("receipt").map(str::to_owned),
            phase: Phase::Pending,
            acks: Acks::new(mode),
            prefix: message_prefix(version, id, destination).freeze(),
        });
        actions.push(Action::Subscribe(Subscribe {
            key,
            credit: (mode != AckMode::Auto).then_some(self.settings.window),
            destination: destination.to_owned(),
            headers: frame.headers.clone(),
        }));
        Ok(())
    }

    fn unsubscribe(
        &mut self,
        frame: &Frame,
        version: Version,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        let id = frame.header("id");
        let at = match (id, frame.header("destination")) {
            (Some(id), _) => self
                .subscriptions
                .iter()
                .position(|s| s.id.as_deref() == Some(id)),
            (None, Some(destination)) if version == Version::V1_0 => self.find(None, destination),
            _ => return Err("UNSUBSCRIBE needs an `id` header".into()),
        };
        let subscription = self
            .subscriptions
            .remove(at.ok_or("there is no such subscription")?);
        actions.push(Action::Unsubscribe(subscription.key));
        Ok(())
    }

    /// ACK and NACK. A message that was sent but does not wait is passed over:
    /// its subscription may have ended while the acknowledgement travelled.
    fn settle(
        &mut self,
        frame: &Frame,
        version: Version,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        if frame.header("transaction").is_some() {
            return Err("transactions are not supported: this server only delivers".into());
        }
        let command = &frame.command;
        let name = if version == Version::V1_2 {
            "id"
        } else {
            "message-id"
        };
        if version == Version::V1_1 && frame.header("subscription").is_none() {
            return Err(format!("{command} needs a `subscription` header").into());
        }
        let message = frame
            .header(name)
            .ok_or_else(|| format!("{command} needs a `{name}` header"))?
            .parse()
            .ok()
            .filter(|message| (1..self.next_message).contains(message))
            .ok_or_else(|| format!("{command} names a message that was not sent"))?;
        let of = frame
            .header("subscription")
            .filter(|_| version == Version::V1_1);
        for subscription in &mut self.subscriptions {
            if of.is_none() || of == subscription.id.as_deref() {
                let more = subscription.acks.settle(message);
                if more > 0 {
                    let key = subscription.key;
                    actions.push(Action::Credit { key, more });
                }
            }
        }
        Ok(())
    }

    /// By id; in 1.0, where there may be none, by destination.
    fn find(&self, id: Option<&str>, destination: &str) -> Option<usize> {
        self.subscriptions.iter().position(|s| match id {
            Some(_) => s.id.as_deref() == id,
            None => s.id.is_none() && s.destination == destination,
        })
    }

    /// Keeps the ended subscriptions from piling up: the oldest goes.
    fn forget_ended(&mut self) {
        if self.subscriptions.len() - self.active() >= MAX_SUBSCRIPTIONS
            && let Some(at) = self
                .subscriptions
                .iter()
                .position(|s| s.phase == Phase::Ended)
        {
            self.subscriptions.remove(at);
        }
    }

    /// Earlier than promised, so that it arrives in time.
    fn next_send(&self, agreed: Agreed) -> Option<Instant> {
        agreed
            .send_every
            .map(|every| self.last_sent + every * 3 / 4)
    }

    /// Later than promised: the margin that the protocol asks for.
    fn receive_limit(&self, agreed: Agreed) -> Option<Instant> {
        let margin = Duration::from_secs(1);
        agreed
            .receive_every
            .map(|every| self.last_received + every * 2 + margin)
    }

    fn version(&self) -> Option<Version> {
        match self.state {
            State::Connected(agreed) => Some(agreed.version),
            State::Connecting { .. } | State::Closed => None,
        }
    }

    fn send(&self, frame: &Frame, actions: &mut Vec<Action>) {
        let mut out = BytesMut::new();
        encode(frame, self.version(), &mut out);
        actions.push(Action::Send(out.freeze()));
    }

    fn receipt(&self, id: &str, actions: &mut Vec<Action>) {
        self.send(&Frame::new("RECEIPT", [("receipt-id", id)]), actions);
    }

    fn fail(
        &mut self,
        message: &str,
        body: Option<(&'static str, Bytes)>,
        receipt: Option<&str>,
        close: Close,
        actions: &mut Vec<Action>,
    ) {
        let mut error = Frame::new("ERROR", [("message", message)]);
        if let Some(receipt) = receipt {
            error.headers.push("receipt-id", receipt);
        }
        if let Some((content_type, body)) = body {
            error.headers.push("content-type", content_type);
            error.body = body;
        }
        self.send(&error, actions);
        self.close(close, actions);
    }

    fn close(&mut self, close: Close, actions: &mut Vec<Action>) {
        self.state = State::Closed;
        self.subscriptions.clear();
        actions.push(Action::Close(close));
    }
}
