//! From a finished request to its spans: one SERVER, one CLIENT per attempt (TELEMETRY 1.2, 1.3).
//!
//! Spans are made at the end, and only of traces that are kept: the others cost nothing. `SpanData` is
//! built here and nowhere else, because the SDK may still change it.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::finished::{Attempt, Finished};
use crate::base::clock::Timestamp;
use crate::base::usage::UsageSource;
use crate::store::record::CacheResult;
use crate::telemetry::names as n;
use crate::telemetry::sampling::Kept;
use crate::telemetry::words::{AttemptOutcome, AttemptReason, http_method};

/// The spans of one request, attempts first: a parent ends after its children.
pub(super) fn spans(done: &Finished<'_>, kept: Kept, scope: &InstrumentationScope) -> Vec<SpanData> {
    let mut spans: Vec<_> = done.attempts.iter().map(|attempt| client_span(done, attempt, scope)).collect();
    spans.push(server_span(done, kept, scope));
    spans
}

fn server_span(done: &Finished<'_>, kept: Kept, scope: &InstrumentationScope) -> SpanData {
    let method = http_method(done.http.method);
    let named = if method == n::OTHER { "HTTP" } else { method };
    let mut attributes = http_attributes(done, method);
    attributes.extend(gateway_attributes(done));
    attributes.push(KeyValue::new(n::SAMPLING_REASON, kept.as_str()));
    SpanData {
        span_context: context(done, done.span_id),
        parent_span_id: SpanId::from(done.trace.parent_span_id.unwrap_or(0)),
        parent_span_is_remote: done.trace.is_remote(),
        span_kind: SpanKind::Server,
        name: format!("{named} {}", done.http.route).into(),
        start_time: system(done.started()),
        end_time: system(done.ended()),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: status(done.error_type().is_some()),
        instrumentation_scope: scope.clone(),
    }
}

fn http_attributes(done: &Finished<'_>, method: &'static str) -> Vec<KeyValue> {
    let http = &done.http;
    let mut list = vec![
        KeyValue::new(n::HTTP_REQUEST_METHOD, method),
        KeyValue::new(n::URL_PATH, http.path.to_owned()),
        KeyValue::new(n::URL_SCHEME, http.scheme),
        KeyValue::new(n::HTTP_ROUTE, http.route),
        KeyValue::new(n::NETWORK_PROTOCOL_VERSION, http.protocol_version),
    ];
    if method == n::OTHER {
        list.push(KeyValue::new(n::HTTP_REQUEST_METHOD_ORIGINAL, http.method.to_owned()));
    }
    if done.record.status != 0 {
        list.push(KeyValue::new(n::HTTP_RESPONSE_STATUS_CODE, i64::from(done.record.status)));
    }
    list.extend(done.error_type().map(|kind| KeyValue::new(n::ERROR_TYPE, kind)));
    list.extend(text(n::SERVER_ADDRESS, http.server_address));
    list.extend(http.server_port.map(|port| KeyValue::new(n::SERVER_PORT, i64::from(port))));
    list.extend(text(n::CLIENT_ADDRESS, http.client_address));
    list.extend(text(n::USER_AGENT_ORIGINAL, http.user_agent));
    list
}

/// Never `gen_ai.*` here: backends would count the request as one more call of a model (TELEMETRY 1.2).
fn gateway_attributes(done: &Finished<'_>) -> Vec<KeyValue> {
    let record = done.record;
    let mut list = vec![
        KeyValue::new(n::REQUEST_ID, record.request_id().to_string()),
        KeyValue::new(n::API_FORMAT, done.api_format),
        KeyValue::new(n::OUTCOME, record.outcome.as_str()),
        KeyValue::new(n::ATTEMPT_COUNT, int(done.attempts.len() as u64)),
    ];
    list.extend(text(n::REQUEST_MODEL, Some(&record.model)));
    list.extend(text(n::TENANT_ID, Some(&record.team)));
    if !record.key.is_empty() {
        list.push(KeyValue::new(n::API_KEY_ID, format!("{}/{}", record.team, record.key)));
    }
    list.extend(text(n::USER_ID, Some(&record.user)));
    list.extend(text(n::SESSION_ID, Some(&record.session)));
    list.extend(record.stream.then(|| KeyValue::new(n::REQUEST_STREAM, true)));
    let failed_over = done.attempts.iter().any(|attempt| attempt.reason == AttemptReason::Failover);
    list.extend(failed_over.then(|| KeyValue::new(n::FAILOVER, true)));
    if record.cache != CacheResult::Off {
        list.push(KeyValue::new(n::CACHE_RESULT, record.cache.as_str()));
        list.push(KeyValue::new(n::CACHE_TYPE, "exact"));
    }
    if let Some(budget) = done.budget {
        list.push(KeyValue::new(n::BUDGET_DECISION, budget.decision));
        list.push(KeyValue::new(n::BUDGET_ID, budget.id.to_owned()));
        list.push(KeyValue::new(n::BUDGET_REMAINING_RATIO, budget.remaining_ratio));
    }
    if let Some((kind, scope)) = done.limit_hit {
        list.push(KeyValue::new(n::LIMIT_TYPE, kind));
        list.push(KeyValue::new(n::LIMIT_SCOPE, scope));
    }
    list.extend(done.rejection.map(|why| KeyValue::new(n::REJECTION_REASON, why.as_str())));
    list.push(KeyValue::new(n::OVERHEAD_DURATION, seconds(record.overhead_us)));
    if record.stream && record.first_token_us > 0 {
        list.push(KeyValue::new(n::TIME_TO_FIRST_TOKEN, seconds(record.first_token_us)));
    }
    if record.usage_source != UsageSource::None {
        list.push(KeyValue::new(n::USAGE_INPUT_TOKENS, int(record.usage.input_tokens)));
        list.push(KeyValue::new(n::USAGE_OUTPUT_TOKENS, int(record.usage.output_tokens)));
    }
    list.extend(cost(done));
    list
}

