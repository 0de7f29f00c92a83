//! The body that goes to the client: bytes at hand, or a relay of the upstream's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::relay::Relay;
use super::stall;

/// An answer's body.
#[derive(Debug)]
pub enum Outgoing {
    /// Bytes at hand; `None` once they went out.
    Ready(Option<Bytes>),
    /// Bytes of an answer that broke off; `None` once they went out. No good end follows.
    Cut(Option<Bytes>),
    /// Bytes as the upstream sends them.
    Relayed(Relay),
    /// Broken off; what went out before is on its way.
    Broken,
}

/// The upstream broke off: the client's connection must not end as if all was well (invariant I7).
#[derive(Debug, thiserror::Error)]
#[error("the upstream broke off its answer")]
pub struct BrokenOff;

impl Outgoing {
    /// Bytes at hand.
    #[must_use]
    pub fn ready(bytes: Bytes) -> Self {
        Self::Ready((!bytes.is_empty()).then_some(bytes))
    }

    /// Reads what is still coming, for a client that left before the head.
    pub(super) async fn read_on(self) {
        if let Self::Relayed(relay) = self {
            relay.read_on().await;
        }
    }

    pub(super) fn cut(bytes: Bytes) -> Self {
        Self::Cut((!bytes.is_empty()).then_some(bytes))
    }
}

type Next = Poll<Option<Result<Frame<Bytes>, BrokenOff>>>;

/// A panic costs one request (invariant I12): its answer breaks off, and `fail` closes its books.
fn past_panics<R>(relay: &mut R, next: impl FnOnce(&mut R) -> Next, fail: impl FnOnce(&mut R)) -> Next {
    catch_unwind(AssertUnwindSafe(|| next(relay))).unwrap_or_else(|_| {
        fail(relay);
        Poll::Ready(Some(Err(BrokenOff)))
    })
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        let this = self.get_mut();
        stall::taken();
        let next = match this {
            Self::Ready(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Cut(bytes) => {
                Poll::Ready(Some(bytes.take().map_or(Err(BrokenOff), |bytes| Ok(Frame::data(bytes)))))
            }
            Self::Relayed(relay) => past_panics(relay, |relay| relay.poll_frame(cx), |relay| relay.fail()),
            Self::Broken => return Poll::Ready(Some(Err(BrokenOff))),
        };
        if let Poll::Ready(Some(Err(BrokenOff))) = next {
            // hyper throws away what it has not written yet when a body fails: the head and the bytes
            // before the break are the client's, and a pause lets them out
            *this = Self::Broken;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if matches!(next, Poll::Ready(Some(_))) {
            stall::handed_out();
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ready(bytes) => bytes.is_none(),
            Self::Relayed(relay) => relay.is_done(),
            Self::Cut(_) | Self::Broken => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Cut(_) | Self::Broken => SizeHint::default(),
            Self::Relayed(relay) => relay.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_breaks_off_the_answer_and_closes_its_books() {
        let mut closed = 0;
        let next = past_panics(&mut closed, |_| panic!("a fault of ours"), |closed| *closed += 1);
        assert!(matches!(next, Poll::Ready(Some(Err(BrokenOff)))));
        assert_eq!(closed, 1);
    }

    #[test]
    fn an_answer_without_a_panic_passes_as_it_is() {
        let mut closed = 0;
        let piece = Frame::data(Bytes::from_static(b"piece"));
        let next = past_panics(&mut closed, |_| Poll::Ready(Some(Ok(piece))), |closed| *closed += 1);
        let Poll::Ready(Some(Ok(frame))) = next else { unreachable!("the piece passes") };
        assert_eq!((frame.into_data().unwrap(), closed), (Bytes::from_static(b"piece"), 0));
    }
}
