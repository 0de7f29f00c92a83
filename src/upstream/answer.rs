//! The body of an upstream's answer, which drives the connection on which it comes and gives it back at its end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::line::Line;
use super::pool::Pool;

/// An answer's body. Dropped before its end, it closes an HTTP/1.1 connection at once.
pub struct Incoming {
    body: hyper::body::Incoming,
    /// What it comes on; `None` of one that another task drives, and once it has come to its end.
    line: Option<Box<Line>>,
    /// Where the connection goes then.
    home: Option<Home>,
}

/// What becomes of a connection at its answer's end.
pub(super) struct Home {
    pub(super) pool: Arc<Pool>,
    /// Whether another request may use it.
    pub(super) is_kept: bool,
}

/// Pieces of an answer that are read for nobody: more cost more than a new connection.
const MOST_UNWANTED: usize = 4;

impl Incoming {
    /// One whose connection is driven elsewhere.
    pub(super) fn driven(body: hyper::body::Incoming) -> Self {
        Self { body, line: None, home: None }
    }

    /// One that drives its connection.
    pub(super) fn on(line: Box<Line>, body: hyper::body::Incoming, home: Home) -> Self {
        let mut incoming = Self { body, line: Some(line), home: Some(home) };
        if incoming.body.is_end_stream() {
            incoming.give_back();
        }
        incoming
    }

    /// Nobody wants it: its connection stays if all of it is there already, as of most errors.
    pub fn let_go(mut self) {
        let mut quiet = Context::from_waker(Waker::noop());
        for _ in 0..MOST_UNWANTED {
            let Poll::Ready(Some(Ok(_))) = Pin::new(&mut self).poll_frame(&mut quiet) else { return };
        }
    }

    fn give_back(&mut self) {
        if let (Some(line), Some(home)) = (self.line.take(), self.home.take()) {
            home.pool.take_back(line, home.is_kept);
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(line) = &mut this.line else { return Pin::new(&mut this.body).poll_frame(cx) };
        let next = ready!(line.poll_frame(&mut this.body, cx));
        match &next {
            // a chunked body does not know that it is over before it says so
            None => this.give_back(),
            Some(Ok(frame)) if frame.is_trailers() || this.body.is_end_stream() => this.give_back(),
            Some(Ok(_)) => {}
            Some(Err(_)) => this.line = None,
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("is_driving", &self.line.is_some()).finish_non_exhaustive()
    }
}
