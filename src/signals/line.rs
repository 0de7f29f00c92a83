//! The line per finished request: for people, or one JSON object. Never keys, never prompts.

use super::finished::Finished;
use super::lines::Lines;
use super::logs::{REQUEST_TARGET, Style};
use super::object_line;
use crate::base::clock::{Clock, Timestamp};
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::store::record::{Billing, CacheResult, Outcome, Record};

/// Prints the line of a finished request, if the log's filter lets it through.
pub(super) fn print(done: &Finished<'_>, style: Style, lines: &Lines) {
    if !tracing::enabled!(target: REQUEST_TARGET, tracing::Level::INFO) {
        return;
    }
    match style {
        Style::Json => object_line::print(done, Clock::system().now(), lines),
        Style::Pretty { colour } => lines.put((readable(done, colour) + "\n").as_bytes()),
    }
}

/// Columns that an eye can run down, then what only some requests have:
/// `12:00:00  search/prod       gpt-4o                  200     300 in   180 out   $0.002130  ttft  410ms   1.20s  left $499.000000  cache miss`
fn readable(done: &Finished<'_>, colour: bool) -> String {
    let record = done.record;
    let model = shown(some(&record.model).unwrap_or(done.http.route));
    let status = if record.status == 0 { "---".into() } else { record.status.to_string() };
    let first = if record.first_token_us > 0 {
        format!("ttft {:>6}", span(record.first_token_us))
    } else {
        String::new()
    };
    let told = told(done);
    let is_counted = record.usage_source != UsageSource::None;
    let middle = if is_counted { counts(record) } else { told.clone() };
    let paint = Paint::of(record.outcome, colour);
    let middle = format!("{middle:<31}");
    let mut line = format!(
        "{}  {:<16}  {model:<22}  {}  {}  {first:<11}  {:>6}",
        clock(record.started_at),
        caller(done),
        paint.over(&status),
        if is_counted { middle } else { paint.over(&middle) },
        span(record.duration_us),
    );
    for part in rarer(done) {
        line = line + "  " + &part;
    }
    if is_counted && !told.is_empty() {
        line = line + "  " + &paint.over(&told);
    }
    line
}

/// Tokens and cost.
fn counts(record: &Record) -> String {
    let Usage { input_tokens, output_tokens, .. } = record.usage;
    let cost = record.cost.map_or_else(|| "unpriced".into(), usd);
    format!("{input_tokens:>6} in {output_tokens:>5} out  {cost:>10}")
}

/// What a request has to say that is not a plain success.
fn told(done: &Finished<'_>) -> String {
    let record = done.record;
    match (record.outcome, some(&record.error)) {
        (Outcome::Completed, _) if record.saved > NanoUsd::ZERO => format!("saved {}", usd(record.saved)),
        (Outcome::Completed, _) => String::new(),
        (_, Some(error)) => shown(error),
        (outcome, None) => outcome.as_str().into(),
    }
}

fn rarer(done: &Finished<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(left) = done.budget.and_then(|budget| budget.left) {
        parts.push(format!("left {:>10}", usd(left)));
    }
    if matches!(done.record.usage_source, UsageSource::Partial | UsageSource::Estimated) {
        let source = done.record.usage_source.as_str();
        parts.push(match done.record.estimate_error_percent {
            0 => source.to_owned(),
            percent => format!("{source} ±{percent}%"),
        });
    }
    if done.record.billing != Billing::AtOnce {
        parts.push(format!("bill {}", done.record.billing.as_str()));
    }
    if done.record.cache != CacheResult::Off {
        parts.push(format!("cache {}", done.record.cache.as_str()));
    }
    if done.attempts.len() > 1 {
        parts.push(format!("attempts {}", done.attempts.len()));
    }
    parts
}

fn caller(done: &Finished<'_>) -> String {
    match (done.record.team.as_str(), done.record.key.as_str()) {
        ("", _) => "-".into(),
        (team, "") => shown(team),
        (team, key) => format!("{}/{}", shown(team), shown(key)),
    }
}

