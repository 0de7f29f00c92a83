//! Sixth step: ask the upstreams, one target after the other, until one answers. Before the first byte
//! of an answer went out, a failure may be mended by the next target; after it, never.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use super::error::Refusal;
use super::exchange::Exchange;
use super::headers;
use super::relay::{Answer, AnswerBody, Live};
use super::request::{ReadRequest, RequestBody};
use crate::dialect::splice::{Edit, apply, ask_for_usage, rename_model};
use crate::dialect::unask::Unask;
use crate::routing::retry::{AttemptEnd, tries_next};
use crate::routing::router::Target;
use crate::signals::{Active, Attempt};
use crate::telemetry::trace::new_span_id;
use crate::telemetry::words::{AttemptOutcome, AttemptReason, provider_error};
use crate::upstream::address;
use crate::upstream::client::{Client, OutBody, SendFault};
use crate::upstream::endpoint::Upstream;
use crate::upstream::section::{StreamUsage, UpstreamKind};

/// Asks until someone answers; relays the last answer, good or bad.
pub(super) async fn forward(
    x: &mut Exchange,
    mut request: ReadRequest,
    client: &Client,
) -> Result<Answer, Refusal> {
    write_intent(x, &request).await?;
    let targets = std::mem::take(&mut request.targets);
    let mut passing = match std::mem::replace(&mut request.body, RequestBody::Whole(Bytes::new())) {
        RequestBody::Passing(body) => Some(body),
        whole @ RequestBody::Whole(_) => {
            request.body = whole;
            None
        }
    };
    let can_repeat = passing.is_none();
    for (place, target) in targets.iter().enumerate() {
        let is_last = place + 1 == targets.len() || !can_repeat;
        let ask = Ask::prepare(x, &request, target, place);
        x.attempts.push(ask.begin());
        x.record.attempts = ask.number;
        let active = x.door.signals.attempt_started(&ask.upstream.name);
        let answered = ask.send(x, &request, passing.take(), client).await;
        ask.note(x, &answered);
        if is_last || !tries_next(end_of(&answered)) {
            return ask.conclude(x, answered, active).await;
        }
        tracing::debug!(upstream = ask.upstream.name, "trying the next target");
    }
    Err(Refusal::NoUpstream)
}

/// The intent reaches the journal before any upstream is asked: what cannot be recorded is not spent.
async fn write_intent(x: &mut Exchange, request: &ReadRequest) -> Result<(), Refusal> {
    x.record.overhead_us = micros(x.tick().since(x.began));
    if let Some(target) = request.targets.first() {
        x.record.upstream = x.policy.upstreams[target.upstream].name.clone();
        x.record.upstream_model = target.model.clone().unwrap_or_else(|| x.record.model.clone());
    }
    if x.price.is_some() {
        // so that an intent whose end nobody sees is charged by a named catalogue
        x.record.catalogue = x.policy.catalogue.version().into();
    }
    let refuse = |fault| {
        tracing::error!(%fault, "the journal refused an intent; requests are turned away");
        Refusal::LedgerUnavailable
    };
    let ticket = x.door.journal.intend(&x.record).map_err(refuse)?;
    x.door.journal.durable(ticket).await.map_err(refuse)
}

fn micros(of: std::time::Duration) -> u64 {
    u64::try_from(of.as_micros()).unwrap_or(u64::MAX)
}

/// One target being asked.
struct Ask {
    upstream: std::sync::Arc<Upstream>,
    model: String,
    renames: bool,
    asks_usage: Option<Edit>,
    number: u32,
    reason: AttemptReason,
    span_id: u64,
    started: crate::base::clock::Timestamp,
    began: crate::base::clock::Tick,
}

type Answered = Result<Response<Incoming>, SendFault>;

impl Ask {
    fn prepare(x: &Exchange, request: &ReadRequest, target: &Target, place: usize) -> Self {
        let upstream = x.policy.upstreams[target.upstream].clone();
        let asked_for = &x.record.model;
        let model = target.model.clone().unwrap_or_else(|| asked_for.clone());
        let may_ask = request.can_splice
            && upstream.stream_usage == StreamUsage::Ask
            && !upstream.refuses_usage(&model)
            && request.facts.stream;
        let asks_usage = request
            .whole()
            .filter(|_| may_ask)
            .and_then(|body| ask_for_usage(&x.endpoint, &request.facts, body));
        Self {
            renames: target.model.as_ref().is_some_and(|model| model != asked_for),
            asks_usage,
            number: u32::try_from(place + 1).unwrap_or(u32::MAX),
            reason: if place == 0 { AttemptReason::Initial } else { AttemptReason::Failover },
            span_id: new_span_id(&x.door.chance),
            started: x.now(),
            began: x.tick(),
            upstream,
            model,
        }
    }

    /// Sends the request; an upstream that answers 400 to the added usage option is asked once more
    /// without it, and remembered.
    async fn send(
        &self,
        x: &mut Exchange,
        request: &ReadRequest,
        passing: Option<Incoming>,
        client: &Client,
    ) -> Answered {
        let (body, asked_usage) = match passing {
            Some(body) => (Either::Right(body), false),
            None => (Either::Left(Full::new(self.body(request, true))), self.asks_usage.is_some()),
        };
        let first = client.send(&self.upstream, self.compose(x, request, body, asked_usage)?).await;
        if !asked_usage || !matches!(&first, Ok(answer) if answer.status() == StatusCode::BAD_REQUEST) {
            return first;
        }
        let plain = Either::Left(Full::new(self.body(request, false)));
        let second = client.send(&self.upstream, self.compose(x, request, plain, false)?).await;
        if matches!(&second, Ok(answer) if answer.status().is_success()) {
            self.upstream.note_usage_refused(&self.model);
        }
        second
    }

