//! Third step: the body is read (or left to pass through) and its facts are found. Bytes stay as they are.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as _;

use super::begin::Asked;
use super::error::{BodyLimit, Refusal};
use super::exchange::Exchange;
use super::headers;
use super::intake::take_memory;
use super::request::{ReadRequest, RequestBody};
use super::socket;
use super::upload::{Received, receive};
use crate::dialect::decode::{Decoder, MAX_RATIO};
use crate::dialect::outline::InputCeiling;
use crate::dialect::path::{Endpoint, Metering};
use crate::dialect::request::{RequestFacts, read, scan};

/// Reads what a metered path needs read; everything else streams through.
pub(super) async fn decode(x: &mut Exchange, asked: Asked) -> Result<ReadRequest, Refusal> {
    let Asked { parts, body } = asked;
    let is_passing = matches!(x.endpoint.operation.metering(), Metering::Later | Metering::Unmetered);
    let is_read = !is_passing && !body.is_end_stream();
    let mut request = ReadRequest {
        method: parts.method,
        path: parts.uri.path().into(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: RequestBody::Whole(Bytes::new()),
        model: String::new(),
        facts: Arc::default(),
        ceiling: InputCeiling { tokens: 0, of_images: 0, is_open: false },
        can_splice: true,
        targets: Vec::new(),
        cap_to: None,
        cache_ttl: None,
    };
    if is_read {
        let received = receive(x, &request.headers, body).await?;
        take(x, &mut request, received).await?;
    } else if !body.is_end_stream() {
        request.body = RequestBody::Passing(Some(body));
    }
    if x.record.user.is_empty()
        && let Some(user) = &request.facts.user
    {
        x.record.user = headers::bounded(user);
    }
    // a deployment in the path is what the upstream goes by, whatever the body says (WIRE 1.6)
    let is_socket = x.endpoint.operation.is_socket();
    let in_query = if is_socket { socket::model_in(request.query.as_deref())? } else { None };
    let model = x.endpoint.deployment.clone().or_else(|| request.facts.model.clone());
    request.model = model.or(in_query).unwrap_or_default();
    x.record.model = headers::bounded(&request.model);
    let wanted = headers::wanted_upstream(&request.headers);
    let dice = x.door.chance.next_u64();
    let plan = x.policy.plan(&request.model, x.endpoint.dialect, wanted, dice);
    (request.targets, request.cache_ttl) = (plan.targets, plan.cache_ttl);
    x.facts = Arc::clone(&request.facts);
    if request.targets.is_empty() { Err(Refusal::NoUpstream) } else { Ok(request) }
}

/// Notes what a body says, and what it is.
async fn take(x: &mut Exchange, request: &mut ReadRequest, received: Received) -> Result<(), Refusal> {
    match received {
        Received::Whole(bytes) => {
            let found = find_facts(x, &request.headers, &bytes).await?;
            (request.facts, request.ceiling) = (Arc::new(found.facts), found.ceiling);
            request.can_splice = !found.was_encoded;
            x.prompt = found.plain;
            request.body = RequestBody::Whole(bytes);
        }
        Received::Form(form) => {
            (request.facts, request.ceiling) = (Arc::new(form.facts), form.ceiling);
            request.body = form.body;
            x.upload = Some(form.upload);
        }
    }
    Ok(())
}

/// What a body says.
struct Found {
    facts: RequestFacts,
    ceiling: InputCeiling,
    /// The body without its content encoding.
    plain: Bytes,
    was_encoded: bool,
}

/// Reads a body's facts: at once if it is small, else off the worker, which others are waiting for.
async fn find_facts(x: &mut Exchange, headers: &HeaderMap, body: &Bytes) -> Result<Found, Refusal> {
    let (content_type, encoding) = kind_of(headers);
    if body.len() <= SMALL_BODY && encoding.is_none() {
        let limit = x.policy.bounds.body_limit();
        return Reader { endpoint: &x.endpoint, content_type, encoding, limit }.read(body);
    }
    // on the heap: every request would be as large as what this takes
    Box::pin(read_elsewhere(x, headers, body)).await
}

/// Content type and content encoding, if it is encoded.
fn kind_of(headers: &HeaderMap) -> (Option<&str>, Option<&str>) {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let encoding =
        text(header::CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    (text(header::CONTENT_TYPE), encoding)
}

async fn read_elsewhere(x: &mut Exchange, headers: &HeaderMap, body: &Bytes) -> Result<Found, Refusal> {
    let (content_type, encoding) = kind_of(headers);
    if encoding.is_some() {
        // the decoded copy is a body in memory, too
        let most = x.policy.bounds.max_body.min(body.len() as u64 * MAX_RATIO);
        take_memory(x, most).await?;
    }
    let (body, endpoint, limit) = (body.clone(), x.endpoint.clone(), x.policy.bounds.body_limit());
    let (content_type, encoding) = (content_type.map(str::to_owned), encoding.map(str::to_owned));
    let read = tokio::task::spawn_blocking(move || {
        let (content_type, encoding) = (content_type.as_deref(), encoding.as_deref());
        Reader { endpoint: &endpoint, content_type, encoding, limit }.read(&body)
    })
    .await;
    read.unwrap_or_else(|_| Err(Refusal::BadRequest("it could not be read".into())))
}

/// Up to this size a body is read in well under a millisecond.
const SMALL_BODY: usize = 256 << 10;

/// Everything that reading a body needs.
struct Reader<'a> {
    endpoint: &'a Endpoint,
    content_type: Option<&'a str>,
    encoding: Option<&'a str>,
    limit: BodyLimit,
}

impl Reader<'_> {
    fn read(&self, body: &Bytes) -> Result<Found, Refusal> {
        let plain = match self.encoding {
            None => body.clone(),
            Some(encoding) => self.decode(encoding, body)?,
        };
        let content_type = self.content_type;
        let read = match self.endpoint.operation.metering() {
            Metering::Billed => read(self.endpoint, content_type, &plain),
            Metering::Free | Metering::Later | Metering::Unmetered => {
                let ceiling = InputCeiling { tokens: 0, of_images: 0, is_open: false };
                scan(self.endpoint, content_type, &plain).map(|facts| (facts, ceiling))
            }
        };
        let (facts, ceiling) = read.map_err(|fault| Refusal::BadRequest(fault.message))?;
        Ok(Found { facts, ceiling, plain, was_encoded: self.encoding.is_some() })
    }

    /// A decoded copy, for reading only: the body goes on as it came.
    fn decode(&self, encoding: &str, body: &[u8]) -> Result<Bytes, Refusal> {
        let mut plain = Vec::new();
        let bound = usize::try_from(self.limit.most).unwrap_or(usize::MAX);
        let mut is_too_large = false;
        let decoded = Decoder::new(Some(encoding)).push(body, |piece| {
            is_too_large |= plain.len() + piece.len() > bound;
            if !is_too_large {
                plain.extend_from_slice(piece);
            }
        });
        if is_too_large {
            return Err(Refusal::BodyTooLarge(self.limit));
        }
        decoded.map_err(|_| Refusal::UnsupportedEncoding)?;
        Ok(plain.into())
    }
}
