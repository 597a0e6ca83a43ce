//! Sockets that a peer cannot hold for ever by not reading.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::{Sleep, sleep, timeout},
};

/// How long a write may make no progress before its connection is closed.
const STALL: Duration = Duration::from_secs(10);
/// How long a closed connection may still send.
const LINGER: Duration = Duration::from_secs(2);

/// Accepts connections whose writes fail when for 10 s not a byte of them was taken.
///
/// It stands below all doors, so that it sees every byte: a large event on a slow line goes on for as long as the
/// line does, and a viewer that reads nothing is closed, whatever protocol it speaks.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    stall: Duration,
}

impl Listener {
    /// Takes over a bound listener.
    #[must_use]
    pub fn new(inner: TcpListener) -> Self {
        Self::with_stall(inner, STALL)
    }

    /// With another time than 10 s, for tests.
    #[must_use]
    pub fn with_stall(inner: TcpListener, stall: Duration) -> Self {
        Self { inner, stall }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Guarded<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, addr) = axum::serve::Listener::accept(&mut self.inner).await;
        // Frames are small and already gathered into one write.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY for a connection");
        }
        (Guarded::new(stream, self.stall), addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A stream whose writes fail with [`io::ErrorKind::TimedOut`] when they make no progress, and which closes without
/// taking back what was written: a socket that is closed with unread bytes in it is reset, and a reset can overtake
/// the last words (an ERROR frame, say) on their way to a client that was still sending.
#[derive(Debug)]
pub struct Guarded<S: Stream> {
    /// `None` only while it is dropped.
    inner: Option<S>,
    stall: Duration,
    /// Set while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    /// The peer has closed, or the stream is broken: there is nothing to linger for.
    over: bool,
}

/// What a [`Guarded`] can be made of.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

impl<S: Stream> Guarded<S> {
    fn new(inner: S, stall: Duration) -> Self {
        Self {
            inner: Some(inner),
            stall,
            waiting: None,
            over: false,
        }
    }

    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let outcome = poll(Pin::new(inner));
        self.over |= matches!(outcome, Poll::Ready(Err(_)));
        outcome
    }

    fn poll_guarded(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let outcome = self.poll(|inner| write(inner, cx));
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let stall = self.stall;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(waiting.as_mut().poll(cx));
        self.over = true;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Stream> Drop for Guarded<S> {
    fn drop(&mut self) {
        if let (Some(inner), false, Ok(runtime)) =
            (self.inner.take(), self.over, Handle::try_current())
        {
            runtime.spawn(linger(inner));
        }
    }
}

/// Closes for writing, then reads what still comes, for a moment.
async fn linger<S: Stream>(mut inner: S) {
    let mut unread = [0; 1024];
    let _ = timeout(LINGER, async {
        inner.shutdown().await?;
        while inner.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

impl<S: Stream> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = self.poll(|inner| inner.poll_read(cx, buffer));
        let nothing = buffer.filled().len() == before && buffer.remaining() > 0;
        self.over |= nothing && matches!(outcome, Poll::Ready(Ok(())));
        outcome
    }
}

impl<S: Stream> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_guarded(cx, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_guarded(cx, |inner, cx| inner.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.as_ref().is_some_and(S::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|inner| inner.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|inner| inner.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails() {
        let (near, _far) = duplex(16);
        let mut near = Guarded::new(near, STALL);
        near.write_all(&[0; 16]).await.unwrap();
        let before = Instant::now();
        let error = near.write_all(&[0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(before.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_that_makes_progress_is_kept() {
        let (near, mut far) = duplex(16);
        let mut near = Guarded::new(near, STALL);
        let writer = tokio::spawn(async move { near.write_all(&[0; 64]).await });
        for _ in 0..4 {
            sleep(STALL - Duration::from_millis(1)).await;
            far.read_exact(&mut [0; 16]).await.unwrap();
        }
        writer.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_last_words_reach_a_client_that_is_still_sending() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listener = Listener::new(listener);
        let server = tokio::spawn(async move {
            let (mut stream, _) = axum::serve::Listener::accept(&mut listener).await;
            stream.read_exact(&mut [0; 10]).await.unwrap();
            stream.write_all(b"no more").await.unwrap();
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&[0; 100_000]).await.unwrap();
        server.await.unwrap();
        client.write_all(&[0; 100_000]).await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"no more");
    }

    #[tokio::test(start_paused = true)]
    async fn lingering_ends() {
        let (near, far) = duplex(16);
        drop(Guarded::new(near, STALL));
        let (mut read, mut write) = tokio::io::split(far);
        let error = async {
            loop {
                if let Err(error) = write.write_all(&[0; 16]).await {
                    return error;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        assert_eq!(error.await.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