    /// The body to send: the client's bytes, with at most two places spliced.
    fn body(&self, request: &ReadRequest, with_usage: bool) -> Bytes {
        let Some(body) = request.whole() else { return Bytes::new() };
        let mut edits = Vec::new();
        if self.renames && request.can_splice {
            edits.extend(rename_model(&request.facts, &self.model));
        }
        if with_usage {
            edits.extend(self.asks_usage.clone());
        }
        apply(body, edits)
    }

    fn compose(
        &self,
        x: &Exchange,
        request: &ReadRequest,
        body: OutBody,
        asks_usage: bool,
    ) -> Result<Request<OutBody>, SendFault> {
        let uri = address::resolve(
            &self.upstream,
            &x.endpoint,
            &request.path,
            request.query.as_deref(),
            &self.model,
        )
        .map_err(|_| SendFault::RequestBody)?;
        let mut composed = Request::new(body);
        *composed.method_mut() = request.method.clone();
        *composed.uri_mut() = uri;
        let mut sent = headers::to_upstream(&request.headers);
        if asks_usage && sent.contains_key(header::ACCEPT_ENCODING) {
            // what we add must be taken out again, which compressed bytes do not allow (docs/adr/0004)
            sent.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("identity"));
        }
        for (name, value) in &self.upstream.headers {
            sent.insert(name.clone(), value.clone());
        }
        if let Some((name, value)) = &self.upstream.credential {
            sent.insert(name.clone(), value.clone());
        }
        if self.upstream.kind == UpstreamKind::Anthropic && !sent.contains_key("anthropic-version") {
            sent.insert("anthropic-version", header::HeaderValue::from_static(ANTHROPIC_VERSION));
        }
        if self.upstream.propagate_trace {
            headers::set(
                &mut sent,
                "traceparent",
                &x.trace.traceparent(self.span_id, x.door.signals.sampled(&x.trace)),
            );
        }
        *composed.headers_mut() = sent;
        Ok(composed)
    }

    /// The attempt as it begins. It stands in the books before anything is sent, so that a client who
    /// leaves now still leaves a request that an upstream may have worked on.
    fn begin(&self) -> Attempt {
        Attempt {
            number: self.number,
            reason: self.reason,
            upstream: self.upstream.name.clone(),
            provider: self.upstream.provider().into(),
            host: self.upstream.authority.host().into(),
            port: self.upstream.port(),
            model_sent: self.model.clone(),
            span_id: self.span_id,
            started: self.started,
            ended: self.started,
            first_byte_us: None,
            status: None,
            error_type: None,
            outcome: AttemptOutcome::Cancelled,
        }
    }

    /// Notes how the attempt went, as far as its answer's head tells.
    fn note(&self, x: &mut Exchange, answered: &Answered) {
        let (now, first_byte) = (x.now(), micros(x.tick().since(self.began)));
        let Some(attempt) = x.attempts.last_mut() else { return };
        attempt.ended = now;
        match answered {
            Ok(answer) => {
                let status = answer.status().as_u16();
                attempt.status = Some(status);
                attempt.first_byte_us = Some(first_byte);
                attempt.outcome = if status < 400 { AttemptOutcome::Success } else { AttemptOutcome::Error };
                attempt.error_type = (status >= 400).then(|| provider_error(None, status).into_owned());
            }
            Err(fault) => {
                attempt.outcome = AttemptOutcome::Error;
                attempt.error_type = Some(fault.to_string());
            }
        }
    }

    /// The answer that the client will get.
    async fn conclude(self, x: &mut Exchange, answered: Answered, active: Active) -> Result<Answer, Refusal> {
        x.record.upstream.clone_from(&self.upstream.name);
        x.record.upstream_model.clone_from(&self.model);
        let answer = answered.map_err(Refusal::Unreachable)?;
        let (parts, incoming) = answer.into_parts();
        let is_stream = is_event_stream(&parts.headers);
        // the answer shows what was asked for only if it is a stream of events that we asked into
        let unask = (self.asks_usage.is_some() && is_stream && !is_encoded(&parts.headers)).then(Unask::new);
        let live = Live { incoming, unask, idle_timeout: self.upstream.idle_timeout, active };
        let headers = headers::to_client(&parts.headers, live.unask.is_some());
        x.record.stream = is_stream;
        let body =
            if is_stream { AnswerBody::Live(live) } else { live.gather_if_small(&parts.headers).await };
        Ok(Answer { status: parts.status, headers, body })
    }
}

/// The version that first had all fields we read; official clients always send their own.
const ANTHROPIC_VERSION: &str = "2023-06-01";

fn end_of(answered: &Answered) -> AttemptEnd {
    match answered {
        Ok(answer) => AttemptEnd::Answered(answer.status().as_u16()),
        Err(SendFault::RequestBody) => AttemptEnd::BodyBroken,
        Err(fault) if fault.is_connect() => AttemptEnd::NotConnected,
        Err(_) => AttemptEnd::NoAnswer,
    }
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

fn is_encoded(headers: &http::HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
