//! From a finished request to the metrics. What a caller invents never becomes a label here.

use std::sync::Arc;

use opentelemetry::KeyValue;

use super::finished::{Attempt, Finished};
use super::instruments::{AttemptSeries, Instruments, RequestSeries};
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
                self.measure_usage(done, answering, &self.attempt_series(done, answering));
            }
            return;
        }
        let series = self.request_series(done);
        self.measure_request(done, &series);
        self.measure_refusal(done);
        self.measure_cache(done, &series);
        for (place, attempt) in done.attempts.iter().enumerate() {
            let series = self.attempt_series(done, attempt);
            self.measure_attempt(done, attempt, &series);
            self.measure_retry(attempt, place.checked_sub(1).map(|before| &done.attempts[before]));
            if done.is_answering(attempt) {
                self.measure_usage(done, attempt, &series);
                self.measure_faults(done, attempt);
            }
        }
    }

    fn request_series(&self, done: &Finished<'_>) -> Arc<RequestSeries> {
        let record = done.record;
        let words = [
            http_method(done.http.method),
            done.http.scheme,
            done.http.route,
            done.error_type().unwrap_or_default(),
            known(&record.model, done.model_known),
            done.api_format,
            record.outcome.as_str(),
            record.cache.as_str(),
            done.rejection.map_or("", |why| why.as_str()),
        ];
        self.found.requests.find(words, record.status)
    }

    fn measure_request(&self, done: &Finished<'_>, series: &RequestSeries) {
        let record = done.record;
        let duration = seconds(record.duration_us);
        series.server_duration.record(&self.server_duration, duration, || server_labels(done));
        series.request_duration.record(&self.request_duration, duration, || request_labels(done));
        if !done.attempts.is_empty() {
            let labels = || [KeyValue::new(n::API_FORMAT, done.api_format)];
            series.overhead.record(&self.overhead, seconds(record.overhead_us), labels);
        }
        if record.stream && record.first_token_us > 0 {
            let labels = || [request_model(done)];
            series.first_token.record(&self.first_token, seconds(record.first_token_us), labels);
        }
    }

    fn measure_refusal(&self, done: &Finished<'_>) {
        if let Some(budget) = done.budget {
            let series = self.found.budgets.find([budget.scope, budget.decision], 0);
            series.record(&self.budget_decisions, 1, || {
                [
                    KeyValue::new(n::BUDGET_SCOPE, budget.scope),
                    KeyValue::new(n::BUDGET_DECISION, budget.decision),
                ]
            });
        }
        if let Some((kind, scope)) = done.limit_hit {
            let labels = [KeyValue::new(n::LIMIT_TYPE, kind), KeyValue::new(n::LIMIT_SCOPE, scope)];
            self.limit_rejections.add(1, &labels);
        }
    }

    fn measure_cache(&self, done: &Finished<'_>, series: &RequestSeries) {
        let record = done.record;
        // one that was refused before its look-up says `off` too
        if record.cache == CacheResult::Off {
            return;
        }
        let kind = KeyValue::new(n::CACHE_TYPE, CACHE_TYPE);
        series.cache_requests.record(&self.cache_requests, 1, || {
            [kind.clone(), KeyValue::new(n::CACHE_RESULT, record.cache.as_str())]
        });
        if matches!(record.cache, CacheResult::Hit | CacheResult::Coalesced) {
            let labels = || [kind.clone(), request_model(done)];
            series.cache_saved_cost.record(&self.cache_saved_cost, usd(record.saved), labels);
            series.cache_saved_tokens.record(&self.cache_saved_tokens, done.saved_tokens, labels);
        }
    }

    fn attempt_series(&self, done: &Finished<'_>, attempt: &Attempt) -> Arc<AttemptSeries> {
        let words = [
            done.gen_ai_operation,
            &attempt.provider,
            &attempt.host,
            &attempt.upstream,
            sent_model(done, attempt),
            response_model(done, attempt),
            attempt.error_type.as_deref().unwrap_or_default(),
            done.record.usage_source.as_str(),
        ];
        self.found.attempts.find(words, attempt.port)
    }

    fn measure_attempt(&self, done: &Finished<'_>, attempt: &Attempt, series: &AttemptSeries) {
        if let (true, Some(first)) = (done.record.stream, attempt.first_byte_us) {
            let labels = || attempt_labels(done, attempt);
            series.first_chunk.record(&self.gen_ai_first_chunk, seconds(first), labels);
        }
        let duration = attempt.ended.since(attempt.started).as_secs_f64();
        series.duration.record(&self.gen_ai_duration, duration, || {
            let mut labels = attempt_labels(done, attempt);
            labels.extend(attempt.error_type.clone().map(|kind| KeyValue::new(n::ERROR_TYPE, kind)));
            labels
        });
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

    fn measure_usage(&self, done: &Finished<'_>, answering: &Attempt, series: &AttemptSeries) {
        let record = done.record;
        let charged = record.usage_source != UsageSource::None;
        if charged || record.outcome == Outcome::Completed {
            series.usage_records.record(&self.usage_records, 1, || {
                [
                    KeyValue::new(n::USAGE_OUTCOME, record.usage_source.as_str()),
                    KeyValue::new(n::TARGET_ID, answering.upstream.clone()),
                ]
            });
        }
        if !charged {
            return;
        }
        let (input, output) = (record.usage.input_tokens, record.usage.output_tokens);
        let labels = |direction| move || token_labels(done, answering, direction);
        series.input_tokens.record(&self.gen_ai_tokens, input, labels("input"));
        series.output_tokens.record(&self.gen_ai_tokens, output, labels("output"));
        self.measure_bill(done, answering);
    }

    fn measure_bill(&self, done: &Finished<'_>, answering: &Attempt) {
        let record = done.record;
        let model = known(&answering.model_sent, done.model_known);
        let series = self.found.bills.find([&record.team, &answering.provider, model], 0);
        let team = || KeyValue::new(n::TENANT_ID, record.team.clone());
        let model = || KeyValue::new(n::GEN_AI_REQUEST_MODEL, model.to_owned());
        let labels = |direction| move || [team(), KeyValue::new(n::TOKEN_TYPE, direction), model()];
        series.input_tokens.record(&self.tokens, record.usage.input_tokens, labels("input"));
        series.output_tokens.record(&self.tokens, record.usage.output_tokens, labels("output"));
        let (lookups, status) = match record.cost {
            Some(_) => (&series.priced, "exact"),
            None => (&series.unpriced, "missing"),
        };
        lookups.record(&self.price_lookups, 1, || [KeyValue::new(n::PRICE_STATUS, status)]);
        if let Some(cost) = record.cost {
            series.cost.record(&self.cost, usd(cost), || {
                let provider = KeyValue::new(n::GEN_AI_PROVIDER_NAME, answering.provider.clone());
                [KeyValue::new(n::COST_CURRENCY, "USD"), team(), provider, model()]
            });
        }
    }
}

