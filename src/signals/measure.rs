//! From a finished request to the metrics. What a caller invents never becomes a label here.

use opentelemetry::{KeyValue, StringValue, Value};

use super::finished::{Attempt, Finished};
use super::instruments::Instruments;
use crate::base::money::NanoUsd;
use crate::base::usage::UsageSource;
use crate::store::record::{Billing, CacheResult, Outcome};
use crate::telemetry::names as n;
use crate::telemetry::words::{AttemptReason, http_method};

impl Instruments {
    /// Counts a finished request, once.
    pub(super) fn measure(&self, done: &Finished<'_>) {
        if done.record.billing == Billing::Late {
            // nobody asked anything now: only what was used is news
            if let Some(answering) = done.answering() {
                self.measure_usage(done, answering);
            }
            return;
        }
        self.measure_request(done);
        self.measure_refusal(done);
        self.measure_cache(done);
        for (place, attempt) in done.attempts.iter().enumerate() {
            self.measure_attempt(done, attempt);
            self.measure_retry(attempt, place.checked_sub(1).map(|before| &done.attempts[before]));
        }
        if let Some(answering) = done.answering() {
            self.measure_usage(done, answering);
            self.measure_faults(done, answering);
        }
    }

    fn measure_request(&self, done: &Finished<'_>) {
        let (record, error) = (done.record, done.error_type());
        let duration = seconds(record.duration_us);
        let mut server = vec![
            KeyValue::new(n::HTTP_REQUEST_METHOD, http_method(done.http.method)),
            KeyValue::new(n::URL_SCHEME, done.http.scheme),
            KeyValue::new(n::HTTP_ROUTE, done.http.route),
        ];
        if record.status != 0 {
            server.push(KeyValue::new(n::HTTP_RESPONSE_STATUS_CODE, i64::from(record.status)));
        }
        server.extend(error.map(|kind| KeyValue::new(n::ERROR_TYPE, kind)));
        self.server_duration.record(duration, &server);

        let mut request = vec![
            request_model(done),
            KeyValue::new(n::API_FORMAT, done.api_format),
            KeyValue::new(n::OUTCOME, record.outcome.as_str()),
            KeyValue::new(n::CACHE_RESULT, record.cache.as_str()),
        ];
        request.extend(done.rejection.map(|why| KeyValue::new(n::REJECTION_REASON, why.as_str())));
        request.extend(error.map(|kind| KeyValue::new(n::ERROR_TYPE, kind)));
        self.request_duration.record(duration, &request);

        if !done.attempts.is_empty() {
            self.overhead
                .record(seconds(record.overhead_us), &[KeyValue::new(n::API_FORMAT, done.api_format)]);
        }
        if record.stream && record.first_token_us > 0 {
            self.first_token.record(seconds(record.first_token_us), &[request_model(done)]);
        }
    }

    fn measure_refusal(&self, done: &Finished<'_>) {
        if let Some(budget) = done.budget {
            let labels = [
                KeyValue::new(n::BUDGET_SCOPE, budget.scope),
                KeyValue::new(n::BUDGET_DECISION, budget.decision),
            ];
            self.budget_decisions.add(1, &labels);
        }
        if let Some((kind, scope)) = done.limit_hit {
            let labels = [KeyValue::new(n::LIMIT_TYPE, kind), KeyValue::new(n::LIMIT_SCOPE, scope)];
            self.limit_rejections.add(1, &labels);
        }
    }

    fn measure_cache(&self, done: &Finished<'_>) {
        let record = done.record;
        // one that was refused before its look-up says `off` too
        if record.cache == CacheResult::Off {
            return;
        }
        let kind = KeyValue::new(n::CACHE_TYPE, CACHE_TYPE);
        self.cache_requests.add(1, &[kind.clone(), KeyValue::new(n::CACHE_RESULT, record.cache.as_str())]);
        if matches!(record.cache, CacheResult::Hit | CacheResult::Coalesced) {
            let labels = [kind, request_model(done)];
            self.cache_saved_cost.add(usd(record.saved), &labels);
            self.cache_saved_tokens.add(done.saved_tokens, &labels);
        }
    }

    fn measure_attempt(&self, done: &Finished<'_>, attempt: &Attempt) {
        let mut labels = attempt_labels(done, attempt);
        if let (true, Some(first)) = (done.record.stream, attempt.first_byte_us) {
            self.gen_ai_first_chunk.record(seconds(first), &labels);
        }
        labels.extend(attempt.error_type.clone().map(|kind| KeyValue::new(n::ERROR_TYPE, kind)));
        self.gen_ai_duration.record(attempt.ended.since(attempt.started).as_secs_f64(), &labels);
    }

