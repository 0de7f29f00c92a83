//! The SDK's instruments, built from the rows of the metrics table. Not what is recorded in them.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

use super::series::{Instrument, Series, Shelf};
use crate::telemetry::metrics::{self as rows, MetricRow};

/// Every instrument that is written to; the observed ones are registered where their source is.
#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) server_duration: Histogram<f64>,
    pub(super) server_active: UpDownCounter<i64>,
    pub(super) gen_ai_duration: Histogram<f64>,
    pub(super) gen_ai_tokens: Histogram<u64>,
    pub(super) gen_ai_first_chunk: Histogram<f64>,
    pub(super) request_duration: Histogram<f64>,
    pub(super) overhead: Histogram<f64>,
    pub(super) first_token: Histogram<f64>,
    pub(super) retries: Counter<u64>,
    pub(super) failovers: Counter<u64>,
    pub(super) upstream_active: UpDownCounter<i64>,
    pub(super) stream_active: UpDownCounter<i64>,
    pub(super) cost: Counter<f64>,
    pub(super) tokens: Counter<u64>,
    pub(super) cache_requests: Counter<u64>,
    pub(super) cache_saved_cost: Counter<f64>,
    pub(super) cache_saved_tokens: Counter<u64>,
    pub(super) budget_decisions: Counter<u64>,
    pub(super) budget_warnings: Counter<u64>,
    pub(super) budget_shadowed: Counter<u64>,
    pub(super) budget_drifts: Counter<u64>,
    pub(super) limit_rejections: Counter<u64>,
    pub(super) usage_records: Counter<u64>,
    pub(super) answer_faults: Counter<u64>,
    pub(super) price_lookups: Counter<u64>,
    pub(super) config_reloads: Counter<u64>,
    pub(super) panics: Counter<u64>,
    pub(super) found: Found,
}

/// The series that requests record in, by their labels.
#[derive(Debug)]
pub(super) struct Found {
    /// By method, scheme, route, error, model, API format, outcome, cache, rejection; status.
    pub(super) requests: Shelf<RequestSeries, 9>,
    /// By operation, provider, host, upstream, model sent, model that answered, error, source of usage; port.
    pub(super) attempts: Shelf<AttemptSeries, 8>,
    /// By team, provider, model.
    pub(super) bills: Shelf<BillSeries, 3>,
    /// By scope, decision.
    pub(super) budgets: Shelf<Series<Counter<u64>>, 2>,
    /// By method, scheme.
    pub(super) server_active: Shelf<Series<UpDownCounter<i64>>, 2>,
    /// By API format.
    pub(super) stream_active: Shelf<Series<UpDownCounter<i64>>, 1>,
    /// By upstream.
    pub(super) upstream_active: Shelf<Series<UpDownCounter<i64>>, 1>,
}

/// What a request records by its own labels.
#[derive(Debug, Default)]
pub(super) struct RequestSeries {
    pub(super) server_duration: Series<Histogram<f64>>,
    pub(super) request_duration: Series<Histogram<f64>>,
    pub(super) overhead: Series<Histogram<f64>>,
    pub(super) first_token: Series<Histogram<f64>>,
    pub(super) cache_requests: Series<Counter<u64>>,
    pub(super) cache_saved_cost: Series<Counter<f64>>,
    pub(super) cache_saved_tokens: Series<Counter<u64>>,
}

/// What an attempt at an upstream records.
#[derive(Debug, Default)]
pub(super) struct AttemptSeries {
    pub(super) duration: Series<Histogram<f64>>,
    pub(super) first_chunk: Series<Histogram<f64>>,
    pub(super) input_tokens: Series<Histogram<u64>>,
    pub(super) output_tokens: Series<Histogram<u64>>,
    pub(super) usage_records: Series<Counter<u64>>,
}

/// What a team used.
#[derive(Debug, Default)]
pub(super) struct BillSeries {
    pub(super) input_tokens: Series<Counter<u64>>,
    pub(super) output_tokens: Series<Counter<u64>>,
    pub(super) cost: Series<Counter<f64>>,
    pub(super) priced: Series<Counter<u64>>,
    pub(super) unpriced: Series<Counter<u64>>,
}

impl Found {
    fn nothing() -> Self {
        Self {
            requests: Shelf::of(MOST_KINDS),
            attempts: Shelf::of(MOST_KINDS),
            bills: Shelf::of(MOST_BILLS),
            budgets: Shelf::of(MOST_WORDS),
            server_active: Shelf::of(MOST_WORDS),
            stream_active: Shelf::of(MOST_WORDS),
            upstream_active: Shelf::of(MOST_KINDS),
        }
    }
}

