//! Last step: the books are closed. Usage, cost, budgets, limits, journal, metrics, trace: once each.

use std::sync::atomic::{AtomicU32, Ordering};

use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::bill::price_usage;
use super::estimate::count_later;
use super::exchange::Books;
use super::headers;
use super::late;
use super::names;
use super::need::reserved_usage;
use super::rates;
use super::report::report;
use crate::base::clock::{Timestamp, micros};
use crate::base::failpoint::Failpoint;
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::budget::{Need, Watched};
use crate::dialect::grounds::Ground;
use crate::dialect::meter::Reading;
use crate::dialect::path::Operation;
use crate::signals::AnswerFaults;
use crate::store::record::{Billing, Disconnect, Outcome};
use crate::telemetry::words::AttemptOutcome;

/// How an exchange ended.
#[derive(Debug)]
pub(super) struct End {
    outcome: Outcome,
    error: String,
    /// What the answer said, as far as it came; `None` if there was no answer to read.
    reading: Option<Reading>,
    /// Whether all of it went to the client: only such answers are stored.
    is_whole: bool,
}

impl End {
    /// An answer that came to its end; bad statuses and errors inside a stream are the upstream's.
    /// `is_whole` unless the client left after the dialect's own end.
    pub(super) fn answered(status: StatusCode, reading: Reading, is_whole: bool) -> Self {
        let failed = status.as_u16() >= 400 || reading.error.is_some();
        let (outcome, error) = match &reading.error {
            _ if !failed => (Outcome::Completed, String::new()),
            Some(error) if !error.code.is_empty() => (Outcome::UpstreamError, error.code.clone()),
            _ => (Outcome::UpstreamError, format!("upstream_{}", status.as_u16())),
        };
        Self { outcome, error, reading: Some(reading), is_whole }
    }

    /// An answer that was cut short.
    pub(super) fn broken(outcome: Outcome, error: &str, reading: Reading) -> Self {
        Self { outcome, error: error.into(), reading: Some(reading), is_whole: false }
    }

    /// Answered from the cache.
    pub(super) fn remembered() -> Self {
        Self { outcome: Outcome::Completed, error: String::new(), reading: None, is_whole: false }
    }

    /// Tollgate's own answer.
    pub(super) fn refused(outcome: Outcome, code: &str) -> Self {
        Self { outcome, error: code.into(), reading: None, is_whole: false }
    }

    /// Dropped before an answer: the client went away.
    pub(super) fn cancelled() -> Self {
        Self { outcome: Outcome::Cancelled, error: CLIENT_GONE.into(), reading: None, is_whole: false }
    }

    /// A panic of ours took the request with it.
    pub(super) fn panicked() -> Self {
        Self { outcome: Outcome::Failed, error: "internal_error".into(), reading: None, is_whole: false }
    }
}

/// Closes the books, at once if the counts are known, else as soon as they were counted off the worker.
pub(super) fn settle(mut books: Box<Books>, end: End) -> Option<NanoUsd> {
    Failpoint::BeforeSettle.reach();
    let End { outcome, error, reading, is_whole } = end;
    books.record.outcome = outcome;
    books.record.error = error;
    let now = books.tick();
    books.record.duration_us = micros(now.since(books.began));
    if let Some(first) = books.first_output {
        books.record.first_token_us = micros(first.since(books.began));
    }
    let mut reading = reading.unwrap_or_default();
    if let Some(stored) = &reading.stored {
        late::hear(&mut books, stored, outcome == Outcome::Completed);
    }
    absorb(&mut books, &mut reading);
    note_disconnect(&mut books);
    if !is_whole || !reading.ended || reading.undecodable {
        // whoever waits for this answer asks for itself, now
        books.fill = None;
    }
    if late::is_deferred(&books, &reading) {
        late::defer(books, &reading);
        return None;
    }
    match counts(&books, &reading) {
        Counts::Known(source) => {
            let usage = reading.usage.unwrap_or_default();
            close_books(books, usage, source, &reading)
        }
        Counts::Missing => {
            count_later(books, reading);
            None
        }
        Counts::Reserved => {
            let usage = reserved_usage(books.record.reserved_tokens);
            close_books(books, usage, UsageSource::Estimated, &reading)
        }
    }
}