    fn measure_retry(&self, attempt: &Attempt, before: Option<&Attempt>) {
        let Some(before) = before else { return };
        let error = before.error_type.clone().map(|kind| KeyValue::new(n::ERROR_TYPE, kind));
        match attempt.reason {
            AttemptReason::Initial => {}
            AttemptReason::Retry => {
                let target = KeyValue::new(n::TARGET_ID, attempt.upstream.clone());
                self.retries.add(1, &[target].into_iter().chain(error).collect::<Vec<_>>());
            }
            AttemptReason::Failover => {
                let from = KeyValue::new(n::FAILOVER_FROM, before.upstream.clone());
                let to = KeyValue::new(n::FAILOVER_TO, attempt.upstream.clone());
                self.failovers.add(1, &[from, to].into_iter().chain(error).collect::<Vec<_>>());
            }
        }
    }

    fn measure_faults(&self, done: &Finished<'_>, answering: &Attempt) {
        let faults = done.answered.faults;
        let counts = [
            ("malformed", faults.malformed),
            ("usage_invalid", faults.usage_invalid),
            ("undecodable", faults.undecodable),
            ("clipped", faults.clipped),
        ];
        for (fault, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            let target = KeyValue::new(n::TARGET_ID, answering.upstream.clone());
            self.answer_faults.add(count, &[target, KeyValue::new(n::ANSWER_FAULT, fault)]);
        }
    }

    fn measure_usage(&self, done: &Finished<'_>, answering: &Attempt) {
        let record = done.record;
        let charged = record.usage_source != UsageSource::None;
        if charged || record.outcome == Outcome::Completed {
            let labels = [
                KeyValue::new(n::USAGE_OUTCOME, record.usage_source.as_str()),
                KeyValue::new(n::TARGET_ID, answering.upstream.clone()),
            ];
            self.usage_records.add(1, &labels);
        }
        if !charged {
            return;
        }
        let status = if record.cost.is_some() { "exact" } else { "missing" };
        self.price_lookups.add(1, &[KeyValue::new(n::PRICE_STATUS, status)]);
        let team = KeyValue::new(n::TENANT_ID, record.team.clone());
        let model = KeyValue::new(n::GEN_AI_REQUEST_MODEL, known(&answering.model_sent, done.model_known));
        let provider = KeyValue::new(n::GEN_AI_PROVIDER_NAME, answering.provider.clone());
        let usage = &record.usage;
        for (direction, count) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            let mut labels = attempt_labels(done, answering);
            labels.push(KeyValue::new(n::GEN_AI_TOKEN_TYPE, direction));
            self.gen_ai_tokens.record(count, &labels);
            let labels = [team.clone(), KeyValue::new(n::TOKEN_TYPE, direction), model.clone()];
            self.tokens.add(count, &labels);
        }
        if let Some(cost) = record.cost {
            self.cost.add(usd(cost), &[KeyValue::new(n::COST_CURRENCY, "USD"), team, provider, model]);
        }
    }
}

/// What all GenAI metrics of an attempt have.
fn attempt_labels(done: &Finished<'_>, attempt: &Attempt) -> Vec<KeyValue> {
    let mut labels = vec![
        KeyValue::new(n::GEN_AI_OPERATION_NAME, done.gen_ai_operation),
        KeyValue::new(n::GEN_AI_PROVIDER_NAME, attempt.provider.clone()),
        KeyValue::new(n::SERVER_ADDRESS, attempt.host.clone()),
        KeyValue::new(n::SERVER_PORT, i64::from(attempt.port)),
    ];
    if !attempt.model_sent.is_empty() {
        labels.push(KeyValue::new(n::GEN_AI_REQUEST_MODEL, known(&attempt.model_sent, done.model_known)));
    }
    let response_model = &done.record.response_model;
    let answered = done.answering().is_some_and(|answering| answering.number == attempt.number);
    if answered && !response_model.is_empty() {
        labels
            .push(KeyValue::new(n::GEN_AI_RESPONSE_MODEL, known(response_model, done.response_model_known)));
    }
    labels
}

fn request_model(done: &Finished<'_>) -> KeyValue {
    KeyValue::new(n::REQUEST_MODEL, known(&done.record.model, done.model_known))
}

/// The model's name if it is one of ours, else `_OTHER`: callers write what they like.
fn known(model: &str, is_known: bool) -> Value {
    if is_known { Value::String(StringValue::from(model.to_owned())) } else { Value::from(n::OTHER) }
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// A counter that shrank would break every rate; a negative amount has no place in one.
fn usd(amount: NanoUsd) -> f64 {
    amount.max(NanoUsd::ZERO).as_usd_f64()
}

const CACHE_TYPE: &str = "exact";