/// Label sets of requests and attempts: models, upstreams and ways to end that occur together. An entry takes
/// about a KiB, and what is beyond costs some microseconds.
const MOST_KINDS: usize = 4_096;
/// Teams with the models they use: those of a large house. An entry takes about half a KiB.
const MOST_BILLS: usize = 16_384;
/// Label sets of words of ours: closed sets.
const MOST_WORDS: usize = 64;

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            server_duration: seconds(meter, &rows::HTTP_SERVER_DURATION),
            server_active: up_down(meter, &rows::HTTP_SERVER_ACTIVE),
            gen_ai_duration: seconds(meter, &rows::GEN_AI_DURATION),
            gen_ai_tokens: spread(meter, &rows::GEN_AI_TOKENS),
            gen_ai_first_chunk: seconds(meter, &rows::GEN_AI_FIRST_CHUNK),
            request_duration: seconds(meter, &rows::REQUEST_DURATION),
            overhead: seconds(meter, &rows::OVERHEAD),
            first_token: seconds(meter, &rows::FIRST_TOKEN),
            retries: counter(meter, &rows::RETRIES),
            failovers: counter(meter, &rows::FAILOVERS),
            upstream_active: up_down(meter, &rows::UPSTREAM_ACTIVE),
            stream_active: up_down(meter, &rows::STREAM_ACTIVE),
            cost: amount(meter, &rows::COST),
            tokens: counter(meter, &rows::TOKENS_USED),
            cache_requests: counter(meter, &rows::CACHE_REQUESTS),
            cache_saved_cost: amount(meter, &rows::CACHE_SAVED_COST),
            cache_saved_tokens: counter(meter, &rows::CACHE_SAVED_TOKENS),
            budget_decisions: counter(meter, &rows::BUDGET_DECISIONS),
            budget_warnings: counter(meter, &rows::BUDGET_WARNINGS),
            budget_shadowed: counter(meter, &rows::BUDGET_SHADOWED),
            budget_drifts: counter(meter, &rows::BUDGET_DRIFTS),
            limit_rejections: counter(meter, &rows::LIMIT_REJECTIONS),
            usage_records: counter(meter, &rows::USAGE_RECORDS),
            answer_faults: counter(meter, &rows::ANSWER_FAULTS),
            price_lookups: counter(meter, &rows::PRICE_LOOKUPS),
            config_reloads: counter(meter, &rows::CONFIG_RELOADS),
            panics: counter(meter, &rows::PANICS),
            found: Found::nothing(),
        }
    }
}

/// One more of something at work; one less when it is dropped.
#[derive(Debug)]
#[must_use = "it counts only while it is held"]
pub struct Active {
    series: <UpDownCounter<i64> as Instrument>::Bound,
}

impl Active {
    pub(super) fn begin<const N: usize>(
        counter: &UpDownCounter<i64>,
        series: &Series<UpDownCounter<i64>>,
        labels: impl FnOnce() -> [KeyValue; N],
    ) -> Self {
        let series = series.bound(counter, labels).clone();
        UpDownCounter::record(&series, 1);
        Self { series }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        UpDownCounter::record(&self.series, -1);
    }
}

fn seconds(meter: &Meter, row: &MetricRow) -> Histogram<f64> {
    meter
        .f64_histogram(row.name)
        .with_unit(row.unit)
        .with_description(row.help)
        .with_boundaries(row.buckets.to_vec())
        .build()
}

fn spread(meter: &Meter, row: &MetricRow) -> Histogram<u64> {
    meter
        .u64_histogram(row.name)
        .with_unit(row.unit)
        .with_description(row.help)
        .with_boundaries(row.buckets.to_vec())
        .build()
}

fn counter(meter: &Meter, row: &MetricRow) -> Counter<u64> {
    meter.u64_counter(row.name).with_unit(row.unit).with_description(row.help).build()
}

fn amount(meter: &Meter, row: &MetricRow) -> Counter<f64> {
    meter.f64_counter(row.name).with_unit(row.unit).with_description(row.help).build()
}

fn up_down(meter: &Meter, row: &MetricRow) -> UpDownCounter<i64> {
    meter.i64_up_down_counter(row.name).with_unit(row.unit).with_description(row.help).build()
}