fn client_span(done: &Finished<'_>, attempt: &Attempt, scope: &InstrumentationScope) -> SpanData {
    let model = if attempt.model_sent.is_empty() { &done.record.model } else { &attempt.model_sent };
    let name = format!("{} {model}", done.gen_ai_operation).trim_end().to_owned();
    let mut attributes = attempt_attributes(done, attempt);
    attributes.extend(asked_attributes(done));
    let answered = done.is_answering(attempt);
    if answered {
        attributes.extend(answer_attributes(done));
    }
    attributes.extend(finish_reasons(done, attempt, answered));
    SpanData {
        span_context: context(done, attempt.span_id),
        parent_span_id: SpanId::from(done.span_id),
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: name.into(),
        start_time: system(attempt.started),
        end_time: system(attempt.ended),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: status(attempt.error_type.is_some()),
        instrumentation_scope: scope.clone(),
    }
}

fn attempt_attributes(done: &Finished<'_>, attempt: &Attempt) -> Vec<KeyValue> {
    let mut list = vec![
        KeyValue::new(n::GEN_AI_OPERATION_NAME, done.gen_ai_operation),
        KeyValue::new(n::GEN_AI_PROVIDER_NAME, attempt.provider.clone()),
        KeyValue::new(n::SERVER_ADDRESS, attempt.host.clone()),
        KeyValue::new(n::SERVER_PORT, i64::from(attempt.port)),
        KeyValue::new(n::HTTP_REQUEST_METHOD, http_method(done.http.method)),
        KeyValue::new(n::ATTEMPT_NUMBER, i64::from(attempt.number)),
        KeyValue::new(n::ATTEMPT_REASON, attempt.reason.as_str()),
        KeyValue::new(n::ATTEMPT_OUTCOME, attempt.outcome.as_str()),
        KeyValue::new(n::TARGET_ID, attempt.upstream.clone()),
    ];
    list.extend(text(n::GEN_AI_REQUEST_MODEL, Some(&attempt.model_sent)));
    list.extend(attempt.status.map(|code| KeyValue::new(n::HTTP_RESPONSE_STATUS_CODE, i64::from(code))));
    list.extend(attempt.error_type.clone().map(|kind| KeyValue::new(n::ERROR_TYPE, kind)));
    if let (true, Some(first)) = (done.record.stream, attempt.first_byte_us) {
        list.push(KeyValue::new(n::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, seconds(first)));
    }
    list
}

fn asked_attributes(done: &Finished<'_>) -> Vec<KeyValue> {
    let asked = done.asked;
    let floats = [
        (n::GEN_AI_REQUEST_TEMPERATURE, asked.temperature),
        (n::GEN_AI_REQUEST_TOP_P, asked.top_p),
        (n::GEN_AI_REQUEST_FREQUENCY_PENALTY, asked.frequency_penalty),
        (n::GEN_AI_REQUEST_PRESENCE_PENALTY, asked.presence_penalty),
    ];
    let mut list: Vec<_> =
        floats.into_iter().filter_map(|(name, value)| Some(KeyValue::new(name, value?))).collect();
    list.extend(done.record.stream.then(|| KeyValue::new(n::GEN_AI_REQUEST_STREAM, true)));
    list.extend(asked.max_tokens.map(|count| KeyValue::new(n::GEN_AI_REQUEST_MAX_TOKENS, int(count))));
    list.extend(asked.seed.map(|seed| KeyValue::new(n::GEN_AI_REQUEST_SEED, seed)));
    let choices = asked.choice_count.filter(|count| *count != 1);
    list.extend(choices.map(|count| KeyValue::new(n::GEN_AI_REQUEST_CHOICE_COUNT, int(count))));
    list.extend(text(n::OPENAI_REQUEST_SERVICE_TIER, asked.service_tier.as_deref()));
    list
}

