//! Last step: the books are closed. Usage, cost, budgets, limits, journal, metrics, trace: once each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, StatusCode};

use super::exchange::Books;
use super::headers;
use super::need::{measured_as_usual, reserved_usage};
use super::rates;
use super::report::report;
use crate::base::clock::{Timestamp, micros};
use crate::base::failpoint::Failpoint;
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::budget::{Need, Watched};
use crate::dialect::meter::Reading;
use crate::dialect::outline::{PromptOutline, outline};
use crate::dialect::path::{Metering, Operation};
use crate::pricing::cost::{Cost, Terms, cost};
use crate::pricing::price::Price;
use crate::store::record::Outcome;
use crate::telemetry::words::AttemptOutcome;
use crate::tokens::{Tokenizer, rough};

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
        let error = "client_disconnect".into();
        Self { outcome: Outcome::Cancelled, error, reading: None, is_whole: false }
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
    let reading = reading.unwrap_or_default();
    absorb(&mut books, &reading);
    if !is_whole || !reading.ended || reading.undecodable {
        // whoever waits for this answer asks for itself, now
        books.fill = None;
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

/// Whether the numbers are at hand.
enum Counts {
    Known(UsageSource),
    Missing,
    /// It will never be told here: the reservation is charged.
    Reserved,
}

fn counts(books: &Books, reading: &Reading) -> Counts {
    if !may_cost(books) {
        return Counts::Known(UsageSource::None);
    }
    if is_untold(books, reading) {
        return Counts::Reserved;
    }
    let is_whole = matches!(books.record.outcome, Outcome::Completed) || reading.ended;
    match &reading.usage {
        Some(_) if is_whole && !reading.usage_is_opening => Counts::Known(UsageSource::Reported),
        _ => Counts::Missing,
    }
}

/// Whether the work goes on after the answer, or after the client has left it: its usage is told to
/// whoever fetches it, which is not billed again.
fn is_background(books: &Books) -> bool {
    let goes_on =
        matches!(books.record.outcome, Outcome::Completed | Outcome::Cancelled | Outcome::Truncated);
    books.facts.background && books.endpoint.operation == Operation::Responses && goes_on
}

/// Whether an upstream answered well, or was at work when the request ended: what it may bill. Its own
/// status counts, not the one that the client got.
fn may_cost(books: &Books) -> bool {
    let Some(last) = books.attempts.last().filter(|_| books.is_billed()) else { return false };
    match last.status {
        Some(status) => (200..400).contains(&status),
        None => {
            let is_cut_off = matches!(books.record.outcome, Outcome::Cancelled | Outcome::Failed);
            is_cut_off && last.error_type.is_none()
        }
    }
}

/// Whether nobody will tell what was used: background work, or an answer that we could not pass on.
fn is_untold(books: &Books, reading: &Reading) -> bool {
    let is_withheld = books.record.outcome == Outcome::Refused;
    reading.usage.is_none() && (is_background(books) || is_withheld)
}

/// Takes over what the answer said about itself.
fn absorb(books: &mut Books, reading: &Reading) {
    if let Some(model) = &reading.model {
        books.record.response_model = model.chars().take(256).collect();
    }
    books.answered.id.clone_from(&reading.response_id);
    books.answered.finish_reasons.clone_from(&reading.finish_reasons);
    books.answered.service_tier.clone_from(&reading.service_tier);
    let now = books.now();
    let outcome = books.record.outcome;
    let error = books.record.error.clone();
    if let Some(last) = books.attempts.last_mut() {
        last.ended = now;
        match outcome {
            Outcome::Cancelled => last.outcome = AttemptOutcome::Cancelled,
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

/// Counts on the pool; if the pool is full, roughly and at once (bytes over four), never on this worker.
fn count_later(books: Box<Books>, reading: Reading) {
    let door = books.door.clone();
    let open = Arc::new(Mutex::new(Some((books, reading))));
    let queued = open.clone();
    let job = Box::new(move |tokenizer: &Tokenizer| {
        close_estimated(&queued, |model, prompt, output| {
            (tokenizer.count_prompt(model, prompt).tokens, tokenizer.count(model, output).tokens)
        });
    });
    if door.counting.submit(job).is_err() {
        close_estimated(&open, |_, prompt, output| {
            let texts: usize = prompt.texts.iter().map(String::len).sum();
            (prompt.fixed_tokens + rough(texts + prompt.skipped_bytes), rough(output.len()))
        });
    }
}

type OpenBooks = Mutex<Option<(Box<Books>, Reading)>>;

/// `count` tells the tokens of a prompt and of an output, by the model's encoding.
fn close_estimated(open: &OpenBooks, count: impl Fn(&str, &PromptOutline, &str) -> (u64, u64)) {
    let taken = open.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((books, reading)) = taken else { return };
    let model =
        first_filled(&[&books.record.response_model, &books.record.upstream_model, &books.record.model]);
    // the books must be closed whatever the request's own bytes do to its reader
    let counted = catch_unwind(AssertUnwindSafe(|| {
        let prompt = outline(&books.endpoint, &books.prompt);
        count(model, &prompt, &reading.output_text)
    }));
    let by_size = |_| (rough(books.prompt.len()), rough(reading.output_text.len()));
    let (input, mut output) = counted.unwrap_or_else(by_size);
    let beyond = match unread_text(&books, &reading) {
        Some(relayed) => relayed,
        None => reading.output_text_bytes.saturating_sub(reading.output_text.len() as u64),
    };
    output += rough(usize::try_from(beyond).unwrap_or(usize::MAX));
    let mut usage = estimate(&books, &reading, input, output);
    if reading.usage.is_none() {
        usage = usage.plus(&measured_as_usual(&books));
    }
    let source = if reading.usage.is_some() { UsageSource::Partial } else { UsageSource::Estimated };
    close_books(books, usage, source, &reading);
}

/// Bytes of an answer in text whose text could not be told from the rest: cut JSON, an unknown encoding.
fn unread_text(books: &Books, reading: &Reading) -> Option<u64> {
    let is_text = matches!(
        books.endpoint.operation,
        Operation::ChatCompletions | Operation::Completions | Operation::Responses | Operation::Messages
    );
    let is_unread = reading.output_text_bytes == 0 && !books.record.stream;
    (is_text && is_unread).then_some(books.record.response_bytes)
}

/// Input by the request's outline, output by what was relayed; never below what the upstream did
/// report, never above what was reserved (invariant I3).
fn estimate(books: &Books, reading: &Reading, input: u64, output: u64) -> Usage {
    let mut usage = reading.usage.unwrap_or(Usage { input_tokens: input, ..Usage::default() });
    usage.output_tokens = usage.output_tokens.max(output);
    if books.record.reserved_tokens > 0 && reading.usage.is_none() {
        usage.input_tokens = usage.input_tokens.min(books.record.reserved_tokens);
        let room = books.record.reserved_tokens - usage.input_tokens;
        usage.output_tokens = usage.output_tokens.min(room);
    }
    usage
}

fn first_filled<'a>(names: &[&'a String]) -> &'a str {
    names.iter().find(|name| !name.is_empty()).map_or("", |name| name.as_str())
}

/// Prices, settles, records. The one place where an exchange ends.
fn close_books(
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
    if books.record.outcome == Outcome::Completed
        && books.record.status == 200
        && let Some(fill) = books.fill.take()
    {
        fill.publish(&books.record);
    }
    let door = books.door.clone();
    let settling = Settling::begin(&door.settling);
    if let Err(fault) = door.journal.close(&books.record) {
        tracing::error!(%fault, request = %books.id, "tollgate.usage.lost: the journal refused a record");
    }
    settle_holds(&mut books);
    drop(settling);
    report(&books);
    books.record.cost
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

/// What it cost; `None` when it was used and nobody knows the price.
fn price_usage(books: &mut Books, reading: &Reading) -> Option<NanoUsd> {
    books.record.catalogue.clear();
    if books.record.usage_source == UsageSource::None {
        let may_cost_unknown = books.record.outcome == Outcome::Completed
            && books.was_dispatched()
            && books.endpoint.operation.metering() == Metering::Unmetered;
        return (!may_cost_unknown).then_some(NanoUsd::ZERO);
    }
    if is_untold(books, reading) {
        books.record.catalogue = books.policy.prices.version().into();
        return (books.record.reserved > NanoUsd::ZERO).then_some(books.record.reserved);
    }
    let price = final_price(books)?;
    let terms = Terms {
        service_tier: reading.service_tier.as_deref(),
        speed: reading.speed.as_deref(),
        batch: false,
    };
    let own: Cost = cost(&price, &books.record.usage, &terms);
    let mut total = own.amount;
    let now = books.now();
    for (model, usage) in &reading.extra {
        let other =
            if model.is_empty() { Some(price.clone()) } else { books.policy.prices.price(None, model, now) };
        let part = other.and_then(|price| cost(&price, usage, &terms).amount);
        total = total.zip(part).map(|(sum, part)| sum + part);
    }
    books.record.rates = own.rates.to_json();
    books.record.catalogue = books.policy.prices.version().into();
    total
}

/// A price from the config wins; then the model that the answer names, the model sent, the model asked for.
fn final_price(books: &Books) -> Option<Arc<Price>> {
    let record = &books.record;
    let catalogue = &books.policy.prices;
    let now = Timestamp::from_nanos(record.started_at);
    let overridden = |model: &&String| books.policy.overridden.contains(model);
    let host = books.attempts.last().map(|attempt| attempt.host.as_str());
    if let Some(model) = [&record.upstream_model, &record.model].into_iter().find(overridden) {
        return catalogue.price(None, model, now);
    }
    [&record.response_model, &record.upstream_model, &record.model]
        .into_iter()
        .filter(|model| !model.is_empty())
        .find_map(|model| catalogue.price(host, model, now))
}

/// Budgets and limits get back what was not used, or pay what was.
fn settle_holds(books: &mut Books) {
    let actual = Need {
        cost: books.record.cost.unwrap_or_default(),
        tokens: books.record.usage.total_tokens(),
        requests: 1,
    };
    if let Some(reservation) = books.reservation.take() {
        let settled = reservation.settle(actual);
        for crossing in &settled.crossings {
            books.door.signals.budget_crossed(&crossing.budget, &crossing.scope, crossing.percent);
        }
        for shadowed in &settled.shadowed {
            books.door.signals.budget_shadowed(&shadowed.budget, &shadowed.scope, &shadowed.used.to_string());
        }
    }
    rates::leave(books, actual.tokens);
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
            headers::set(headers, "x-tollgate-budget-warning", &warning);
        }
    }
    if let Some(left) = least {
        let left = left.max(NanoUsd::ZERO).to_usd_string();
        headers::set(headers, "x-tollgate-budget-remaining-usd", &left);
    }
}
