//! The table of metrics: every name, unit, help text, attribute and bucket that Tollgate emits.
//!
//! `signals` builds its instruments from these rows; docs/METRICS.md is written from them.

use super::names as n;

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricRow {
    /// OpenTelemetry name.
    pub name: &'static str,
    /// How it counts.
    pub instrument: Instrument,
    /// UCUM unit; what stands in braces is an annotation.
    pub unit: &'static str,
    /// What it tells, in one sentence.
    pub help: &'static str,
    /// Attribute names that may be on its points.
    pub attributes: &'static [&'static str],
    /// Upper bounds of a histogram's buckets; empty for others.
    pub buckets: &'static [f64],
}

/// How a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument {
    /// Only grows; whole numbers.
    Counter,
    /// Only grows; fractions.
    CounterF64,
    /// Grows and shrinks.
    UpDownCounter,
    /// Read when asked; only grows.
    ObservableCounter,
    /// Read when asked.
    ObservableGauge,
    /// Spread of values.
    Histogram,
}

macro_rules! metrics {
    ($($constant:ident: $instrument:ident $name:literal $unit:literal [$($attribute:expr),*] $buckets:expr, $help:literal;)+) => {
        $(#[doc = concat!("`", $name, "`: ", $help)]
        pub const $constant: MetricRow = MetricRow {
            name: $name,
            instrument: Instrument::$instrument,
            unit: $unit,
            help: $help,
            attributes: &[$($attribute),*],
            buckets: $buckets,
        };)+
        /// Every metric, in the order of the documentation.
        pub const METRICS: &[MetricRow] = &[$($constant),+];
    };
}

