//! What waits between a connection and the requests that carry it away one after the other.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use clickstream_protocol::sockjs;
use futures_util::Sink;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::doors::connection::Say;

/// Above this the connection waits, and its own queue drops: one frame more comes on top.
const MAX_BYTES: usize = 64 << 10;

/// Frames that no request has carried away yet, and then the close frame, for ever.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    inner: Mutex<Inner>,
    readable: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// The SockJS frame that says why.
    closed: Option<String>,
    writer: Option<Waker>,
}

/// What a request has to carry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A frame with messages.
    Messages(String),
    /// The close frame: the last.
    Close(String),
}

impl Pipe {
    /// Waits for something to carry. Cancel safe.
    pub(super) async fn read(&self) -> Piece {
        loop {
            if let Some(piece) = self.take() {
                return piece;
            }
            self.readable.notified().await;
        }
    }

    /// The close frame, when it is all that there is to carry.
    pub(super) fn closed(&self) -> Option<String> {
        let inner = self.inner.lock();
        inner.closed.clone().filter(|_| inner.frames.is_empty())
    }

    /// Ends the session from this side: what waits is lost.
    pub(super) fn close(&self, why: sockjs::Close) {
        let mut inner = self.inner.lock();
        inner.frames.clear();
        inner.bytes = 0;
        inner
            .closed
            .get_or_insert_with(|| sockjs::close(why.code, why.reason));
        let writer = inner.writer.take();
        drop(inner);
        self.readable.notify_one();
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    fn take(&self) -> Option<Piece> {
        let mut inner = self.inner.lock();
        if inner.frames.is_empty() {
            return inner.closed.clone().map(Piece::Close);
        }
        let frames = std::mem::take(&mut inner.frames);
        inner.bytes = 0;
        let writer = inner.writer.take();
        drop(inner);
        if let Some(writer) = writer {
            writer.wake();
        }
        let texts: Vec<_> = frames
            .iter()
            .map(|frame| String::from_utf8_lossy(frame))
            .collect();
        Some(Piece::Messages(sockjs::messages(
            texts.iter().map(AsRef::as_ref),
        )))
    }
}

/// The connection's end of a [`Pipe`].
#[derive(Debug)]
pub(super) struct Writer(pub(super) Arc<Pipe>);

impl Sink<Say> for Writer {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        let mut inner = self.0.inner.lock();
        if inner.bytes < MAX_BYTES || inner.closed.is_some() {
            return Poll::Ready(Ok(()));
        }
        inner.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn start_send(self: Pin<&mut Self>, say: Say) -> Result<(), Infallible> {
        let mut inner = self.0.inner.lock();
        if inner.closed.is_none() {
            match say {
                Say::Frame(frame) => {
                    inner.bytes += frame.len();
                    inner.frames.push_back(frame);
                }
                Say::Close(code, reason) => inner.closed = Some(sockjs::close(code, reason)),
                // Each request keeps itself alive.
                Say::KeepAlive => {}
            }
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.readable.notify_one();
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, SinkExt};

    use super::*;

    fn frame(text: &'static str) -> Say {
        Say::Frame(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn frames_are_carried_together_and_the_close_frame_for_ever() {
        let pipe = Arc::new(Pipe::default());
        let mut writer = Writer(Arc::clone(&pipe));
        for say in [
            frame("a"),
            Say::KeepAlive,
            frame("b"),
            Say::Close(1000, "bye"),
        ] {
            writer.send(say).await.unwrap();
        }
        assert_eq!(pipe.closed(), None);
        assert_eq!(
            pipe.read().await,
            Piece::Messages(r#"a["a","b"]"#.to_owned())
        );
        for _ in 0..2 {
            assert_eq!(
                pipe.read().await,
                Piece::Close(r#"c[1000,"bye"]"#.to_owned())
            );
        }
    }

    #[tokio::test]
    async fn the_writer_waits_while_too_much_waits() {
        let pipe = Arc::new(Pipe::default());
        let mut writer = Writer(Arc::clone(&pipe));
        writer
            .send(Say::Frame(vec![b'x'; MAX_BYTES].into()))
            .await
            .unwrap();
        let mut next = Box::pin(writer.send(frame("next")));
        assert!(next.as_mut().now_or_never().is_none());
        pipe.read().await;
        next.await.unwrap();
        assert_eq!(
            pipe.read().await,
            Piece::Messages(r#"a["next"]"#.to_owned())
        );
    }

    #[tokio::test]
    async fn an_interrupted_session_keeps_nothing() {
        let pipe = Arc::new(Pipe::default());
        let mut writer = Writer(Arc::clone(&pipe));
        writer.send(frame("lost")).await.unwrap();
        pipe.close(sockjs::Close::INTERRUPTED);
        writer.send(frame("later")).await.unwrap();
        let close = r#"c[1002,"Connection interrupted"]"#;
        assert_eq!(pipe.closed().as_deref(), Some(close));
        assert_eq!(pipe.read().await, Piece::Close(close.to_owned()));
    }
}
