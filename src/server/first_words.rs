//! A client's first words: they tell whether it speaks HTTP/1.1 or HTTP/2, and are given back to be read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// A connection of which the first words were heard, and are read again before what follows.
#[derive(Debug)]
pub(super) struct FirstWords<S> {
    stream: S,
    heard: [u8; PREFACE.len()],
    /// What of it is not read yet.
    unread: std::ops::Range<u8>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Http1,
    Http2,
}

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl<S: AsyncRead + Unpin> FirstWords<S> {
    /// Listens until it is plain what the client speaks.
    pub(super) async fn hear(mut stream: S) -> io::Result<(Self, Speech)> {
        let (mut heard, mut length) = (PREFACE, 0);
        let speech = loop {
            let said = stream.read(&mut heard[length..]).await?;
            length += said;
            match speech(&heard[..length]) {
                Some(speech) => break speech,
                // whoever has no more to say is told so in HTTP/1.1
                None if said == 0 => break Speech::Http1,
                None => {}
            }
        };
        let unread = 0..u8::try_from(length).expect("the preface is short");
        Ok((Self { stream, heard, unread }, speech))
    }
}

/// What a client speaks that has said so much; `None` while it may be either.
fn speech(said: &[u8]) -> Option<Speech> {
    match PREFACE.strip_prefix(said) {
        Some([]) => Some(Speech::Http2),
        Some(_) => None,
        None => Some(Speech::Http1),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstWords<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.unread.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let unread = &this.heard[usize::from(this.unread.start)..usize::from(this.unread.end)];
        let given = unread.len().min(buffer.remaining());
        buffer.put_slice(&unread[..given]);
        this.unread.start += u8::try_from(given).expect("no more than was heard");
        Poll::Ready(Ok(()))
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
    fn only_the_whole_preface_is_http_2_and_only_its_beginning_may_become_it() {
        for open in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", &PREFACE[..PREFACE.len() - 1]] {
            assert_eq!(speech(open), None, "{open:?}");
        }
        for plain in [&b"G"[..], b"POST /", b"PRX"] {
            assert_eq!(speech(plain), Some(Speech::Http1), "{plain:?}");
        }
        assert_eq!(speech(&PREFACE), Some(Speech::Http2));
    }

    #[tokio::test]
    async fn what_was_heard_is_read_again_before_what_follows() {
        let rest = b" follows";
        for (said, speaks) in
            [(&PREFACE[..], Speech::Http2), (b"GET /", Speech::Http1), (b"PRI", Speech::Http1)]
        {
            let all = [said, if speaks == Speech::Http2 || said.len() > 3 { rest } else { b"" }].concat();
            let (mut heard, speech) = FirstWords::hear(&all[..]).await.unwrap();
            let mut read = Vec::new();
            heard.read_to_end(&mut read).await.unwrap();
            assert_eq!((read, speech), (all, speaks));
        }
    }
}