metrics! {
    HTTP_SERVER_DURATION: Histogram "http.server.request.duration" "s"
        [n::HTTP_REQUEST_METHOD, n::URL_SCHEME, n::HTTP_ROUTE, n::HTTP_RESPONSE_STATUS_CODE, n::ERROR_TYPE] SERVER_SECONDS,
        "Time from a request's first byte to the last byte of its answer.";
    HTTP_SERVER_ACTIVE: UpDownCounter "http.server.active_requests" "{request}"
        [n::HTTP_REQUEST_METHOD, n::URL_SCHEME] NONE,
        "Requests at work now.";
    GEN_AI_DURATION: Histogram "gen_ai.client.operation.duration" "s"
        [n::GEN_AI_OPERATION_NAME, n::GEN_AI_PROVIDER_NAME, n::GEN_AI_REQUEST_MODEL, n::GEN_AI_RESPONSE_MODEL, n::SERVER_ADDRESS, n::SERVER_PORT, n::ERROR_TYPE] GEN_AI_SECONDS,
        "Time of one upstream attempt, from before it connects to its last byte.";
    GEN_AI_TOKENS: Histogram "gen_ai.client.token.usage" "{token}"
        [n::GEN_AI_OPERATION_NAME, n::GEN_AI_PROVIDER_NAME, n::GEN_AI_REQUEST_MODEL, n::GEN_AI_RESPONSE_MODEL, n::SERVER_ADDRESS, n::SERVER_PORT, n::GEN_AI_TOKEN_TYPE] TOKENS,
        "Tokens of one answer, input with cached and output with reasoning.";
    GEN_AI_FIRST_CHUNK: Histogram "gen_ai.client.operation.time_to_first_chunk" "s"
        [n::GEN_AI_OPERATION_NAME, n::GEN_AI_PROVIDER_NAME, n::GEN_AI_REQUEST_MODEL, n::GEN_AI_RESPONSE_MODEL, n::SERVER_ADDRESS, n::SERVER_PORT] GEN_AI_SECONDS,
        "Time from asking an upstream to the first byte of its streamed answer.";
    REQUEST_DURATION: Histogram "tollgate.request.duration" "s"
        [n::REQUEST_MODEL, n::API_FORMAT, n::OUTCOME, n::CACHE_RESULT, n::REJECTION_REASON, n::ERROR_TYPE] SERVER_SECONDS,
        "Time of a request by model, outcome, cache and reason of refusal.";
    OVERHEAD: Histogram "tollgate.overhead.duration" "s"
        [n::API_FORMAT] OVERHEAD_SECONDS,
        "Tollgate's own share of a request before an upstream was asked.";
    FIRST_TOKEN: Histogram "tollgate.response.time_to_first_token" "s"
        [n::REQUEST_MODEL] FIRST_TOKEN_SECONDS,
        "Time from a request's first byte to the first output byte of its answer.";
    RETRIES: Counter "tollgate.upstream.retries" "{retry}"
        [n::TARGET_ID, n::ERROR_TYPE] NONE,
        "Attempts at an upstream that had just failed, by what had failed.";
    FAILOVERS: Counter "tollgate.upstream.failovers" "{failover}"
        [n::FAILOVER_FROM, n::FAILOVER_TO, n::ERROR_TYPE] NONE,
        "Attempts at another upstream after one failed, by what had failed.";
    UPSTREAM_ACTIVE: UpDownCounter "tollgate.upstream.request.active" "{request}"
        [n::TARGET_ID] NONE,
        "Upstream attempts at work now.";
    STREAM_ACTIVE: UpDownCounter "tollgate.stream.active" "{stream}"
        [n::API_FORMAT] NONE,
        "Streams open to clients now.";
    COST: CounterF64 "tollgate.cost" "{USD}"
        [n::COST_CURRENCY, n::TENANT_ID, n::GEN_AI_PROVIDER_NAME, n::GEN_AI_REQUEST_MODEL] NONE,
        "Cost of settled requests, for dashboards; the ledger is exact.";
    TOKENS_USED: Counter "tollgate.tokens" "{token}"
        [n::TENANT_ID, n::TOKEN_TYPE, n::GEN_AI_REQUEST_MODEL] NONE,
        "Tokens of settled requests.";
    CACHE_REQUESTS: Counter "tollgate.cache.requests" "{request}"
        [n::CACHE_TYPE, n::CACHE_RESULT] NONE,
        "Requests for which the answer cache is on, by what it did.";
    CACHE_SAVED_COST: CounterF64 "tollgate.cache.saved.cost" "{USD}"
        [n::CACHE_TYPE, n::REQUEST_MODEL] NONE,
        "What answers from the cache would have cost.";
    CACHE_SAVED_TOKENS: Counter "tollgate.cache.saved.tokens" "{token}"
        [n::CACHE_TYPE, n::REQUEST_MODEL] NONE,
        "Tokens of answers from the cache.";
    BUDGET_LIMIT: ObservableGauge "tollgate.budget.limit" "{USD}"
        [n::BUDGET_ID, n::BUDGET_SCOPE, n::BUDGET_WINDOW] NONE,
        "Limit of a USD budget.";
    BUDGET_USAGE: ObservableGauge "tollgate.budget.usage" "{USD}"
        [n::BUDGET_ID, n::BUDGET_SCOPE, n::BUDGET_WINDOW] NONE,
        "Settled and reserved in a USD budget's current window.";
    BUDGET_REMAINING: ObservableGauge "tollgate.budget.remaining" "{USD}"
        [n::BUDGET_ID, n::BUDGET_SCOPE, n::BUDGET_WINDOW] NONE,
        "Left in a USD budget's current window, never below 0.";
    BUDGET_UTILIZATION: ObservableGauge "tollgate.budget.utilization" "1"
        [n::BUDGET_ID, n::BUDGET_SCOPE, n::BUDGET_WINDOW] NONE,
        "Settled and reserved as a share of the limit, of USD and token budgets.";
    BUDGET_DECISIONS: Counter "tollgate.budget.decisions" "{decision}"
        [n::BUDGET_SCOPE, n::BUDGET_DECISION] NONE,
        "Requests held against a budget, by what was decided.";
    BUDGET_WARNINGS: Counter "tollgate.budget.warnings" "{warning}"
        [n::BUDGET_ID, n::BUDGET_THRESHOLD] NONE,
        "Crossings of a budget's warn threshold.";
    BUDGET_SHADOWED: Counter "tollgate.budget.shadow_refusals" "{request}"
        [n::BUDGET_ID] NONE,
        "Requests that a shadow budget would have refused or cut.";
    BUDGET_DRIFTS: Counter "tollgate.budget.drifts" "{drift}"
        [n::BUDGET_ID] NONE,
        "Counters that were not what the ledger says, found and repaired once a minute.";
    LIMIT_REJECTIONS: Counter "tollgate.rate_limiting.rejections" "{request}"
        [n::LIMIT_TYPE, n::LIMIT_SCOPE] NONE,
        "Requests refused by a rate limit.";
    USAGE_RECORDS: Counter "tollgate.usage.records" "{record}"
        [n::USAGE_OUTCOME, n::TARGET_ID] NONE,
        "Answered requests by where their counts came from.";
    ANSWER_FAULTS: Counter "tollgate.answer.faults" "{fault}"
        [n::TARGET_ID, n::ANSWER_FAULT] NONE,
        "What could not be read of answers, which passed all the same: events or bodies that are not JSON \
         (`malformed`), usage that is no count (`usage_invalid`), an unknown or broken coding (`undecodable`), \
         events or bodies too long to keep (`clipped`).";
    PRICE_LOOKUPS: Counter "tollgate.price.lookups" "{lookup}"
        [n::PRICE_STATUS] NONE,
        "Answered requests by whether a price was known.";
    CONFIG_RELOADS: Counter "tollgate.config.reloads" "{reload}"
        [n::RELOAD_OUTCOME] NONE,
        "Attempts to load a changed config.";
    LEDGER_LAG: ObservableGauge "tollgate.ledger.lag" "By"
        [] NONE,
        "Bytes of the journal that are not in the store yet, about.";
    LEDGER_ROWS: ObservableCounter "tollgate.ledger.rows" "{row}"
        [n::LEDGER_RESULT] NONE,
        "Rows the writer brought to the store (`written`), its tries that failed and were repeated (`failed`), and \
         records that had to wait in memory because the disk took nothing (`deferred`).";
    PANICS: Counter "tollgate.panics" "{panic}"
        [] NONE,
        "Requests ended by a panic of ours.";
    SPANS_DROPPED: ObservableCounter "tollgate.spans.dropped" "{span}"
        [n::DROP_REASON] NONE,
        "Spans that did not reach the receiver.";
    LOG_LINES_DROPPED: ObservableCounter "tollgate.log.dropped" "{line}"
        [] NONE,
        "Log lines lost because nobody read standard error fast enough.";
}

