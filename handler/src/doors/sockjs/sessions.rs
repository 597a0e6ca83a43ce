//! Sessions that live in a row of requests.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use clickstream_protocol::sockjs;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::pipe::{Pipe, Writer};
use crate::{
    State,
    doors::connection::{self, Context, Heard},
    metrics::Door,
};

/// Sessions at once; each may hold what a connection holds.
const MAX_SESSIONS: usize = 10_000;
/// How long a session stays without a request that receives.
const WITHOUT_RECEIVER: Duration = Duration::from_secs(5);
/// Requests of `xhr_send` that wait to be read.
const MAX_SENT: usize = 16;

/// All sessions, by the id that their clients chose.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions(Arc<Mutex<HashMap<String, Arc<Session>>>>);

/// A session that requests come and go for.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) pipe: Arc<Pipe>,
    sent: mpsc::Sender<Heard>,
    /// Whether a request receives.
    attached: watch::Sender<bool>,
    /// Stops the connection.
    cancel: CancellationToken,
}

/// No more sessions are taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Sessions {
    /// The session of that id; `true`: it began just now.
    pub(super) fn get_or_begin(
        &self,
        id: &str,
        state: &State,
    ) -> Result<(Arc<Session>, bool), Full> {
        let mut sessions = self.0.lock();
        let count = sessions.len();
        match sessions.entry(id.to_owned()) {
            Entry::Occupied(session) => Ok((Arc::clone(session.get()), false)),
            Entry::Vacant(_) if count >= MAX_SESSIONS || state.drain.is_cancelled() => Err(Full),
            Entry::Vacant(place) => {
                let session = Session::begin(state);
                place.insert(Arc::clone(&session));
                drop(sessions);
                let ends = self.clone().watch(id.to_owned(), Arc::clone(&session));
                state.connections.spawn(ends);
                Ok((session, true))
            }
        }
    }

    /// The session of that id, if it runs.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Session>> {
        let session = self.0.lock().get(id).cloned()?;
        session.pipe.closed().is_none().then_some(session)
    }

    /// Ends a session for which nothing receives; until then it repeats its close frame.
    async fn watch(self, id: String, session: Arc<Session>) {
        let mut attached = session.attached.subscribe();
        // The sender lives in the session, so no wait can fail. Any change counts: a request that came and went
        // before this task ran was a receiver, too.
        loop {
            let is_attached = *attached.borrow_and_update();
            let change = attached.changed();
            if is_attached {
                let _ = change.await;
            } else if timeout(WITHOUT_RECEIVER, change).await.is_err() {
                break;
            }
        }
        session.end(sockjs::Close::GO_AWAY);
        self.0.lock().remove(&id);
    }
}

impl Session {
    /// Starts a connection behind a new session.
    fn begin(state: &State) -> Arc<Self> {
        let (sent, heard) = mpsc::channel(MAX_SENT);
        let session = Arc::new(Self {
            pipe: Arc::default(),
            sent,
            attached: watch::Sender::new(false),
            cancel: CancellationToken::new(),
        });
        let heard = ReceiverStream::new(heard).take_until(session.cancel.clone().cancelled_owned());
        let say = Writer(Arc::clone(&session.pipe));
        let connection = connection::run(Context::new(state, Door::Sockjs), None, heard, say);
        state.connections.spawn(connection);
        session
    }

    /// Hands on what a client sent; false: the session is over.
    pub(super) async fn send(&self, bytes: Bytes) -> bool {
        self.sent.send(Heard::Data(bytes)).await.is_ok()
    }

    /// Makes the caller the one who receives; `None`: another request does.
    pub(super) fn attach(self: &Arc<Self>) -> Option<Receiver> {
        let free = self
            .attached
            .send_if_modified(|attached| !std::mem::replace(attached, true));
        free.then(|| Receiver {
            session: Arc::clone(self),
            done: false,
        })
    }

    fn end(&self, why: sockjs::Close) {
        self.pipe.close(why);
        self.cancel.cancel();
    }
}

/// The right to receive. Dropped before [`Receiver::done`], it takes the session along: what the request had taken
/// may not have reached the client.
#[derive(Debug)]
pub(super) struct Receiver {
    session: Arc<Session>,
    done: bool,
}

impl Receiver {
    pub(super) fn pipe(&self) -> &Pipe {
        &self.session.pipe
    }

    /// The request ended as it should; the next may receive.
    pub(super) fn done(&mut self) {
        self.done = true;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.done {
            self.session.end(sockjs::Close::INTERRUPTED);
        }
        self.session.attached.send_replace(false);
    }
}