/// Usage and cost are on the attempt that answered, and on no other: backends add them up.
fn answer_attributes(done: &Finished<'_>) -> Vec<KeyValue> {
    let (record, answered) = (done.record, done.answered);
    let mut list = vec![KeyValue::new(n::USAGE_SOURCE, record.usage_source.as_str())];
    if !record.estimate.is_empty() {
        list.push(KeyValue::new(n::USAGE_ESTIMATE, record.estimate.clone()));
        list.push(KeyValue::new(n::USAGE_ESTIMATE_ERROR, i64::from(record.estimate_error_percent)));
    }
    list.extend(text(n::GEN_AI_RESPONSE_MODEL, Some(&record.response_model)));
    list.extend(text(n::GEN_AI_RESPONSE_ID, answered.id.as_deref()));
    list.extend(text(n::OPENAI_RESPONSE_SERVICE_TIER, answered.service_tier.as_deref()));
    list.extend(text(n::OPENAI_RESPONSE_SYSTEM_FINGERPRINT, answered.system_fingerprint.as_deref()));
    if record.usage_source != UsageSource::None {
        let usage = &record.usage;
        list.push(KeyValue::new(n::GEN_AI_USAGE_INPUT_TOKENS, int(usage.input_tokens)));
        list.push(KeyValue::new(n::GEN_AI_USAGE_OUTPUT_TOKENS, int(usage.output_tokens)));
        let written = usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens);
        let parts = [
            (n::GEN_AI_USAGE_CACHE_READ, usage.cached_input_tokens),
            (n::GEN_AI_USAGE_CACHE_CREATION, written),
            (n::GEN_AI_USAGE_REASONING, usage.reasoning_tokens),
        ];
        list.extend(parts.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| KeyValue::new(name, int(n))));
    }
    list.extend(cost(done));
    list
}

/// The provider's own values; `error` where one was expected and did not come.
fn finish_reasons(done: &Finished<'_>, attempt: &Attempt, answered: bool) -> Option<KeyValue> {
    let reasons = &done.answered.finish_reasons;
    if answered && !reasons.is_empty() {
        return Some(strings(n::GEN_AI_RESPONSE_FINISH_REASONS, reasons));
    }
    let failed = attempt.outcome != AttemptOutcome::Success;
    failed.then(|| strings(n::GEN_AI_RESPONSE_FINISH_REASONS, &["error".to_owned()]))
}

fn cost(done: &Finished<'_>) -> Vec<KeyValue> {
    let Some(cost) = done.record.cost else { return Vec::new() };
    vec![
        KeyValue::new(n::COST_AMOUNT, cost.as_usd_f64()),
        KeyValue::new(n::COST_CURRENCY, "USD"),
        KeyValue::new(n::COST_SOURCE, "local"),
    ]
}

fn context(done: &Finished<'_>, span_id: u64) -> SpanContext {
    let state = done.trace.tracestate.as_deref().and_then(|state| TraceState::from_str(state).ok());
    // the batch processor drops what is not flagged as sampled; what comes here is kept
    SpanContext::new(
        TraceId::from(done.trace.trace_id),
        SpanId::from(span_id),
        TraceFlags::SAMPLED,
        false,
        state.unwrap_or_default(),
    )
}

/// No description: the attributes say it.
fn status(failed: bool) -> Status {
    if failed { Status::error("") } else { Status::Unset }
}

fn text(name: &'static str, value: Option<&str>) -> Option<KeyValue> {
    let value = value.filter(|value| !value.is_empty())?;
    let bounded: String = value.chars().take(MAX_TEXT).collect();
    Some(KeyValue::new(name, bounded))
}

fn strings(name: &'static str, values: &[String]) -> KeyValue {
    let values: Vec<StringValue> =
        values.iter().take(MAX_LIST).map(|v| StringValue::from(v.clone())).collect();
    KeyValue::new(name, Value::Array(Array::String(values)))
}

fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

fn system(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(at.as_nanos()).unwrap_or(0))
}

/// Characters of a value that a caller or an upstream chose.
const MAX_TEXT: usize = 512;
/// Values of a list attribute.
const MAX_LIST: usize = 128;