fn server_labels(done: &Finished<'_>) -> Vec<KeyValue> {
    let mut labels = vec![
        KeyValue::new(n::HTTP_REQUEST_METHOD, http_method(done.http.method)),
        KeyValue::new(n::URL_SCHEME, done.http.scheme),
        KeyValue::new(n::HTTP_ROUTE, done.http.route),
    ];
    if done.record.status != 0 {
        labels.push(KeyValue::new(n::HTTP_RESPONSE_STATUS_CODE, i64::from(done.record.status)));
    }
    labels.extend(done.error_type().map(|kind| KeyValue::new(n::ERROR_TYPE, kind)));
    labels
}

fn request_labels(done: &Finished<'_>) -> Vec<KeyValue> {
    let mut labels = vec![
        request_model(done),
        KeyValue::new(n::API_FORMAT, done.api_format),
        KeyValue::new(n::OUTCOME, done.record.outcome.as_str()),
        KeyValue::new(n::CACHE_RESULT, done.record.cache.as_str()),
    ];
    labels.extend(done.rejection.map(|why| KeyValue::new(n::REJECTION_REASON, why.as_str())));
    labels.extend(done.error_type().map(|kind| KeyValue::new(n::ERROR_TYPE, kind)));
    labels
}

fn token_labels(done: &Finished<'_>, attempt: &Attempt, direction: &'static str) -> Vec<KeyValue> {
    let mut labels = attempt_labels(done, attempt);
    labels.push(KeyValue::new(n::GEN_AI_TOKEN_TYPE, direction));
    labels
}

/// What all GenAI metrics of an attempt have.
fn attempt_labels(done: &Finished<'_>, attempt: &Attempt) -> Vec<KeyValue> {
    let mut labels = vec![
        KeyValue::new(n::GEN_AI_OPERATION_NAME, done.gen_ai_operation),
        KeyValue::new(n::GEN_AI_PROVIDER_NAME, attempt.provider.clone()),
        KeyValue::new(n::SERVER_ADDRESS, attempt.host.clone()),
        KeyValue::new(n::SERVER_PORT, i64::from(attempt.port)),
    ];
    let models = [
        (n::GEN_AI_REQUEST_MODEL, sent_model(done, attempt)),
        (n::GEN_AI_RESPONSE_MODEL, response_model(done, attempt)),
    ];
    let named = models.into_iter().filter(|(_, model)| !model.is_empty());
    labels.extend(named.map(|(name, model)| KeyValue::new(name, model.to_owned())));
    labels
}

fn request_model(done: &Finished<'_>) -> KeyValue {
    KeyValue::new(n::REQUEST_MODEL, known(&done.record.model, done.model_known).to_owned())
}

/// Empty if the request names none.
fn sent_model<'a>(done: &Finished<'_>, attempt: &'a Attempt) -> &'a str {
    if attempt.model_sent.is_empty() { "" } else { known(&attempt.model_sent, done.model_known) }
}

/// Empty if the attempt did not give the answer, or the answer names none.
fn response_model<'a>(done: &Finished<'a>, attempt: &Attempt) -> &'a str {
    let response_model = &done.record.response_model;
    if done.is_answering(attempt) && !response_model.is_empty() {
        known(response_model, done.response_model_known)
    } else {
        ""
    }
}

/// The model's name if it is one of ours, else `_OTHER`: callers write what they like.
const fn known(model: &str, is_known: bool) -> &str {
    if is_known { model } else { n::OTHER }
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// A counter that shrank would break every rate; a negative amount has no place in one.
fn usd(amount: NanoUsd) -> f64 {
    amount.max(NanoUsd::ZERO).as_usd_f64()
}

const CACHE_TYPE: &str = "exact";
