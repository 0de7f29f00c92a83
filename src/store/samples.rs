//! Records for tests: a plain one, and any at all.

use proptest::array::uniform14;
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Strategy, any};

use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};

use super::record::{Billing, CacheResult, Disconnect, Outcome, Record};

/// A completed request of 10 input and 5 output tokens for 1,000 nano-USD.
pub(crate) fn record(id: u128) -> Record {
    Record {
        id,
        started_at: 1_700_000_000_000_000_000,
        admitted_at: 1_700_000_000_000_000_000,
        outcome: Outcome::Completed,
        status: 200,
        team: "search".into(),
        key: "prod".into(),
        model: "gpt-4o".into(),
        usage: Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() },
        usage_source: UsageSource::Reported,
        cost: Some(NanoUsd::new(1_000)),
        catalogue: "2026-11".into(),
        ..Record::default()
    }
}

/// What is known of [`record`] before the upstream is asked: 4,000 nano-USD and 40 tokens reserved.
pub(crate) fn intent(id: u128) -> Record {
    Record {
        outcome: Outcome::default(),
        status: 0,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        cost: None,
        reserved: NanoUsd::new(4_000),
        reserved_tokens: 40,
        ..record(id)
    }
}

/// Any record whatsoever, with the worst of what callers and upstreams may send.
pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let words = (
        0..Outcome::ALL.len(),
        0..CacheResult::ALL.len(),
        0..4_usize,
        0..Disconnect::ALL.len(),
        0..Billing::ALL.len(),
    );
    let texts = vec(any::<String>(), 21);
    let tags = btree_map(any::<String>(), any::<String>(), 0..4);
    let small = (any::<i64>(), any::<u16>(), any::<u32>(), any::<bool>(), any::<i64>(), any::<u32>());
    let money = (any::<Option<i64>>(), any::<i64>(), any::<i64>());
    let counts = (uniform14(any::<u64>()), vec(any::<u64>(), 5));
    let ids = (any::<u128>(), any::<u128>());
    (ids, words, texts, tags, small, money, counts).prop_map(
        |((id, parent), words, texts, tags, small, money, (units, others))| {
            let mut texts = texts.into_iter();
            let mut text = || texts.next().unwrap();
            let sources =
                [UsageSource::Reported, UsageSource::Partial, UsageSource::Estimated, UsageSource::None];
            Record {
                id,
                parent,
                started_at: small.0,
                admitted_at: small.4,
                outcome: Outcome::ALL[words.0],
                status: small.1,
                error: text(),
                team: text(),
                key: text(),
                user: text(),
                run: text(),
                session: text(),
                tags,
                operation: text(),
                model: text(),
                upstream_model: text(),
                response_model: text(),
                upstream: text(),
                attempts: small.2,
                stream: small.3,
                cache: CacheResult::ALL[words.1],
                disconnect: Disconnect::ALL[words.3],
                attempt_log: text(),
                usage: Usage::from_counts(units),
                usage_source: sources[words.2],
                estimate: text(),
                estimate_error_percent: small.5,
                extra_usage: text(),
                billing: Billing::ALL[words.4],
                answer_id: text(),
                service_tier: text(),
                cost: money.0.map(NanoUsd::new),
                saved: NanoUsd::new(money.1),
                reserved: NanoUsd::new(money.2),
                reserved_tokens: others[0],
                catalogue: text(),
                rates: text(),
                price_name: text(),
                price_source: text(),
                duration_us: others[1],
                first_token_us: others[2],
                overhead_us: others[3],
                response_bytes: others[4],
                trace_id: text(),
            }
        },
    )
}
