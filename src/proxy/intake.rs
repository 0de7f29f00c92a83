//! Receives request bodies within bounds: of size, of time, and of the memory that all of them share.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::begin::Asked;
use super::error::Refusal;
use super::exchange::Exchange;

/// Reads a body whole. Memory is taken as bytes arrive, not as they are announced: a client that only
/// promises a large body takes nothing from the others.
pub(super) async fn read_whole(x: &mut Exchange, mut body: Incoming) -> Result<Bytes, Refusal> {
    let bounds = x.policy.bounds;
    if body.size_hint().exact().is_some_and(|size| size > bounds.max_body) {
        return Err(Refusal::BodyTooLarge(bounds.max_body));
    }
    let began = x.tick();
    let mut whole = Gathered::default();
    let mut room = 0;
    loop {
        let frame = timeout(bounds.body_timeout, body.frame()).await.map_err(|_| Refusal::BodyTimeout)?;
        let Some(frame) = frame else { return Ok(whole.finish()) };
        let frame = frame.map_err(|fault| Refusal::BadRequest(fault.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        let size = whole.len() as u64 + data.len() as u64;
        if size > bounds.max_body {
            return Err(Refusal::BodyTooLarge(bounds.max_body));
        }
        let at_least = bounds.body_timeout + Duration::from_secs(size / SLOWEST_BYTES_PER_SECOND);
        if x.tick().since(began) > at_least {
            return Err(Refusal::BodyTimeout);
        }
        while room < size {
            // the last step is smaller: one body may have all of the memory there is
            let step = MEMORY_STEP.min(bounds.max_body - room);
            take_memory(x, step).await?;
            room += step;
        }
        whole.push(data);
    }
}

/// Slower than this, beyond `server.body_timeout`, is not an upload but an attack (FAULTS R1 has 1 KiB/s).
const SLOWEST_BYTES_PER_SECOND: u64 = 1_024;
/// Memory is taken in steps of this size.
const MEMORY_STEP: u64 = 64 * KIB;

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
    let kib = u32::try_from(bytes.div_ceil(KIB).max(1)).map_err(|_| Refusal::MemoryFull)?;
    let wait = Arc::clone(&x.door.body_memory).acquire_many_owned(kib);
    let Ok(Ok(permit)) = timeout(WAIT_FOR_MEMORY, wait).await else { return Err(Refusal::MemoryFull) };
    match &mut x.memory {
        Some(held) => held.merge(permit),
        None => x.memory = Some(permit),
    }
    Ok(())
}

/// Body bytes so far; a body that came in one piece is never copied.
#[derive(Debug, Default)]
struct Gathered {
    first: Bytes,
    rest: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn push(&mut self, data: Bytes) {
        if self.len() == 0 {
            self.first = data;
        } else {
            self.rest.extend_from_slice(&data);
        }
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut whole = BytesMut::with_capacity(self.len());
        whole.extend_from_slice(&self.first);
        whole.extend_from_slice(&self.rest);
        whole.freeze()
    }
}
