//! What waits to be written to a connection.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
};

use bytes::Bytes;
use futures_util::Sink;

use super::Say;

/// What waits to be written; answers go first.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Frames that the session made.
    pub(super) answers: VecDeque<Bytes>,
    /// Frames of one batch.
    pub(super) events: VecDeque<Bytes>,
    /// Goes when nothing else waits.
    pub(super) last: Option<Say>,
    unflushed: bool,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.events.is_empty() && self.last.is_none() && !self.unflushed
    }

    fn pop(&mut self) -> Option<Say> {
        let frame = self.answers.pop_front().or_else(|| self.events.pop_front());
        frame.map(Say::Frame).or_else(|| self.last.take())
    }

    /// Writes all that waits and flushes once. Cancel safe: what was not taken waits on.
    pub(super) async fn advance<W: Sink<Say>>(
        &mut self,
        mut say: Pin<&mut W>,
    ) -> Result<(), W::Error> {
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
            Poll::Ready(Ok(()))
        })
        .await
    }
}