/// Whether the client saw the end, and if not, how far the answer was read without it. To the client an
/// answer that came whole only here was cancelled all the same.
fn note_disconnect(books: &mut Books) {
    let is_alone = books.is_alone();
    let record = &mut books.record;
    record.disconnect = match record.outcome {
        Outcome::Completed | Outcome::UpstreamError if is_alone => Disconnect::Drained,
        _ if is_alone => Disconnect::DrainedInPart,
        Outcome::Cancelled => Disconnect::Cancelled,
        _ => Disconnect::None,
    };
    if is_alone && record.outcome == Outcome::Completed {
        (record.outcome, record.error) = (Outcome::Cancelled, CLIENT_GONE.into());
    }
}

/// `error` of a request whose client did not wait for its end.
pub(super) const CLIENT_GONE: &str = "client_disconnect";

/// Whether the numbers are at hand.
enum Counts {
    Known(UsageSource),
    Missing,
    /// It will never be told here: the reservation is charged.
    Reserved,
}

fn counts(books: &Books, reading: &Reading) -> Counts {
    if !may_cost(books) {
        let is_lost = !books.lost.is_empty();
        return if is_lost { Counts::Missing } else { Counts::Known(UsageSource::None) };
    }
    if is_untold(books, reading) {
        return Counts::Reserved;
    }
    let record = &books.record;
    let came_whole = record.outcome == Outcome::Completed || record.disconnect == Disconnect::Drained;
    let is_whole = came_whole || reading.ended;
    match &reading.usage {
        Some(_) if is_whole && !reading.usage_is_opening => Counts::Known(UsageSource::Reported),
        _ => Counts::Missing,
    }
}

/// Whether the work goes on after the answer, or after the client has left it, and nobody knows its id: whoever
/// fetches it is not billed for it.
fn is_background(books: &Books) -> bool {
    let goes_on =
        matches!(books.record.outcome, Outcome::Completed | Outcome::Cancelled | Outcome::Truncated);
    books.facts.background && books.endpoint.operation == Operation::Responses && goes_on
}

/// Whether an upstream answered well, or was at work when the request ended: what it may bill. Its own
/// status counts, not the one that the client got.
pub(super) fn may_cost(books: &Books) -> bool {
    let Some(last) = books.attempts.last().filter(|_| books.is_billed()) else { return false };
    match last.status {
        // a redirect is an answer of who stands in front: no model has worked for it
        Some(status) => (200..300).contains(&status),
        None => {
            let is_cut_off = matches!(books.record.outcome, Outcome::Cancelled | Outcome::Failed);
            is_cut_off && last.error_type.is_none() && books.was_sent_whole()
        }
    }
}

/// Whether nobody will tell what was used: background work without an id, or that nobody fetched, or an answer
/// that we could not pass on.
pub(super) fn is_untold(books: &Books, reading: &Reading) -> bool {
    let is_withheld = books.record.outcome == Outcome::Refused;
    let was_never_fetched = books.record.billing == Billing::Late;
    reading.usage.is_none() && (is_background(books) || is_withheld || was_never_fetched)
}

/// Takes over what the answer said about itself.
pub(super) fn absorb(books: &mut Books, reading: &mut Reading) {
    if let Some(model) = &reading.model {
        books.record.response_model = headers::cut(model).into();
    }
    books.answered.id.clone_from(&reading.response_id);
    books.answered.finish_reasons = std::mem::take(&mut reading.finish_reasons);
    books.answered.service_tier.clone_from(&reading.service_tier);
    books.answered.faults = AnswerFaults {
        malformed: reading.malformed,
        usage_invalid: reading.usage_invalid.into(),
        undecodable: reading.undecodable.into(),
        clipped: reading.clipped,
    };
    let now = books.now();
    let outcome = books.record.outcome;
    let error = books.record.error.clone();
    if let Some(last) = books.attempts.last_mut() {
        last.ended = now;
        match outcome {
            Outcome::Cancelled | Outcome::Cut => last.outcome = AttemptOutcome::Cancelled,
            Outcome::Truncated => {
                last.outcome = AttemptOutcome::Error;
                last.error_type = Some("stream_interrupted".into());
            }
            Outcome::UpstreamError if last.error_type.is_none() => {
                last.outcome = AttemptOutcome::Error;
                last.error_type = Some(if error.is_empty() { "_OTHER".into() } else { error });
            }
            _ => {}
        }
    }
}

