//! The line per finished request: for people, or one JSON object. Never keys, never prompts.

use super::finished::Finished;
use super::logs::{REQUEST_TARGET, Style};
use crate::base::clock::Timestamp;
use crate::base::usage::UsageSource;
use crate::store::record::Outcome;

/// Prints the line of a finished request.
pub(super) fn print(done: &Finished<'_>, style: Style) {
    match style {
        Style::Json => json(done),
        Style::Pretty { colour } => tracing::info!(target: REQUEST_TARGET, "{}", readable(done, colour)),
    }
}

/// One object; fields without a value are left out.
fn json(done: &Finished<'_>) {
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

/// `12:00:00 search/prod gpt-4o 200 completed  in 300 out 180  $0.00213  ttft 0.41s  1.20s  cache miss  left $499.00`
fn readable(done: &Finished<'_>, colour: bool) -> String {
    let record = done.record;
    let mut parts = vec![
        clock(record.started_at),
        format!("{:<18}", caller(done)),
        format!("{:<20}", shown(some(&record.model).unwrap_or(done.http.route))),
        verdict(done, colour),
    ];
    if record.usage_source != UsageSource::None {
        parts.push(format!("in {} out {}", record.usage.input_tokens, record.usage.output_tokens));
        parts.push(record.cost.map_or_else(|| "unpriced".into(), |cost| format!("${cost}")));
    }
    if record.first_token_us > 0 {
        parts.push(format!("ttft {}", span(record.first_token_us)));
    }
    parts.push(span(record.duration_us));
    if record.cache != crate::store::record::CacheResult::Off {
        parts.push(format!("cache {}", record.cache.as_str()));
    }
    if done.attempts.len() > 1 {
        parts.push(format!("attempts {}", done.attempts.len()));
    }
    if let Some(left) = done.budget.and_then(|budget| budget.left) {
        parts.push(format!("left ${left}"));
    }
    parts.join("  ")
}

fn caller(done: &Finished<'_>) -> String {
    match (done.record.team.as_str(), done.record.key.as_str()) {
        ("", _) => "-".into(),
        (team, "") => shown(team),
        (team, key) => format!("{}/{}", shown(team), shown(key)),
    }
}

/// Status, and what it means when it is not a plain success.
fn verdict(done: &Finished<'_>, colour: bool) -> String {
    let record = done.record;
    let status = if record.status == 0 { "---".into() } else { record.status.to_string() };
    let text = match (record.outcome, some(&record.error)) {
        (Outcome::Completed, _) => format!("{status} ok"),
        (_, Some(error)) => format!("{status} {}", shown(error)),
        (outcome, None) => format!("{status} {}", outcome.as_str()),
    };
    let paint = match record.outcome {
        Outcome::Completed => "32",
        Outcome::Refused | Outcome::Cancelled => "33",
        _ => "31",
    };
    if colour { format!("\x1b[{paint}m{text}\x1b[0m") } else { text }
}

fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{}.{}ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{:02}s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

/// Names that callers choose, bounded and without what could steer a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn clock(nanos: i64) -> String {
    let seconds = Timestamp::from_nanos(nanos).as_secs().rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn time(nanos: i64) -> Option<String> {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).ok().map(|at| at.to_string())
}

const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::signals::lines::Lines;
    use crate::signals::lines::tests::Written;
    use crate::signals::logs;
    use crate::signals::section::LogSection;
    use crate::signals::tests::story::{CALLER, Story};

    fn printed(story: &Story, style: Style) -> String {
        let written = Written::default();
        let lines = Lines::to(written.clone()).unwrap();
        let subscriber = logs::subscriber(&LogSection::default(), style, lines.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || print(&story.done(), style));
        lines.flush(Duration::from_secs(60));
        written.text()
    }

    #[test]
    fn people_read_one_line() {
        let line = printed(&Story::failed_over(CALLER), Style::Pretty { colour: false });
        assert_eq!(
            line,
            "22:13:20  search/prod         smart                 200 ok  in 300 out 180  $0.00213  ttft 410.0ms  \
             1.20s  cache miss  attempts 2  left $499.00\n"
        );
        let line = printed(&Story::refused(CALLER), Style::Pretty { colour: true });
        assert!(line.contains("\x1b[33m429 rate_limit_exceeded\x1b[0m"), "{line}");
    }

    #[test]
    fn machines_read_one_object_with_the_traces_ids() {
        let line = printed(&Story::failed_over(CALLER), Style::Json);
        assert_eq!(line.matches('\n').count(), 1);
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(object["span_id"], "0000000000000051");
        assert_eq!(object["request_id"], "req_00000000000000000000000007");
        assert_eq!((&object["input_tokens"], &object["cost_nano_usd"]), (&300.into(), &2_130_000.into()));
        assert_eq!((&object["team"], &object["level"]), (&"search".into(), &"INFO".into()));
        assert!(object.get("error").is_none() && object.get("rejection").is_none());
    }

    #[test]
    fn a_callers_text_cannot_break_the_line_or_steer_the_terminal() {
        let mut story = Story::failed_over(CALLER);
        story.record.model = "a\nFAKE LINE\x1b[2J".into();
        let line = printed(&story, Style::Pretty { colour: false });
        assert_eq!((line.matches('\n').count(), line.contains('\x1b')), (1, false), "{line}");
    }
}
