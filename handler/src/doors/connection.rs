//! One STOMP connection, over anything that carries messages both ways.
//!
//! # Expected flow
//! 1. [`run`] gets a stream of what the client sends and a sink for what it is sent.
//! 2. The session says what to do; SUBSCRIBE is carried out beside everything else.
//! 3. When it is over, subscriptions are ended at once, then what must still be read is written, then the
//!    connection is closed and the client gets a moment to close its side.
//!
//! # Guarantees
//! - What the session answers (receipts, errors, heart-beats) never waits behind events.
//! - Memory is bounded: the queue of events drops, see [`Outbound`]; one batch of it is encoded at a time; while
//!   [`MAX_ANSWERS`] answers wait for a client that does not read, nothing more is read from it.
//! - A connection that blocks blocks nobody else. That it ends is the transport's work: its write fails.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, LazyLock},
    task::ready,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use clickstream_protocol::stomp::{
    Version,
    server::{Action, Close, Session, Settings, Subscribe},
};
use futures_util::{
    FutureExt, Sink, Stream, StreamExt,
    future::{BoxFuture, ready},
    stream::FuturesUnordered,
};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep_until, timeout};

use super::{count_refused, request};
use crate::{
    State,
    live::{End, Item, Kind, Outbound, Problem, Status, Subscription},
    metrics::{Door, Refused},
};

/// Answers that may wait before the connection is no longer read.
const MAX_ANSWERS: usize = 256;
/// For writing what is left, and then for the client to close its side.
const CLOSING: Duration = Duration::from_secs(5);
/// Proxies close connections that are silent for long, often for 60 s.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(25);

static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(Arc::default);

/// What comes from the client. A stream that ends without `Closed` is a connection that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Bytes of frames, cut anywhere.
    Data(Bytes),
    /// The client closed, and meant it.
    Closed,
}

/// What goes to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Say {
    /// One frame, or one heart-beat.
    Frame(Bytes),
    /// Nothing was written for [`KEEP_ALIVE`]: what the carrier has for that.
    KeepAlive,
    /// The last thing said: code and reason as WebSocket has them.
    Close(u16, &'static str),
}

/// Serves a connection until it is over.
pub(super) async fn run<R, W>(
    state: State,
    door: Door,
    sub_protocol: Option<Version>,
    heard: R,
    say: W,
) where
    R: Stream<Item = Heard>,
    W: Sink<Say>,
{
    let _connected = state.metrics.connected(door);
    let mut heard = pin!(heard);
    let mut say = pin!(say);
    let mut connection = Connection::new(state, door, sub_protocol);
    let over = connection.serve(heard.as_mut(), say.as_mut()).await;
    let mut waiting = connection.leave(over);
    let Some((code, reason)) = over.close_code() else {
        return;
    };
    let close = async {
        waiting.advance(say.as_mut()).await?;
        waiting.last = Some(Say::Close(code, reason));
        waiting.advance(say.as_mut()).await
    };
    if let Ok(Ok(())) = timeout(CLOSING, close).await {
        // To close a socket with unread bytes in it would take back what was just written.
        let _ = timeout(CLOSING, async { while heard.next().await.is_some() {} }).await;
    }
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The session says so.
    Session(Close),
    /// The client closed.
    Left,
    /// Nothing can be read or written any more.
    Broken,
    /// The handler is going away.
    Draining,
}

impl Over {
    /// How the subscriptions end.
    fn end(self) -> End {
        match self {
            Self::Session(Close::Disconnect) | Self::Left | Self::Draining => End::Clean,
            Self::Session(_) | Self::Broken => End::Broken,
        }
    }

    fn close_code(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Session(Close::Disconnect) | Self::Left => Some((1000, "bye")),
            Self::Session(Close::Error) => Some((1002, "see the ERROR frame")),
            Self::Session(Close::HeartBeat) => Some((1002, "no heart-beat came")),
            Self::Session(Close::ConnectTimeout) => Some((1002, "no CONNECT frame came")),
            Self::Draining => Some((1012, "this handler is going away")),
            Self::Broken => None,
        }
    }
}

/// The answer to a SUBSCRIBE, some time later.
struct Answer {
    key: u32,
    soft: bool,
    outcome: Result<Subscription, Problem>,
}

