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

#[cfg(test)]
mod tests;
mod waiting;

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::{Arc, LazyLock},
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
use tokio_util::sync::CancellationToken;

use self::waiting::Waiting;
use super::request;
use crate::{
    State,
    live::{self, End, Item, Kind, Live, Outbound, Problem, Request, Status},
    metrics::{Door, Metrics, Refused},
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
    /// A message larger than the carrier takes, which is so many bytes; nothing comes after it.
    TooLarge(usize),
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

/// Where subscriptions come from: [`Live`], or a test's own.
pub(super) trait Source: Clone + Send + 'static {
    /// A running one.
    type Subscription: Send;
    /// As [`Live::outbound`].
    fn outbound(&self) -> Arc<Outbound>;
    /// As [`Live::subscribe`]; dropping the future gives the request up.
    fn subscribe(
        self,
        request: Request,
        outbound: Arc<Outbound>,
        key: u32,
    ) -> impl Future<Output = Result<Self::Subscription, Problem>> + Send;
    /// As [`live::Subscription::end`].
    fn end(subscription: Self::Subscription, how: End);
}

impl Source for Live {
    type Subscription = live::Subscription;

    fn outbound(&self) -> Arc<Outbound> {
        Self::outbound(self)
    }

    async fn subscribe(
        self,
        request: Request,
        outbound: Arc<Outbound>,
        key: u32,
    ) -> Result<live::Subscription, Problem> {
        Self::subscribe(&self, request, outbound, key).await
    }

    fn end(subscription: live::Subscription, how: End) {
        subscription.end(how);
    }
}

/// What a connection works with.
#[derive(Debug, Clone)]
pub(super) struct Context<S> {
    pub(super) source: S,
    pub(super) metrics: Metrics,
    pub(super) drain: CancellationToken,
    pub(super) door: Door,
}

impl Context<Live> {
    pub(super) fn new(state: &State, door: Door) -> Self {
        Self {
            source: state.live.clone(),
            metrics: state.metrics.clone(),
            drain: state.drain.clone(),
            door,
        }
    }
}

/// Serves a connection until it is over. `sub_protocol` is what a WebSocket's handshake settled.
pub(super) async fn run<S, R, W>(
    context: Context<S>,
    sub_protocol: Option<Version>,
    heard: R,
    say: W,
) where
    S: Source,
    R: Stream<Item = Heard>,
    W: Sink<Say>,
{
    let _connected = context.metrics.connected(context.door);
    let mut heard = pin!(heard);
    let mut say = pin!(say);
    let mut connection = Connection::new(context, sub_protocol);
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
struct Answer<T> {
    key: u32,
    soft: bool,
    outcome: Result<T, Problem>,
}

struct Connection<S: Source> {
    context: Context<S>,
    session: Session,
    outbound: Arc<Outbound>,
    subscriptions: HashMap<u32, S::Subscription>,
    pending: FuturesUnordered<BoxFuture<'static, Answer<S::Subscription>>>,
    waiting: Waiting,
    messages: Counter,
}

impl<S: Source> Connection<S> {
    fn new(context: Context<S>, sub_protocol: Option<Version>) -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        let now = Instant::now().into_std();
        Self {
            session: Session::new(Arc::clone(&SETTINGS), id, sub_protocol, now),
            outbound: context.source.outbound(),
            subscriptions: HashMap::new(),
            pending: FuturesUnordered::new(),
            waiting: Waiting::default(),
            messages: context.metrics.messages(context.door),
            context,
        }
    }

    async fn serve<R, W>(&mut self, mut heard: Pin<&mut R>, mut say: Pin<&mut W>) -> Over
    where
        R: Stream<Item = Heard>,
        W: Sink<Say>,
    {
        let mut actions = Vec::new();
        let mut batch = Vec::new();
        let drain = self.context.drain.clone();
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
                    Some(Heard::TooLarge(limit)) => {
                        let message = format!("a message cannot be larger than {limit} bytes");
                        self.session.error(&message, &mut actions);
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
            while draining && self.waiting.events.is_empty() {
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
                        S::end(subscription, End::Clean);
                    }
                }
                Action::Credit { key, more } => self.outbound.add_credit(key, more),
                Action::Close(close) => {
                    match close {
                        Close::Disconnect => {}
                        Close::Error => self.context.metrics.refused(Refused::Protocol),
                        Close::HeartBeat | Close::ConnectTimeout => {
                            self.context.metrics.refused(Refused::Timeout);
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
                self.context.metrics.refused(Refused::Request);
                let outcome = Err(problem);
                return self
                    .pending
                    .push(ready(Answer { key, soft, outcome }).boxed());
            }
        };
        self.outbound.set_credit(key, subscribe.credit);
        let source = self.context.source.clone();
        let outbound = Arc::clone(&self.outbound);
        let answer = async move {
            let outcome = source.subscribe(request, outbound, key).await;
            Answer { key, soft, outcome }
        };
        self.pending.push(answer.boxed());
    }

    fn answer(&mut self, answer: Answer<S::Subscription>, actions: &mut Vec<Action>) {
        let Answer { key, soft, outcome } = answer;
        let problem = match outcome {
            Ok(subscription) => {
                if self.session.subscribed(key, actions) {
                    self.subscriptions.insert(key, subscription);
                } else {
                    S::end(subscription, End::Clean);
                }
                return;
            }
            Err(problem) => problem,
        };
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
                        self.context.metrics.delivered(&event);
                    }
                }
                Kind::Status(status) => {
                    self.status(key, &status, &mut out);
                    if matches!(status, Status::Ended { .. }) {
                        self.session.ended(key);
                        if let Some(subscription) = self.subscriptions.remove(&key) {
                            S::end(subscription, End::Clean);
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

    /// Ends the subscriptions and gives up those still being made; what must be written remains.
    fn leave(self, over: Over) -> Waiting {
        let end = over.end();
        for (_, subscription) in self.subscriptions {
            S::end(subscription, end);
        }
        let mut waiting = self.waiting;
        waiting.events.clear();
        waiting
    }
}
