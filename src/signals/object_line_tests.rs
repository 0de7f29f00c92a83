//! Our line is the formatter's line, byte for byte.

use std::time::Duration;

use super::*;
use crate::base::money::NanoUsd;
use crate::base::usage::Usage;
use crate::signals::lines::tests::Written;
use crate::signals::logs::{self, Style};
use crate::signals::section::LogSection;
use crate::signals::tests::story::{CALLER, Story};
use crate::store::record::{Billing, Outcome};

/// The line as the log's own formatter writes it.
fn by_the_formatter(done: &Finished<'_>) {
    let record = done.record;
    let counted = record.usage_source != UsageSource::None;
    tracing::info!(
        target: REQUEST_TARGET,
        request_id = %record.request_id(),
        trace_id = record.trace_id.as_str(),
        span_id = format_args!("{:016x}", done.span_id),
        started_at = time(record.started_at).as_deref(),
        method = done.http.method,
        route = done.http.route,
        status = record.status,
        outcome = record.outcome.as_str(),
        error = some(&record.error),
        rejection = done.rejection.map(|why| why.as_str()),
        team = some(&record.team),
        key = some(&record.key),
        model = some(&record.model),
        upstream = some(&record.upstream),
        attempts = done.attempts.len(),
        stream = record.stream,
        cache = record.cache.as_str(),
        input_tokens = counted.then_some(record.usage.input_tokens),
        cached_input_tokens = counted.then_some(record.usage.cached_input_tokens),
        output_tokens = counted.then_some(record.usage.output_tokens),
        usage_source = record.usage_source.as_str(),
        estimate = some(&record.estimate),
        estimate_error_percent = some(&record.estimate).map(|_| record.estimate_error_percent),
        billing = some(record.billing.as_str()),
        cost_nano_usd = record.cost.map(|cost| cost.as_nanos()),
        saved_nano_usd = record.saved.as_nanos(),
        duration_us = record.duration_us,
        first_token_us = (record.first_token_us > 0).then_some(record.first_token_us),
        overhead_us = record.overhead_us,
        response_bytes = record.response_bytes,
        budget = done.budget.map(|budget| budget.id),
        budget_left_nano_usd = done.budget.and_then(|budget| budget.left).map(|left| left.as_nanos()),
        "request"
    );
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn time(nanos: i64) -> Option<String> {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).ok().map(|at| at.to_string())
}

/// Both lines of one request.
fn both(story: &Story) -> (String, String) {
    let written = Written::default();
    let lines = Lines::to(written.clone()).unwrap();
    let subscriber = logs::subscriber(&LogSection::default(), Style::Json, lines.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || by_the_formatter(&story.done()));
    lines.flush(Duration::from_secs(60));
    let theirs = written.text();
    let read: serde_json::Value = serde_json::from_str(&theirs).unwrap();
    let at: jiff::Timestamp = read["timestamp"].as_str().unwrap().parse().unwrap();
    let now = Timestamp::from_nanos(i64::try_from(at.as_nanosecond()).unwrap());
    print(&story.done(), now, &lines);
    lines.flush(Duration::from_secs(60));
    (written.text()[theirs.len()..].to_owned(), theirs)
}

/// Every field that a line may have, with text that needs escapes.
fn full() -> Story {
    let mut story = Story::refused(CALLER);
    story.record.outcome = Outcome::Truncated;
    story.record.started_at += 120_304_050;
    story.record.model = "a \"model\"\\\u{7f}\u{1}\n\u{e9}".into();
    story.record.upstream = "openai".into();
    story.record.usage_source = UsageSource::Estimated;
    story.record.usage = Usage { input_tokens: u64::MAX, cached_input_tokens: 9, ..Usage::default() };
    story.record.estimate = "o200k/text".into();
    story.record.estimate_error_percent = 5;
    story.record.billing = Billing::Deferred;
    story.record.cost = Some(NanoUsd::new(-17));
    story.record.saved = NanoUsd::new(i64::MAX);
    story.record.response_bytes = 10;
    story
}

#[test]
fn a_line_with_every_field_is_the_formatters() {
    let (ours, theirs) = both(&full());
    assert_eq!(ours, theirs);
    assert_eq!(theirs.matches("\":").count(), 36, "every field of LOGGING.md: {theirs}");
}

#[test]
fn a_usual_line_and_a_sparse_one_are_the_formatters() {
    let (ours, theirs) = both(&Story::failed_over(CALLER));
    assert_eq!(ours, theirs);
    let mut sparse = Story::refused(CALLER);
    sparse.record = Record { id: 1, started_at: 1_700_000_000_000_000_000, ..Record::default() };
    sparse.rejection = None;
    let (ours, theirs) = both(&sparse);
    assert_eq!(ours, theirs);
}
