//! Sixth step: ask the upstreams, one target after the other, until one answers. Before the first byte
//! of an answer went out, a failure may be mended by the next target; after it, never.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;

use super::bill::note_price;
use super::error::Refusal;
use super::exchange::{Exchange, Lost};
use super::follow::hold_whole;
use super::headers;
use super::lost::hold_lost;
use super::rates;
use super::relay::{Answer, AnswerBody, Live};
use super::request::{ReadRequest, RequestBody};
use super::socket;
use crate::base::clock::{Tick, micros};
use crate::base::failpoint::Failpoint;
use crate::base::usage::Usage;
use crate::dialect::path::Operation;
use crate::dialect::splice::{Edit, apply, ask_for_usage, lower_cap, rename_model};
use crate::dialect::unask::Unask;
use crate::ledger::journal::{JournalFault, Ticket};
use crate::routing::retry::{AttemptEnd, tries_next};
use crate::routing::router::Target;
use crate::signals::{Active, Attempt};
use crate::telemetry::trace::new_span_id;
use crate::telemetry::words::{AttemptOutcome, AttemptReason, provider_error};
use crate::upstream::address;
use crate::upstream::answer::Incoming;
use crate::upstream::body::{OutBody, Progress};
use crate::upstream::client::{Client, Freshness, SendFault};
use crate::upstream::endpoint::Upstream;
use crate::upstream::section::{StreamUsage, UpstreamKind};

/// Asks until someone answers; relays the last answer, good or bad.
pub(super) async fn forward(
    x: &mut Exchange,
    request: &mut ReadRequest,
    client: &Client,
) -> Result<Answer, Refusal> {
    let ticket = write_intent(x, request)?;
    Failpoint::AfterIntent.reach();
    let targets = std::mem::take(&mut request.targets);
    let mut place = rates::enter_upstream(x, &targets, 0)?;
    loop {
        let mut ask = Ask::prepare(x, request, &targets[place])?;
        let mut sent = ask.send(x, request, client).await;
        if ask.asks_usage.is_some() && sent.is_bad_request() {
            ask = ask.without_usage(x);
            sent.let_go();
            sent = ask.send(x, request, client).await;
            if sent.is_success() {
                ask.upstream.note_usage_refused(&ask.model);
            }
        }
        // nobody waits for another attempt if the client has left
        let may_try_next =
            request.can_repeat() && !x.is_alone() && tries_next(sent.end()) && place + 1 < targets.len();
        let next = if may_try_next && hold_lost(x) {
            rates::enter_upstream(x, &targets, place + 1).ok()
        } else {
            None
        };
        let Some(next) = next else {
            // an fsync, where one is asked for, has overlapped the upstream's time to the first byte
            x.door.journal.durable(ticket).await.map_err(|fault| unrecorded(&fault))?;
            return ask.conclude(x, request, sent).await;
        };
        sent.let_go();
        place = next;
        tracing::debug!(upstream = ask.upstream.name, "trying the next target");
    }
}

/// The intent reaches the journal before any upstream is asked: what cannot be recorded is not spent.
fn write_intent(x: &mut Exchange, request: &ReadRequest) -> Result<Ticket, Refusal> {
    x.record.overhead_us = micros(x.tick().since(x.began));
    if let Some(target) = request.targets.first() {
        x.record.upstream = x.policy.upstreams[target.upstream].name.clone();
        x.record.upstream_model = target.model.clone().unwrap_or_else(|| x.record.model.clone());
    }
    if let Some(price) = x.price.clone() {
        // so that an intent whose end nobody sees is charged by a named catalogue
        note_price(x, &price);
    }
    x.door.journal.intend(&x.record).map_err(|fault| unrecorded(&fault))
}

pub(super) fn unrecorded(fault: &JournalFault) -> Refusal {
    tracing::error!(%fault, "the journal refused an intent; requests are turned away");
    Refusal::LedgerUnavailable
}

/// One target being asked.
struct Ask {
    upstream: Arc<Upstream>,
    model: String,
    renames: bool,
    asks_usage: Option<Edit>,
    reason: AttemptReason,
    span_id: u64,
}

/// What came of it: an answer's head, or the reason why there is none; and the attempt's place among
/// those under way.
struct Sent {
    answered: Result<Response<Incoming>, SendFault>,
    active: Active,
}

impl Sent {
    fn status(&self) -> Option<StatusCode> {
        self.answered.as_ref().ok().map(Response::status)
    }

    /// Nobody gets it: another answer is asked for.
    fn let_go(self) {
        if let Ok(answer) = self.answered {
            answer.into_body().let_go();
        }
    }

    fn is_bad_request(&self) -> bool {
        self.status() == Some(StatusCode::BAD_REQUEST)
    }

    fn is_success(&self) -> bool {
        self.status().is_some_and(|status| status.is_success())
    }