/// The colour of a verdict.
#[derive(Debug, Clone, Copy)]
struct Paint(Option<&'static str>);

impl Paint {
    fn of(outcome: Outcome, colour: bool) -> Self {
        let code = match outcome {
            Outcome::Completed => "32",
            Outcome::Refused | Outcome::Cancelled => "33",
            Outcome::UpstreamError
            | Outcome::UpstreamUnreachable
            | Outcome::Truncated
            | Outcome::Interrupted
            | Outcome::Failed
            | Outcome::Cut => "31",
        };
        Self(colour.then_some(code))
    }

    fn over(self, text: &str) -> String {
        self.0.map_or_else(|| text.to_owned(), |code| format!("\x1b[{code}m{text}\x1b[0m"))
    }
}

/// USD to the millionth, half up; a trifle is not nothing. The JSON line has it to the nano-USD.
fn usd(amount: NanoUsd) -> String {
    let nanos = amount.as_nanos();
    if (1..500).contains(&nanos) {
        return "<$0.000001".into();
    }
    let micros = (i128::from(nanos) + 500).div_euclid(1_000);
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    format!("{sign}${}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..10_000 => format!("{}.{}ms", micros / 1_000, micros % 1_000 / 100),
        10_000..1_000_000 => format!("{}ms", micros / 1_000),
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

/// Time of day, UTC.
pub(super) fn clock(nanos: i64) -> String {
    let seconds = Timestamp::from_nanos(nanos).as_secs().rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::signals::lines::tests::Written;
    use crate::signals::logs;
    use crate::signals::section::LogSection;
    use crate::signals::tests::story::{CALLER, Story};

    fn printed(story: &Story, style: Style) -> String {
        let written = Written::default();
        let lines = Lines::to(written.clone()).unwrap();
        let subscriber = logs::subscriber(&LogSection::default(), style, lines.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || print(&story.done(), style, &lines));
        lines.flush(Duration::from_secs(60));
        written.text()
    }

    #[test]
    fn people_read_one_line() {
        let line = printed(&Story::failed_over(CALLER), Style::Pretty { colour: false });
        assert_eq!(
            line,
            "22:13:20  search/prod       smart                   200     300 in   180 out   $0.002130  \
             ttft  410ms   1.20s  left $499.000000  cache miss  attempts 2\n"
        );
        let line = printed(&Story::refused(CALLER), Style::Pretty { colour: true });
        assert!(line.contains("\x1b[33m429\x1b[0m  \x1b[33mrate_limit_exceeded "), "{line}");
    }

    #[test]
    fn what_was_broken_off_shows_its_counts_and_its_reason() {
        let mut story = Story::failed_over(CALLER);
        story.record.outcome = Outcome::Cancelled;
        story.record.error = "client_disconnect".into();
        story.record.usage_source = UsageSource::Estimated;
        story.record.estimate_error_percent = 5;
        let line = printed(&story, Style::Pretty { colour: false });
        assert!(
            line.contains("180 out")
                && line.contains("  estimated ±5%  cache miss  attempts 2  client_disconnect\n"),
            "{line}"
        );
    }

    #[test]
    fn a_hit_shows_what_it_saved() {
        let mut story = Story::failed_over(CALLER);
        story.record.usage_source = UsageSource::None;
        story.record.cache = CacheResult::Hit;
        story.record.saved = NanoUsd::new(2_130_000);
        let line = printed(&story, Style::Pretty { colour: false });
        assert!(line.contains("  saved $0.002130  ") && line.contains("  cache hit"), "{line}");
    }

    #[test]
    fn a_trifle_is_not_nothing() {
        let printed = [0, 1, 499, 500, -1_500, 24_999_961_480].map(|nanos| usd(NanoUsd::new(nanos)));
        assert_eq!(
            printed,
            ["$0.000000", "<$0.000001", "<$0.000001", "$0.000001", "-$0.000001", "$24.999961"]
        );
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
