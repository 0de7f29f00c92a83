//! The client's end of a relay. When the client drops it, the upstream is cancelled or read on.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::flow::Flow;
use super::live::Live;
use crate::dialect::meter::Meter;
use crate::proxy::body::BrokenOff;
use crate::proxy::exchange::Exchange;
use crate::upstream::answer::Incoming;

/// A body on its way from the upstream to the client.
#[derive(Debug)]
pub struct Relay<B = Incoming>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    /// `None` once it goes on without the client.
    flow: Option<Box<Flow<B>>>,
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Relay<B> {
    pub(super) fn new(x: Exchange, meter: Meter, live: Live<B>) -> Self {
        Self { flow: Some(Box::new(Flow::new(x, meter, live))) }
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.flow.as_mut().map_or(Poll::Ready(None), |flow| flow.poll_frame(cx))
    }

    /// The size, where the bytes pass through as they are.
    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        self.flow.as_ref().map_or_else(SizeHint::default, |flow| flow.size_hint())
    }

    /// Whether the client has all of an answer that ended well.
    pub(in crate::proxy) fn is_done(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.is_done())
    }

    /// A panic of ours: what went out counts as far as the meter can still tell.
    pub(in crate::proxy) fn fail(&mut self) {
        if let Some(flow) = &mut self.flow {
            flow.fail();
        }
    }

    /// Reads to the end for a client that left before the answer's head.
    pub(in crate::proxy) async fn read_on(mut self) {
        if let Some(mut flow) = self.flow.take() {
            flow.leave();
            flow.read_on().await;
        }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Relay<B> {
    fn drop(&mut self) {
        let Some(mut flow) = self.flow.take() else { return };
        if std::thread::panicking() {
            return;
        }
        let (Some(limit), Some(door)) = (flow.time_alone(), flow.door()) else { return };
        if let Some(place) = door.drains.place() {
            flow.leave();
            place.go_on_for(limit, async move { flow.read_on().await });
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
pub(super) mod tests;