    fn end(&self) -> AttemptEnd {
        match &self.answered {
            Ok(answer) => AttemptEnd::Answered(answer.status().as_u16()),
            Err(SendFault::RequestBody) => AttemptEnd::BodyBroken,
            Err(fault) if fault.is_connect() => AttemptEnd::NotConnected,
            Err(_) => AttemptEnd::NoAnswer,
        }
    }
}

impl Ask {
    fn prepare(x: &Exchange, request: &ReadRequest, target: &Target) -> Result<Self, Refusal> {
        let upstream = x.policy.upstreams[target.upstream].clone();
        // what the body names, where the upstream goes by the body; a deployment in the path may differ
        let named = request.facts.model.as_deref();
        let model = target.model.clone().unwrap_or_else(|| request.model.clone());
        let by_path = address::keeps_deployment(&upstream, &x.endpoint);
        let renames = !by_path && named.is_some_and(|named| named != model);
        if renames && !(request.can_splice && request.facts.model_at.is_some()) {
            return Err(Refusal::UnsupportedEncoding);
        }
        let may_ask = request.can_splice
            && upstream.stream_usage == StreamUsage::Ask
            && !upstream.refuses_usage(&model)
            && request.facts.stream;
        let body = request.whole().filter(|_| may_ask);
        let asks_usage = body.and_then(|body| ask_for_usage(&x.endpoint, &request.facts, body));
        let reason = if x.attempts.is_empty() { AttemptReason::Initial } else { AttemptReason::Failover };
        Ok(Self { upstream, model, renames, asks_usage, reason, span_id: new_span_id(&x.door.chance) })
    }

    /// The same target, asked as the client asked.
    fn without_usage(self, x: &Exchange) -> Self {
        let span_id = new_span_id(&x.door.chance);
        Self { asks_usage: None, reason: AttemptReason::Retry, span_id, ..self }
    }

    /// Sends the request, and once more on a new connection if that on which it went out had ended before
    /// (docs/adr/0018).
    async fn send(&mut self, x: &mut Exchange, request: &mut ReadRequest, client: &Client) -> Sent {
        let way = match (&x.upgrade, &request.body) {
            (Some(_), _) => Freshness::Upgrade,
            // a stale connection would have eaten what can be sent only once
            (None, RequestBody::Uploading(_)) => Freshness::New,
            (None, _) => Freshness::Any,
        };
        let sent = self.send_on(way, x, request, client).await;
        let is_stale = matches!(sent.answered, Err(SendFault::Stale));
        if !is_stale || x.is_alone() || !request.can_repeat() {
            return sent;
        }
        (self.reason, self.span_id) = (AttemptReason::Retry, new_span_id(&x.door.chance));
        self.send_on(Freshness::New, x, request, client).await
    }

    /// Sends the request once. The attempt stands in the books before anything is sent, so that a client
    /// who leaves now still leaves a request that an upstream may have worked on.
    async fn send_on(
        &self,
        freshness: Freshness,
        x: &mut Exchange,
        request: &mut ReadRequest,
        client: &Client,
    ) -> Sent {
        let began = x.tick();
        let attempt = self.begin(x);
        x.record.attempts = attempt.number;
        x.attempts.push(attempt);
        x.leaving.note_asked(self.upstream.draining.is_wanted() && x.upgrade.is_none());
        let active = x.door.signals.attempt_started(&self.upstream.name);
        let (body, progress) = self.out_body(x, request);
        let answered = match self.compose(x, request, body) {
            Ok(composed) => client.send(&self.upstream, composed, freshness, progress).await,
            Err(fault) => Err(fault),
        };
        if answered.is_ok() {
            Failpoint::AfterFirstByte.reach();
        }
        self.note(x, &answered, began);
        Sent { answered, active }
    }

    /// The body to send: the client's bytes, with a few places spliced. Of one that takes its time, word of
    /// each piece that went.
    fn out_body(&self, x: &Exchange, request: &mut ReadRequest) -> (OutBody, Option<Progress>) {
        let renamed = if self.renames { rename_model(&request.facts, &self.model) } else { None };
        let (body, progress) = match (&mut request.body, &x.upload) {
            (RequestBody::Passing(body), _) => {
                return (body.take().map_or_else(OutBody::default, OutBody::Passing), None);
            }
            (RequestBody::Uploading(passing), _) => passing.body(renamed),
            (RequestBody::Spooled(spool), Some(upload)) => {
                Arc::clone(spool).body(renamed, Arc::clone(upload))
            }
            (RequestBody::Whole(_) | RequestBody::Spooled(_), _) => {
                return (OutBody::whole(self.body(request, renamed, x.endpoint.operation)), None);
            }
        };
        (body, Some(progress))
    }

    fn body(&self, request: &ReadRequest, renamed: Option<Edit>, operation: Operation) -> Bytes {
        let Some(body) = request.whole() else { return Bytes::new() };
        let lowered =
            request.cap_to.and_then(|cap| lower_cap(&request.facts, body, self.cap_name(operation), cap));
        let edits = renamed.into_iter().chain(self.asks_usage.clone()).chain(lowered.into_iter().flatten());
        apply(body, edits.collect())
    }

