//! A limit on a client's first words. Until it is plain whether they are HTTP/1.1 or HTTP/2 no other
//! timer runs: a client that connects and says nothing would keep its place for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that fails when its client is too slow to say what it speaks.
#[derive(Debug)]
pub(super) struct FirstWords<S> {
    stream: S,
    /// How much of HTTP/2's preface was heard.
    heard: usize,
    /// `None` once the client has said enough.
    limit: Option<Pin<Box<Sleep>>>,
}

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl<S> FirstWords<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, heard: 0, limit: Some(Box::pin(sleep(limit))) }
    }
}

/// Whether `said`, after `heard` bytes of the preface, leaves it open what the client speaks.
fn is_open(heard: usize, said: &[u8]) -> bool {
    let expected = &PREFACE[heard..];
    said.len() < expected.len() && expected.starts_with(said)
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstWords<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let Some(limit) = &mut this.limit else { return read };
        if read.is_pending() {
            return limit.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        let said = &buffer.filled()[before..];
        // nothing said is the end of the connection
        if said.is_empty() || !is_open(this.heard, said) {
            this.limit = None;
        }
        this.heard += said.len();
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstWords<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_may_speak_either_is_hurried() {
        for open in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", &PREFACE[..PREFACE.len() - 1]] {
            assert!(is_open(0, open), "{open:?}");
        }
        for plain in [&b"G"[..], b"POST /", b"PRX", PREFACE, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n+frame"] {
            assert!(!is_open(0, plain), "{plain:?}");
        }
        assert!(is_open(1, b"RI") && !is_open(1, b"OST"));
        assert!(is_open(22, b"\r") && !is_open(22, b"\r\n"));
    }
}