const NONE: &[f64] = &[];

/// The standard's bounds, then up to ten minutes: answers of language models take that long.
const SERVER_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 120.0,
    300.0, 600.0,
];

/// The standard's bounds for GenAI clients, doubled twice more.
const GEN_AI_SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68];

/// The standard's bounds for token usage.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// From ten microseconds: what a gateway should take.
const OVERHEAD_SECONDS: &[f64] =
    &[1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.5];

/// The standard's bounds for time to first token, up to a minute for reasoning models.
const FIRST_TOKEN_SECONDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_ours_or_the_standards() {
        let names: HashSet<_> = METRICS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for name in names {
            let known = ["http.server.", "gen_ai.client.", "tollgate."];
            assert!(known.iter().any(|space| name.starts_with(space)), "{name}");
        }
    }

    #[test]
    fn histograms_alone_have_buckets_and_they_rise() {
        for row in METRICS {
            assert_eq!(row.instrument == Instrument::Histogram, !row.buckets.is_empty(), "{}", row.name);
            assert!(row.buckets.is_sorted_by(|a, b| a < b), "{}", row.name);
        }
    }

    #[test]
    fn a_counter_has_a_countable_unit() {
        // the Prometheus exporter would name a counter of unit 1 `_ratio_total`
        let counts = [Instrument::Counter, Instrument::CounterF64, Instrument::ObservableCounter];
        for row in METRICS.iter().filter(|row| counts.contains(&row.instrument)) {
            assert!(row.unit.starts_with('{'), "{}", row.name);
        }
    }
}
