//! The line per finished request as one JSON object, of the shape that all lines of the log have: docs/LOGGING.md.

use std::cell::RefCell;

use super::finished::Finished;
use super::lines::Lines;
use super::logs::REQUEST_TARGET;
use super::object::{Object, push_hex};
use super::stamp::Stamp;
use crate::base::clock::Timestamp;
use crate::base::usage::UsageSource;
use crate::store::record::Record;

/// Hands the line to `lines`; `now` is when it is written.
pub(super) fn print(done: &Finished<'_>, now: Timestamp, lines: &Lines) {
    DESK.with_borrow_mut(|desk| {
        desk.write(done, now);
        lines.put(&desk.line);
    });
}

thread_local! {
    /// Every worker writes at its own.
    static DESK: RefCell<Desk> = RefCell::new(Desk::new());
}

/// What is used again from line to line.
#[derive(Debug)]
struct Desk {
    line: Vec<u8>,
    now: Stamp,
    started: Stamp,
}

impl Desk {
    fn new() -> Self {
        Self { line: Vec::new(), now: Stamp::new(), started: Stamp::new() }
    }

    /// One object; fields without a value are left out.
    fn write(&mut self, done: &Finished<'_>, now: Timestamp) {
        self.line.clear();
        let mut object = Object::open(&mut self.line);
        object.quoted("timestamp", |to| self.now.push_micros(to, now));
        object.word("level", "INFO");
        object.word("message", "request");
        object.shown("request_id", done.record.request_id());
        object.word("trace_id", &done.record.trace_id);
        object.quoted("span_id", |to| push_hex(to, done.span_id));
        object.quoted("started_at", |to| self.started.push_shortest(to, done.started()));
        walk(&mut object, done);
        usage(&mut object, done.record);
        measures(&mut object, done);
        object.word("target", REQUEST_TARGET);
        object.close();
        self.line.push(b'\n');
    }
}

/// What was asked, and what became of it.
fn walk(object: &mut Object<'_>, done: &Finished<'_>) {
    let record = done.record;
    object.text("method", done.http.method);
    object.word("route", done.http.route);
    object.number("status", record.status.into());
    object.word("outcome", record.outcome.as_str());
    text(object, "error", &record.error);
    if let Some(why) = done.rejection {
        object.word("rejection", why.as_str());
    }
    text(object, "team", &record.team);
    text(object, "key", &record.key);
    text(object, "model", &record.model);
    text(object, "upstream", &record.upstream);
    object.number("attempts", done.attempts.len() as u64);
    object.flag("stream", record.stream);
    object.word("cache", record.cache.as_str());
}

/// Counts, and where they came from.
fn usage(object: &mut Object<'_>, record: &Record) {
    if record.usage_source != UsageSource::None {
        object.number("input_tokens", record.usage.input_tokens);
        object.number("cached_input_tokens", record.usage.cached_input_tokens);
        object.number("output_tokens", record.usage.output_tokens);
    }
    object.word("usage_source", record.usage_source.as_str());
    if !record.estimate.is_empty() {
        object.text("estimate", &record.estimate);
        object.number("estimate_error_percent", record.estimate_error_percent.into());
    }
    text(object, "billing", record.billing.as_str());
}

/// Money, time and bytes.
fn measures(object: &mut Object<'_>, done: &Finished<'_>) {
    let record = done.record;
    if let Some(cost) = record.cost {
        object.signed("cost_nano_usd", cost.as_nanos());
    }
    object.signed("saved_nano_usd", record.saved.as_nanos());
    object.number("duration_us", record.duration_us);
    if record.first_token_us > 0 {
        object.number("first_token_us", record.first_token_us);
    }
    object.number("overhead_us", record.overhead_us);
    object.number("response_bytes", record.response_bytes);
    if let Some(budget) = done.budget {
        object.text("budget", budget.id);
        if let Some(left) = budget.left {
            object.signed("budget_left_nano_usd", left.as_nanos());
        }
    }
}

fn text(object: &mut Object<'_>, key: &'static str, value: &str) {
    if !value.is_empty() {
        object.text(key, value);
    }
}

#[cfg(test)]
#[path = "object_line_tests.rs"]
mod tests;
