//! What is summed up per row of a report.

use serde_json::{Map, Number, Value};

use crate::base::money::NanoUsd;
use crate::base::usage::UsageSource;
use crate::store::record::{Billing, CacheResult, Outcome, Record};

use super::quantile::Quantiles;
use super::reprice::Repriced;

/// The figures of one row. Sums are held at the top of their range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Requests, however they ended. A bill that came late is none.
    pub requests: u64,
    /// All input tokens, with those below.
    pub input_tokens: u64,
    /// Part of input: read from the upstream's prompt cache.
    pub cached_input_tokens: u64,
    /// Part of input: written to the upstream's prompt cache, for either lifetime.
    pub cache_write_tokens: u64,
    /// All output tokens, with those below.
    pub output_tokens: u64,
    /// Part of output: reasoning.
    pub reasoning_tokens: u64,
    /// What it cost, as far as prices are known.
    pub cost: NanoUsd,
    /// What the answer cache saved.
    pub saved: NanoUsd,
    /// Requests that were not refused and have no known price.
    pub unpriced_requests: u64,
    /// Requests that failed upstream or here, were broken off or interrupted.
    pub errors: u64,
    /// Requests that we refused.
    pub refused: u64,
    /// Requests answered without asking an upstream for them.
    pub cache_hits: u64,
    /// Requests whose tokens were counted here.
    pub estimated_requests: u64,
    /// Median duration in microseconds of the requests that were not refused; `None` without any.
    pub duration_p50_us: Option<u64>,
    /// The duration that 95 % of them did not pass.
    pub duration_p95_us: Option<u64>,
    /// Median time to the first token in microseconds, of the requests that had one.
    pub first_token_p50_us: Option<u64>,
    /// The time to the first token that 95 % of them did not pass.
    pub first_token_p95_us: Option<u64>,
    /// What it would have cost by another catalogue, if that was asked.
    pub repriced: Option<Repriced>,
}

/// A figure's name in JSON and CSV, in order.
pub const FIGURE_NAMES: [&str; 17] = [
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nano_usd",
    "saved_nano_usd",
    "unpriced_requests",
    "errors",
    "refused",
    "cache_hits",
    "estimated_requests",
    "duration_p50_ms",
    "duration_p95_ms",
    "first_token_p50_ms",
    "first_token_p95_ms",
];

impl Figures {
    /// The figures as JSON numbers, in the order of [`FIGURE_NAMES`]. Milliseconds have up to three
    /// decimals and are `null` without a sample; all others are integers.
    #[must_use]
    pub fn as_json(&self) -> [Value; 17] {
        [
            self.requests.into(),
            self.input_tokens.into(),
            self.cached_input_tokens.into(),
            self.cache_write_tokens.into(),
            self.output_tokens.into(),
            self.reasoning_tokens.into(),
            self.cost.as_nanos().into(),
            self.saved.as_nanos().into(),
            self.unpriced_requests.into(),
            self.errors.into(),
            self.refused.into(),
            self.cache_hits.into(),
            self.estimated_requests.into(),
            millis(self.duration_p50_us),
            millis(self.duration_p95_us),
            millis(self.first_token_p50_us),
            millis(self.first_token_p95_us),
        ]
    }

    pub(super) fn add_to_json(&self, object: &mut Map<String, Value>) {
        object.extend(FIGURE_NAMES.into_iter().map(String::from).zip(self.as_json()));
        if let Some(Repriced { cost, unpriced_requests }) = self.repriced {
            object.insert("repriced_nano_usd".into(), cost.as_nanos().into());
            object.insert("repriced_unpriced_requests".into(), unpriced_requests.into());
        }
    }
}

/// Figures while they are summed up.
#[derive(Debug, Default)]
pub(super) struct Sum {
    figures: Figures,
    duration: Quantiles,
    first_token: Quantiles,
}

impl Sum {
    /// `repriced` is what the record would have cost by another catalogue, if that was asked.
    pub(super) fn add(&mut self, record: &Record, repriced: Option<Option<NanoUsd>>) {
        let (sum, usage) = (&mut self.figures, &record.usage);
        let refused = record.outcome == Outcome::Refused;
        let is_bill = record.billing == Billing::Late;
        add(&mut sum.requests, u64::from(!is_bill));
        add(&mut sum.input_tokens, usage.input_tokens);
        add(&mut sum.cached_input_tokens, usage.cached_input_tokens);
        add(&mut sum.cache_write_tokens, usage.cache_write_tokens);
        add(&mut sum.cache_write_tokens, usage.cache_write_long_tokens);
        add(&mut sum.output_tokens, usage.output_tokens);
        add(&mut sum.reasoning_tokens, usage.reasoning_tokens);
        sum.cost = sum.cost + record.cost.unwrap_or_default();
        sum.saved = sum.saved + record.saved;
        add(&mut sum.unpriced_requests, u64::from(record.cost.is_none() && !refused));
        add(&mut sum.errors, u64::from(is_error(record.outcome)));
        add(&mut sum.refused, u64::from(refused));
        add(&mut sum.cache_hits, u64::from(is_hit(record.cache)));
        add(&mut sum.estimated_requests, u64::from(record.usage_source == UsageSource::Estimated));
        if let Some(repriced) = repriced {
            sum.repriced = Some(sum.repriced.unwrap_or_default().plus(repriced));
        }
        if !refused && !is_bill {
            self.duration.add(record.duration_us);
        }
        if record.first_token_us > 0 {
            self.first_token.add(record.first_token_us);
        }
    }

    pub(super) fn figures(mut self) -> Figures {
        Figures {
            duration_p50_us: self.duration.at(50),
            duration_p95_us: self.duration.at(95),
            first_token_p50_us: self.first_token.at(50),
            first_token_p95_us: self.first_token.at(95),
            ..self.figures
        }
    }
}

const fn is_error(outcome: Outcome) -> bool {
    match outcome {
        Outcome::UpstreamError
        | Outcome::UpstreamUnreachable
        | Outcome::Truncated
        | Outcome::Interrupted
        | Outcome::Failed
        | Outcome::Cut => true,
        Outcome::Completed | Outcome::Refused | Outcome::Cancelled => false,
    }
}

const fn is_hit(cache: CacheResult) -> bool {
    match cache {
        CacheResult::Hit | CacheResult::Coalesced => true,
        CacheResult::Off | CacheResult::Miss | CacheResult::Bypass => false,
    }
}

const fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[expect(clippy::cast_precision_loss, reason = "a duration for people; exact below 285 years")]
fn millis(micros: Option<u64>) -> Value {
    let millis = micros.and_then(|micros| Number::from_f64(micros as f64 / 1_000.0));
    millis.map_or(Value::Null, Value::Number)
}