    /// What an output cap is called where the body has none.
    fn cap_name(&self, operation: Operation) -> &'static str {
        let is_openai = self.upstream.kind == UpstreamKind::Azure || self.upstream.provider() == "openai";
        match operation {
            Operation::Responses | Operation::ResponsesCompact | Operation::Decisions => "max_output_tokens",
            Operation::ChatCompletions if is_openai => "max_completion_tokens",
            _ => "max_tokens",
        }
    }

    fn compose(
        &self,
        x: &Exchange,
        request: &ReadRequest,
        body: OutBody,
    ) -> Result<Request<OutBody>, SendFault> {
        let query = socket::query_to(x, request.query.as_deref(), &self.model);
        let uri = address::resolve(&self.upstream, &x.endpoint, &request.path, query.as_deref(), &self.model)
            .map_err(|_| SendFault::Unaddressable)?;
        let passes_trailers = matches!(body, OutBody::Passing(_));
        let mut composed = Request::new(body);
        *composed.method_mut() = request.method.clone();
        *composed.uri_mut() = uri;
        let mut sent = headers::to_upstream(&request.headers, passes_trailers);
        if self.asks_usage.is_some() && sent.contains_key(header::ACCEPT_ENCODING) {
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
        if x.upgrade.is_some() {
            socket::ask_to_switch(&mut sent);
        }
        if self.upstream.propagate_trace {
            let parent = x.trace.traceparent(self.span_id, x.door.signals.sampled(&x.trace));
            headers::continue_trace(&mut sent, &request.headers, &x.trace, &parent);
        }
        *composed.headers_mut() = sent;
        Ok(composed)
    }

    /// The attempt as it begins; what is left as `cancelled` was never answered.
    fn begin(&self, x: &Exchange) -> Attempt {
        let started = x.now();
        Attempt {
            number: u32::try_from(x.attempts.len() + 1).unwrap_or(u32::MAX),
            reason: self.reason,
            upstream: self.upstream.name.clone(),
            provider: self.upstream.provider().into(),
            host: self.upstream.host().into(),
            port: self.upstream.port(),
            model_sent: headers::bounded(&self.model),
            span_id: self.span_id,
            started,
            ended: started,
            first_byte_us: None,
            status: None,
            error_type: None,
            outcome: AttemptOutcome::Cancelled,
        }
    }

    /// Notes how the attempt went, as far as its answer's head tells.
    fn note(&self, x: &mut Exchange, answered: &Result<Response<Incoming>, SendFault>, began: Tick) {
        let (now, first_byte) = (x.now(), micros(x.tick().since(began)));
        let was_sent_whole = x.was_sent_whole();
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
                if fault.may_have_worked() && was_sent_whole {
                    let (number, host, model) =
                        (attempt.number, attempt.host.clone(), attempt.model_sent.clone());
                    let usage = Usage::default();
                    x.lost.push(Lost { number, host, model, usage, cost: None });
                }
            }
        }
    }

    /// The answer that the client will get.
    async fn conclude(self, x: &mut Exchange, request: &ReadRequest, sent: Sent) -> Result<Answer, Refusal> {
        x.record.upstream.clone_from(&self.upstream.name);
        x.record.upstream_model = headers::bounded(&self.model);
        // a form that broke off did so for a reason of its own
        let broken = || x.upload.as_ref().and_then(|upload| upload.fault());
        let answered = sent.answered.map_err(|fault| broken().unwrap_or(Refusal::Unreachable(fault)));
        let (mut parts, incoming) = answered?.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return socket::switch(x, &mut parts, &self.upstream, sent.active);
        }
        let is_stream = is_event_stream(&parts.headers);
        // the answer shows what was asked for only if it is a stream of events that we asked into
        let unask = (self.asks_usage.is_some() && is_stream && !is_encoded(&parts.headers)).then(Unask::new);
        let has_no_body = incoming.is_end_stream();
        let is_framed = has_no_body || incoming.size_hint().exact().is_some();
        let headers = headers::to_client(parts.headers, is_framed && unask.is_none());
        x.record.stream = is_stream;
        if !is_stream && parts.status.is_success() {
            hold_whole(x);
        }
        let Upstream { idle_timeout, draining, .. } = *self.upstream;
        let live = Live { incoming, unask, idle_timeout, draining, active: sent.active };
        let body = if has_no_body || request.method == Method::HEAD {
            AnswerBody::Whole(Bytes::new())
        } else if is_stream {
            AnswerBody::Live(live)
        } else {
            live.gather_if_small(&headers).await
        };
        Ok(Answer { status: parts.status, headers, body })
    }
}

/// The version that first had all fields we read; official clients always send their own.
const ANTHROPIC_VERSION: &str = "2023-06-01";

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

fn is_encoded(headers: &http::HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}
