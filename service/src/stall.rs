//! A connection whose peer must go on reading what is sent to it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

/// How long a peer may take nothing once the stop was asked for: shorter than the drain, so as not to hold it up.
const STALL_AT_STOP_MAX: Duration = Duration::from_secs(1);

/// A stream whose writes fail once the peer has taken nothing for a while.
pub(crate) struct StallLimited<S> {
    stream: S,
    stall_max: Duration,
    shutdown: CancellationToken,
    is_stopping: bool,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> StallLimited<S> {
    pub(crate) fn new(stream: S, stall_max: Duration, shutdown: CancellationToken) -> Self {
        Self { stream, stall_max, shutdown, is_stopping: false, stalled: None }
    }

    /// Lets a write's result pass, unless it has waited for too long.
    fn limited<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        if !self.is_stopping && self.shutdown.is_cancelled() {
            self.is_stopping = true;
            self.stall_max = self.stall_max.min(STALL_AT_STOP_MAX);
            self.stalled = None;
        }
        let stall_max = self.stall_max;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(stall_max))).as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing any more")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallLimited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallLimited<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limited(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.limited(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.limited(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.limited(context, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn a_peer_that_takes_nothing_ends_the_connection() {
        let (near, _far) = duplex(16);
        let mut limited = StallLimited::new(near, Duration::from_millis(1), CancellationToken::new());
        let error = limited.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_takes_a_little_at_a_time_gets_everything() {
        let (near, mut far) = duplex(16);
        let mut limited = StallLimited::new(near, LONG, CancellationToken::new());
        let reading = tokio::spawn(async move {
            let mut taken = Vec::new();
            far.read_to_end(&mut taken).await.unwrap();
            taken.len()
        });
        limited.write_all(&[0; 640]).await.unwrap();
        drop(limited);
        assert_eq!(reading.await.unwrap(), 640);
    }

    #[tokio::test]
    async fn after_the_stop_was_asked_for_less_patience_is_left() {
        let (near, _far) = duplex(16);
        let shutdown = CancellationToken::new();
        let mut limited = StallLimited::new(near, LONG, shutdown.clone());
        shutdown.cancel();
        // With the patience from before, the test would not end.
        let error = limited.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