struct Connection {
    state: State,
    session: Session,
    outbound: Arc<Outbound>,
    subscriptions: HashMap<u32, Subscription>,
    pending: FuturesUnordered<BoxFuture<'static, Answer>>,
    waiting: Waiting,
    messages: Counter,
}

impl Connection {
    fn new(state: State, door: Door, sub_protocol: Option<Version>) -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        let now = Instant::now().into_std();
        Self {
            session: Session::new(Arc::clone(&SETTINGS), id, sub_protocol, now),
            outbound: state.live.outbound(),
            subscriptions: HashMap::new(),
            pending: FuturesUnordered::new(),
            waiting: Waiting::default(),
            messages: state.metrics.messages(door),
            state,
        }
    }

    async fn serve<R, W>(&mut self, mut heard: Pin<&mut R>, mut say: Pin<&mut W>) -> Over
    where
        R: Stream<Item = Heard>,
        W: Sink<Say>,
    {
        let mut actions = Vec::new();
        let mut batch = Vec::new();
        let drain = self.state.drain.clone();
        let mut draining = false;
        let mut keep_alive = Instant::now() + KEEP_ALIVE;
        loop {
            let deadline = self.session.deadline();
            let due = sleep_until(deadline.map_or_else(Instant::now, Instant::from_std));
            tokio::select! {
                said = heard.next(), if self.waiting.answers.len() < MAX_ANSWERS => match said {
                    Some(Heard::Data(bytes)) => {
                        let now = Instant::now().into_std();
                        self.session.receive(&bytes, now, &mut actions);
                    }
                    Some(Heard::Closed) => return Over::Left,
                    None => return Over::Broken,
                },
                written = self.waiting.advance(say.as_mut()), if !self.waiting.is_empty() => {
                    if written.is_err() {
                        return Over::Broken;
                    }
                    self.session.sent(Instant::now().into_std());
                    keep_alive = Instant::now() + KEEP_ALIVE;
                }
                Some(answer) = self.pending.next() => self.answer(answer, &mut actions),
                () = self.outbound.next(&mut batch), if self.waiting.events.is_empty() => {
                    self.encode(&mut batch);
                }
                () = due, if deadline.is_some() => {
                    self.session.tick(Instant::now().into_std(), &mut actions);
                }
                () = sleep_until(keep_alive) => {
                    self.waiting.last.get_or_insert(Say::KeepAlive);
                    keep_alive += KEEP_ALIVE;
                }
                () = drain.cancelled(), if !draining => draining = true,
            }
            if let Some(close) = self.carry_out(&mut actions) {
                return Over::Session(close);
            }
            // `ended`, and what came before it, is still told.
            if draining && self.waiting.events.is_empty() {
                if !self.outbound.take(&mut batch) {
                    return Over::Draining;
                }
                self.encode(&mut batch);
            }
        }
    }

    fn carry_out(&mut self, actions: &mut Vec<Action>) -> Option<Close> {
        for action in actions.drain(..) {
            match action {
                Action::Send(bytes) => self.waiting.answers.push_back(bytes),
                Action::Subscribe(subscribe) => self.subscribe(&subscribe),
                Action::Unsubscribe(key) => {
                    // One that is still being made is ended when its answer comes.
                    if let Some(subscription) = self.subscriptions.remove(&key) {
                        subscription.end(End::Clean);
                    }
                }
                Action::Credit { key, more } => self.outbound.add_credit(key, more),
                Action::Close(close) => {
                    match close {
                        Close::Disconnect => {}
                        Close::Error => self.state.metrics.refused(Refused::Protocol),
                        Close::HeartBeat | Close::ConnectTimeout => {
                            self.state.metrics.refused(Refused::Timeout);
                        }
                    }
                    return Some(close);
                }
            }
        }
        None
    }

    fn subscribe(&self, subscribe: &Subscribe) {
        let key = subscribe.key;
        let (soft, request) =
            request::from_headers(&subscribe.destination, subscribe.headers.iter());
        let request = match request {
            Ok(request) => request,
            Err(problem) => {
                let outcome = Err(problem);
                return self
                    .pending
                    .push(ready(Answer { key, soft, outcome }).boxed());
            }
        };
        self.outbound.set_credit(key, subscribe.credit);
        let live = self.state.live.clone();
        let outbound = Arc::clone(&self.outbound);
        let answer = async move {
            let outcome = live.subscribe(request, outbound, key).await;
            Answer { key, soft, outcome }
        };
        self.pending.push(answer.boxed());
    }

    fn answer(&mut self, answer: Answer, actions: &mut Vec<Action>) {
        let Answer { key, soft, outcome } = answer;
        let problem = match outcome {
            Ok(subscription) => {
                if self.session.subscribed(key, actions) {
                    self.subscriptions.insert(key, subscription);
                } else {
                    subscription.end(End::Clean);
                }
                return;
            }
            Err(problem) => problem,
        };
        count_refused(&self.state, &problem);
        self.outbound.set_credit(key, None);
        if soft {
            let mut frame = BytesMut::new();
            self.status(key, &Status::refused(problem), &mut frame);
            if !frame.is_empty() {
                self.waiting.answers.push_back(frame.freeze());
            }
            // It was dealt with, which is all that a receipt says.
            self.session.subscribed(key, actions);
            self.session.ended(key);
        } else {
            let body = serde_json::to_vec(&problem).unwrap_or_default();
            let content_type = "application/problem+json";
            self.session
                .refuse(key, &problem.detail, content_type, body.into(), actions);
        }
    }

    /// Turns a batch into frames that wait to be written.
    fn encode(&mut self, batch: &mut Vec<Item>) {
        let mut out = BytesMut::new();
        for Item {
            subscription: key,
            kind,
        } in batch.drain(..)
        {
            match kind {
                Kind::Event(event) => {
                    let time = event.time.to_string();
                    let headers = [
                        ("content-type", "application/json"),
                        ("source", event.source.as_str()),
                        ("time", time.as_str()),
                        ("too-large", "true"),
                    ];
                    let headers = &headers[..if event.too_large { 4 } else { 3 }];
                    if self
                        .session
                        .message(key, true, headers, &event.body, &mut out)
                    {
                        self.messages.inc();
                        self.state.metrics.delivered(&event);
                    }
                }
                Kind::Status(status) => {
                    self.status(key, &status, &mut out);
                    if matches!(status, Status::Ended { .. }) {
                        self.session.ended(key);
                        if let Some(subscription) = self.subscriptions.remove(&key) {
                            subscription.end(End::Clean);
                        }
                    }
                }
            }
            if !out.is_empty() {
                self.waiting.events.push_back(out.split().freeze());
            }
        }
    }

    fn status(&mut self, key: u32, status: &Status, out: &mut BytesMut) {
        let headers = [
            ("content-type", "application/json"),
            ("status", status.name()),
        ];
        if self
            .session
            .message(key, false, &headers, status.to_json().as_bytes(), out)
        {
            self.messages.inc();
        }
    }

    /// Ends the subscriptions, those still being made included; what must be written remains.
    fn leave(self, over: Over) -> Waiting {
        let end = over.end();
        for (_, subscription) in self.subscriptions {
            subscription.end(end);
        }
        let mut pending = self.pending;
        if !pending.is_empty() {
            // To drop a subscription half made could leave its query behind until the lease ends.
            self.state.connections.spawn(async move {
                while let Some(answer) = pending.next().await {
                    if let Ok(subscription) = answer.outcome {
                        subscription.end(end);
                    }
                }
            });
        }
        let mut waiting = self.waiting;
        waiting.events.clear();
        waiting
    }
}

/// What waits to be written; answers go first.
#[derive(Debug, Default)]
struct Waiting {
    answers: VecDeque<Bytes>,
    events: VecDeque<Bytes>,
    /// Goes when nothing else waits.
    last: Option<Say>,
    unflushed: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.events.is_empty() && self.last.is_none() && !self.unflushed
    }

    fn pop(&mut self) -> Option<Say> {
        let frame = self.answers.pop_front().or_else(|| self.events.pop_front());
        frame.map(Say::Frame).or_else(|| self.last.take())
    }

    /// Writes all that waits and flushes once. Cancel safe: what was not taken waits on.
    async fn advance<W: Sink<Say>>(&mut self, mut say: Pin<&mut W>) -> Result<(), W::Error> {
        poll_fn(|cx| {
            while !self.answers.is_empty() || !self.events.is_empty() || self.last.is_some() {
                ready!(say.as_mut().poll_ready(cx))?;
                if let Some(next) = self.pop() {
                    say.as_mut().start_send(next)?;
                    self.unflushed = true;
                }
            }
            ready!(say.as_mut().poll_flush(cx))?;
            self.unflushed = false;
            std::task::Poll::Ready(Ok(()))
        })
        .await
    }
}
