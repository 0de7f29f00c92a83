//! Receives request bodies within bounds: of size, of time, and of the memory that all of them share.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::begin::Asked;
use super::error::{BodyLimit, Refusal};
use super::exchange::Exchange;
use super::policy::Door;
use crate::base::clock::{Clock, Tick};

/// Reads a body whole. Memory is taken as bytes arrive, not as they are announced: a client that only
/// promises a large body takes nothing from the others.
pub(super) async fn read_whole(x: &mut Exchange, body: Incoming) -> Result<Bytes, Refusal> {
    let mut arriving = Arriving::new(x, body, x.policy.bounds.body_limit())?;
    let (mut whole, mut memory) = (Gathered::default(), MemoryTaken::default());
    while let Some(data) = arriving.next().await? {
        memory.grow(x, whole.len() as u64 + data.len() as u64).await?;
        whole.push(data, arriving.left());
    }
    Ok(whole.finish())
}

/// A body on its way to us, within a size, and no slower than it may be.
#[derive(Debug)]
pub(super) struct Arriving {
    body: Incoming,
    limit: BodyLimit,
    clock: Clock,
    /// The longest silence.
    patience: Duration,
    came: u64,
    /// Time spent waiting for the client; what the upstream takes is not the client's.
    waited: Duration,
    waiting_since: Option<Tick>,
    /// Set anew for each wait and left where it is in between: a body comes in many pieces.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Arriving {
    pub(super) fn new(x: &Exchange, body: Incoming, limit: BodyLimit) -> Result<Self, Refusal> {
        if body.size_hint().exact().is_some_and(|size| size > limit.most) {
            return Err(Refusal::BodyTooLarge(limit));
        }
        let (clock, patience) = (x.door.clock.clone(), x.policy.bounds.body_timeout);
        Ok(Self {
            body,
            limit,
            clock,
            patience,
            came: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            silence: None,
        })
    }

    /// Bytes that have come.
    pub(super) const fn came(&self) -> u64 {
        self.came
    }

    /// Bytes still to come, where the client has said how many.
    pub(super) fn left(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Refusal>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return self.poll_patience(cx).map(Err);
            };
            self.end_wait();
            let Some(frame) = frame else { return Poll::Ready(Ok(None)) };
            let frame = match frame {
                Ok(frame) => frame,
                Err(fault) => return Poll::Ready(Err(Refusal::BadRequest(fault.to_string()))),
            };
            if let Ok(data) = frame.into_data() {
                return Poll::Ready(self.take(data).map(Some));
            }
        }
    }

    fn take(&mut self, data: Bytes) -> Result<Bytes, Refusal> {
        self.came += data.len() as u64;
        if self.came > self.limit.most {
            return Err(Refusal::BodyTooLarge(self.limit));
        }
        let at_least = self.patience + Duration::from_secs(self.came / SLOWEST_BYTES_PER_SECOND);
        if self.waited > at_least { Err(Refusal::BodyTimeout) } else { Ok(data) }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Refusal> {
        let patience = self.patience;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(patience)));
        if self.waiting_since.is_none() {
            self.waiting_since = Some(self.clock.tick());
            silence.as_mut().reset(Instant::now() + patience);
        }
        silence.as_mut().poll(cx).map(|()| Refusal::BodyTimeout)
    }

    fn end_wait(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += self.clock.tick().since(since);
        }
    }
}

/// Slower than this, beyond `server.body_timeout`, is not an upload but an attack (FAULTS R1 has 1 KiB/s).
pub(super) const SLOWEST_BYTES_PER_SECOND: u64 = 1_024;
/// Memory is taken in steps of this size.
const MEMORY_STEP: u64 = 64 * KIB;
/// What the buffer takes that a small body came in: ten thousand of them are no reason to turn one away.
const FIRST_STEP: u64 = 8 * KIB;

/// The share of the memory for bodies that one body has taken so far.
#[derive(Debug, Default)]
pub(super) struct MemoryTaken(u64);

impl MemoryTaken {
    /// Takes what is missing to `bytes`.
    pub(super) async fn grow(&mut self, x: &mut Exchange, bytes: u64) -> Result<(), Refusal> {
        while self.0 < bytes {
            let step = if self.0 == 0 { FIRST_STEP } else { MEMORY_STEP };
            // the last step is smaller: one body may have all of the memory there is
            let step = step.min(x.policy.bounds.max_body.saturating_sub(self.0)).max(KIB);
            take_memory(x, step).await?;
            self.0 += step;
        }
        Ok(())
    }
}

/// Reads a little of a refused request's body, so that the client, still sending, sees the refusal
/// instead of a broken connection (FAULTS H6).
pub(super) async fn drain(asked: &mut Asked) {
    // such a client has not begun to send, and reading would tell it to
    if asked.parts.headers.contains_key(header::EXPECT) {
        return;
    }
    let mut left = DRAIN_AT_MOST;
    let read = async {
        while left > 0 && !asked.body.is_end_stream() {
            let Some(Ok(frame)) = asked.body.frame().await else { return };
            left = left.saturating_sub(frame.data_ref().map_or(1, Bytes::len));
        }
    };
    // on a time-out the connection is closed under the client, which is all that is left to do
    let _ = timeout(DRAIN_FOR, read).await;
}

const DRAIN_AT_MOST: usize = 1 << 20;
const DRAIN_FOR: Duration = Duration::from_secs(1);
/// How long a body waits for room among the bodies in memory.
const WAIT_FOR_MEMORY: Duration = Duration::from_secs(5);
const KIB: u64 = 1024;

/// Takes a share of the memory for bodies, waiting for it a little. Held until the exchange ends.
pub(super) async fn take_memory(x: &mut Exchange, bytes: u64) -> Result<(), Refusal> {
    let permit = memory_of(&x.door, bytes).await?;
    match &mut x.memory {
        Some(held) => held.merge(permit),
        None => x.memory = Some(permit),
    }
    Ok(())
}

/// The share itself.
pub(super) async fn memory_of(door: &Door, bytes: u64) -> Result<OwnedSemaphorePermit, Refusal> {
    let kib = u32::try_from(bytes.div_ceil(KIB).max(1)).map_err(|_| Refusal::MemoryFull)?;
    // where there is room nobody waits, and no timer is set
    if let Ok(permit) = Arc::clone(&door.body_memory).try_acquire_many_owned(kib) {
        return Ok(permit);
    }
    let wait = Arc::clone(&door.body_memory).acquire_many_owned(kib);
    let waited = Box::pin(timeout(WAIT_FOR_MEMORY, wait)).await;
    let Ok(Ok(permit)) = waited else { return Err(Refusal::MemoryFull) };
    Ok(permit)
}

/// Body bytes so far; a body that came in one piece is never copied, and one of known length once.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The only piece, until there is another.
    first: Bytes,
    all: BytesMut,
}

/// Room that is made for bytes that were announced, at most. What has not come takes no memory of its own: the
/// pages are taken when they are written.
const MOST_ROOM: u64 = 1 << 20;

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Takes the next bytes, behind which so many are still to come, where that is known.
    pub(super) fn push(&mut self, data: Bytes, left: Option<u64>) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            let left = usize::try_from(left.unwrap_or(0).min(MOST_ROOM)).unwrap_or(0);
            self.all.reserve(self.first.len() + data.len() + left);
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&data);
    }

    pub(super) fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
