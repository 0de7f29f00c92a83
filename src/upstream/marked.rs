//! Connections that remember whether they have answered before, and whether anything came since they were
//! last written to. So a request that met a connection's end can be told from one that met an upstream's.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is known of a connection; all who ask share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// It has carried an answer.
    answered: AtomicBool,
    /// A byte came after the last write.
    heard: AtomicBool,
}

impl Mark {
    /// Notes that an answer came on it.
    pub(super) fn note_answer(&self) {
        self.0.answered.store(true, Ordering::Release);
    }

    /// Whether it ended, if it did, as a connection does whose other side had let it go: it had answered
    /// before, and to what was written last not one byte came.
    pub(super) fn was_stale(&self) -> bool {
        self.0.answered.load(Ordering::Acquire) && !self.0.heard.load(Ordering::Acquire)
    }
}

/// A connection with its mark.
#[derive(Debug)]
pub(super) struct Marked<S> {
    stream: S,
    mark: Mark,
}

impl<S> Marked<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, mark: Mark::default() }
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark.clone()
    }

    /// An answer that begins while a body is still sent is forgotten with the next piece of that body. If
    /// the connection ends then, the upstream has not read the request whole, and has not worked on it.
    fn note_written(&self) {
        self.mark.0.heard.store(false, Ordering::Release);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Marked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.mark.0.heard.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Marked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.note_written();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_written();
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn s_15_a_connection_is_stale_that_has_answered_and_says_nothing_to_what_was_written_last() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut connection = Marked::new(ours);
        let mark = connection.mark.clone();
        let mut byte = [0; 1];
        connection.write_all(b"one").await.unwrap();
        assert!(!mark.was_stale(), "never answered: the upstream may be at fault");
        theirs.write_all(b"1").await.unwrap();
        connection.read_exact(&mut byte).await.unwrap();
        mark.note_answer();
        assert!(!mark.was_stale(), "nothing was asked since");
        connection.write_all(b"two").await.unwrap();
        assert!(mark.was_stale());
        theirs.write_all(b"2").await.unwrap();
        connection.read_exact(&mut byte).await.unwrap();
        assert!(!mark.was_stale(), "an answer had begun");
    }
}
