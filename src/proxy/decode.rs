//! Third step: the body is read (or left to pass through) and its facts are found. Bytes stay as they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::begin::Asked;
use super::error::Refusal;
use super::exchange::Exchange;
use super::headers;
use super::request::{ReadRequest, RequestBody};
use crate::dialect::decode::Decoder;
use crate::dialect::path::Metering;
use crate::dialect::request::{RequestFacts, scan};

/// Reads what a metered path needs read; everything else streams through.
pub(super) async fn decode(x: &mut Exchange, asked: Asked) -> Result<ReadRequest, Refusal> {
    let Asked { parts, body } = asked;
    let is_read = x.endpoint.operation.metering() != Metering::Unmetered && !body.is_end_stream();
    let mut request = ReadRequest {
        method: parts.method,
        path: parts.uri.path().into(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: RequestBody::Whole(Bytes::new()),
        facts: RequestFacts::default(),
        can_splice: true,
        targets: Vec::new(),
        cache_ttl: None,
    };
    if is_read {
        let bytes = read_whole(x, body).await?;
        (request.facts, request.can_splice) = find_facts(x, &request.headers, &bytes)?;
        x.prompt = bytes.clone();
        request.body = RequestBody::Whole(bytes);
    } else if !body.is_end_stream() {
        request.body = RequestBody::Passing(body);
    }
    if x.record.user.is_empty()
        && let Some(user) = &request.facts.user
    {
        x.record.user = user.chars().take(256).collect();
    }
    let model = request.facts.model.clone().or_else(|| x.endpoint.deployment.clone()).unwrap_or_default();
    x.record.model = model.chars().take(LONGEST_MODEL).collect();
    let wanted = headers::wanted_upstream(&request.headers);
    let dice = x.door.chance.next_u64();
    let plan = x.policy.plan(&model, x.endpoint.dialect, wanted, dice);
    (request.targets, request.cache_ttl) = (plan.targets, plan.cache_ttl);
    x.facts = request.facts.clone();
    if request.targets.is_empty() { Err(Refusal::NoUpstream) } else { Ok(request) }
}

/// Reads a little of a refused request's body, so that the client, still sending, sees the refusal
/// instead of a broken connection (FAULTS H6).
pub(super) async fn drain(asked: &mut Asked) {
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
/// A model name longer than this is no model's; the ledger keeps its beginning.
const LONGEST_MODEL: usize = 256;
/// How long a body waits for room among the bodies in memory.
const WAIT_FOR_MEMORY: Duration = Duration::from_secs(5);
const KIB: u64 = 1024;

async fn read_whole(x: &mut Exchange, mut body: Incoming) -> Result<Bytes, Refusal> {
    let bounds = x.policy.bounds;
    let announced = body.size_hint().exact();
    if announced.is_some_and(|size| size > bounds.max_body) {
        return Err(Refusal::BodyTooLarge(bounds.max_body));
    }
    take_memory(x, announced.unwrap_or(UNANNOUNCED_STEP)).await?;
    let mut whole = Gathered::default();
    loop {
        let frame = timeout(bounds.body_timeout, body.frame()).await.map_err(|_| Refusal::BodyTimeout)?;
        let Some(frame) = frame else { return Ok(whole.finish()) };
        let frame = frame.map_err(|fault| Refusal::BadRequest(fault.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        let size = whole.len() as u64 + data.len() as u64;
        if size > bounds.max_body {
            return Err(Refusal::BodyTooLarge(bounds.max_body));
        }
        if announced.is_none() && size / UNANNOUNCED_STEP > whole.len() as u64 / UNANNOUNCED_STEP {
            take_memory(x, UNANNOUNCED_STEP).await?;
        }
        whole.push(data);
    }
}

/// A body without a length takes its memory in steps of this size.
const UNANNOUNCED_STEP: u64 = 256 * KIB;

/// Takes a share of the memory for bodies, waiting for it a little. Held until the exchange ends.
async fn take_memory(x: &mut Exchange, bytes: u64) -> Result<(), Refusal> {
    let kib = u32::try_from(bytes.div_ceil(KIB).max(1)).map_err(|_| Refusal::Overloaded)?;
    let wait = Arc::clone(&x.door.body_memory).acquire_many_owned(kib);
    let Ok(Ok(permit)) = timeout(WAIT_FOR_MEMORY, wait).await else { return Err(Refusal::Overloaded) };
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

/// The facts, and whether the bytes may be spliced: an encoded body is read through a decoded copy.
fn find_facts(x: &Exchange, headers: &HeaderMap, body: &Bytes) -> Result<(RequestFacts, bool), Refusal> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let content_type = text(header::CONTENT_TYPE);
    let scan = |body: &[u8]| {
        scan(&x.endpoint, content_type, body).map_err(|fault| Refusal::BadRequest(fault.message))
    };
    let encoding =
        text(header::CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    let Some(encoding) = encoding else { return Ok((scan(body)?, true)) };
    let mut decoder = Decoder::new(Some(encoding));
    let mut decoded = Vec::new();
    let bound = usize::try_from(x.policy.bounds.max_body).unwrap_or(usize::MAX);
    let pushed = decoder.push(body, |piece| {
        let room = bound.saturating_sub(decoded.len());
        decoded.extend_from_slice(&piece[..piece.len().min(room)]);
    });
    pushed.map_err(|_| Refusal::UnsupportedEncoding)?;
    Ok((scan(&decoded)?, false))
}
