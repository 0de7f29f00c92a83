//! A record as a chat completion leaves it, for every bench that needs rows.

use tollgate::base::money::NanoUsd;
use tollgate::base::usage::{Usage, UsageSource};
use tollgate::store::record::{Outcome, Record};

/// Nobody's yet, and of no moment: who needs a caller, an id, tags or a time puts them in.
pub(crate) fn record() -> Record {
    let usage = Usage { input_tokens: 500, cached_input_tokens: 128, output_tokens: 200, ..Usage::default() };
    Record {
        outcome: Outcome::Completed,
        status: 200,
        operation: "chat_completions".into(),
        model: "gpt-4o-mini".into(),
        upstream_model: "gpt-4o-mini".into(),
        response_model: "gpt-4o-mini-2024-07-18".into(),
        upstream: "openai".into(),
        attempts: 1,
        stream: true,
        usage,
        usage_source: UsageSource::Reported,
        cost: Some(NanoUsd::new(3_250_000)),
        reserved: NanoUsd::new(12_500_000),
        reserved_tokens: 1_250,
        catalogue: "2026-11-20".into(),
        rates: r#"{"input":150000,"cached_input":75000,"output":600000}"#.into(),
        price_name: "openai/gpt-4o-mini".into(),
        price_source: "genai-prices".into(),
        duration_us: 1_250_000,
        first_token_us: 310_000,
        overhead_us: 180,
        response_bytes: 21_000,
        ..Record::default()
    }
}