/// Prices, settles, records. The one place where an exchange ends.
pub(super) fn close_books(
    mut books: Box<Books>,
    usage: Usage,
    source: UsageSource,
    reading: &Reading,
) -> Option<NanoUsd> {
    books.record.usage_source = source;
    if source != UsageSource::None {
        books.record.usage = usage;
    }
    books.record.cost = price_usage(&mut books, reading);
    if books.record.usage_source == UsageSource::Estimated && books.record.estimate.is_empty() {
        // nothing was counted: the reservation is charged, for its tokens or for what nobody has priced
        books.record.note_grounds(Ground::Ceiling.into());
    }
    note_attempts(&mut books);
    note_reasoning(&books, reading);
    settle_holds(&mut books);
    if books.record.outcome == Outcome::Completed
        && books.record.status == 200
        && let Some(fill) = books.fill.take()
    {
        fill.publish(&books.record);
    }
    report(&books);
    books.record.cost
}

/// The journal has the outcome, then budgets and limits get back what was not used, or pay what was.
fn settle_holds(books: &mut Books) {
    let door = books.door.clone();
    let actual = Need {
        cost: books.record.cost.unwrap_or_default(),
        tokens: books.record.usage.total_tokens(),
        requests: 1,
    };
    let settling = Settling::begin(&door.settling);
    if let Err(fault) = door.journal.close(&books.record) {
        tracing::error!(%fault, request = %books.id, "tollgate.usage.lost: the journal refused a record");
    }
    let settled = books.reservation.take().map(|reservation| reservation.settle(actual));
    drop(settling);
    if let Some(settled) = settled {
        door.lines.money_came_back();
        for crossing in &settled.crossings {
            door.signals.budget_crossed(&crossing.budget, &crossing.scope, crossing.percent);
        }
        for shadowed in &settled.shadowed {
            door.signals.budget_shadowed(&shadowed.budget, &shadowed.scope, &shadowed.used.to_string());
        }
    }
    // limits on rates are about what is asked for, not about when it is billed
    let is_deferred = books.record.billing == Billing::Deferred;
    rates::leave(books, if is_deferred { books.record.reserved_tokens } else { actual.tokens });
}

/// As long as it lives, the books may have what the counters have not: who compares them waits.
struct Settling<'a>(&'a AtomicU32);

impl<'a> Settling<'a> {
    fn begin(settling: &'a AtomicU32) -> Self {
        settling.fetch_add(1, Ordering::SeqCst);
        Self(settling)
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Several attempts stand on the row one by one.
fn note_attempts(books: &mut Books) {
    if books.attempts.len() > 1 {
        let told: Vec<_> = books
            .attempts
            .iter()
            .map(|attempt| {
                let lost = books.lost.iter().find(|lost| lost.number == attempt.number);
                json!({"upstream": attempt.upstream, "model": attempt.model_sent, "status": attempt.status,
                    "error": attempt.error_type, "cost_nano_usd": lost.and_then(|lost| lost.cost).map(NanoUsd::as_nanos)})
            })
            .collect();
        books.record.attempt_log = serde_json::Value::from(told).to_string();
    }
}

/// A model that reports output which nobody saw will have its whole cap held from now on.
fn note_reasoning(books: &Books, reading: &Reading) {
    if reading.usage.is_none_or(|usage| usage.reasoning_tokens == 0) {
        return;
    }
    let Some(last) = books.attempts.last() else { return };
    if let Some(upstream) = books.policy.upstreams.iter().find(|upstream| upstream.name == last.upstream) {
        upstream.note_reasoning(&last.model_sent);
    }
}

/// What is left of the caller's budgets, and which warn thresholds it has passed.
pub(super) fn standing_headers(budgets: &Watched, now: Timestamp, headers: &mut HeaderMap) {
    let mut least: Option<NanoUsd> = None;
    for standing in budgets.standings(now) {
        let state = &standing.state;
        if let Some(left) = state.left.as_usd() {
            least = Some(least.map_or(left, |other| other.min(left)));
        }
        if let Some(percent) = state.crossed {
            let warning = format!("{}: {percent}% of {}", standing.scope(), state.limit);
            headers::set(headers, &names::BUDGET_WARNING, &warning);
        }
    }
    if let Some(left) = least {
        let left = left.max(NanoUsd::ZERO).to_usd_string();
        headers::set(headers, &names::BUDGET_REMAINING, &left);
    }
}
