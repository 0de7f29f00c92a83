//! What is sent upstream: bytes at hand, a body that streams through as it is, or one made on the way.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::sync::watch;

/// Word of each piece of a body that was taken; closed when the body is gone.
pub type Progress = watch::Receiver<()>;

/// A request's body on its way to an upstream.
#[derive(Debug)]
pub enum OutBody {
    /// Bytes at hand.
    Whole(Full<Bytes>),
    /// The client's, as it comes.
    Passing(Incoming),
    /// Made or watched on the way.
    Streamed(UnsyncBoxBody<Bytes, io::Error>),
}

impl OutBody {
    /// Bytes at hand.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// Any other body.
    pub fn streamed(body: impl Body<Data = Bytes, Error = io::Error> + Send + 'static) -> Self {
        Self::Streamed(body.boxed_unsync())
    }
}

impl Default for OutBody {
    /// No bytes.
    fn default() -> Self {
        Self::whole(Bytes::new())
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Passing(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Streamed(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Passing(body) => body.is_end_stream(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Passing(body) => body.size_hint(),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
