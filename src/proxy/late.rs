//! Work that goes on after its answer: a background response, a batch. The request that began it defers its bill;
//! whatever tells the usage later is read in passing, and settles one late bill, an exchange of its own.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header};

use super::budgets::{impose, spender, terms};
use super::exchange::{Books, Exchange};
use super::headers::{Head, bounded};
use super::need::reserved_usage;
use super::part::{Part, attempt as answered_attempt, record_of_part, take_over};
use super::policy::Door;
use super::settle::{absorb, close_books};
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::budget::{self, Need, Reservation};
use crate::dialect::meter::{Meter, Reading, Work};
use crate::dialect::path::{Dialect, Object, ObjectKind, Operation, classify};
use crate::ledger::deferred::Owed;
use crate::pricing::price::Tier;
use crate::signals::Attempt;
use crate::store::record::{Billing, Outcome, Record};
use crate::telemetry::trace::TraceContext;
use crate::upstream::section::UpstreamKind;

/// What is held for a bill that is still to come: nothing, where nobody knows how large it may be.
pub(super) type Held = Option<Reservation>;

/// Whether the answer only says that the work has begun, and by which id its end will be told.
pub(super) fn is_deferred(books: &Books, reading: &Reading) -> bool {
    let is_answered =
        books.attempts.last().and_then(|last| last.status).is_some_and(|s| (200..300).contains(&s));
    if !is_answered || reading.response_id.is_none() || reading.usage.is_some() {
        return false;
    }
    match books.endpoint.operation {
        // an attempt that was lost costs something now: the whole is charged at its reservation
        _ if !books.lost.is_empty() => false,
        Operation::Batches => reading.work != Work::Untold,
        // a stream may break off before it says how the work stands
        Operation::Responses => {
            reading.work == Work::Pending || (books.facts.background && reading.work == Work::Untold)
        }
        _ => false,
    }
}

/// Closes the books without a bill, and remembers that there will be one. What was reserved stays so.
pub(super) fn defer(mut books: Box<Books>, reading: &Reading) {
    let door = Arc::clone(&books.door);
    books.record.billing = Billing::Deferred;
    // nobody else is to be told that their work has begun
    books.fill = None;
    // budgets charge it when its bill comes
    books.record.admitted_at = 0;
    books.record.answer_id = reading.response_id.as_deref().unwrap_or_default().into();
    let held = books.reservation.take();
    let row = books.record.clone();
    close_books(books, Usage::default(), UsageSource::None, reading);
    // the row comes first: whoever ends the process now leaves it to be found at the next start
    note(&door, Owed { row, held });
}

/// Notes what is owed; what has no place beside it is billed as if nobody had fetched it.
fn note(door: &Arc<Door>, owed: Owed<Held>) {
    if let Some(displaced) = door.deferred.note(owed) {
        bill(door, displaced, &Told::Never);
    }
}

/// The meter of an answer, which may tell of something stored.
pub(super) fn meter(x: &Exchange, status: StatusCode, headers: &HeaderMap) -> Meter {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (kind, encoding) = (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
    let tells = |object: &&Object| {
        object.kind != ObjectKind::File || x.door.deferred.knows_file(&x.record.upstream, &object.id)
    };
    match x.endpoint.object.as_ref().filter(tells) {
        Some(object) => Meter::of_stored(object.kind, status.as_u16(), kind, encoding),
        None => Meter::new(x.endpoint.operation, status.as_u16(), kind, encoding),
    }
}

/// What becomes of a bill.
enum Told<'a> {
    /// It is what the upstream says was used.
    Usage(&'a Reading),
    /// Nothing was made.
    Nothing(&'a Reading),
    /// Nobody fetched it in time.
    Never,
}

/// Hears what a stored object says of itself, and bills it, once. `came_whole`: all of the answer was read.
pub(super) fn hear(books: &mut Books, stored: &Reading, came_whole: bool) {
    let Some(object) = &books.endpoint.object else { return };
    let (door, upstream) = (&books.door, &books.record.upstream);
    let told = match object.kind {
        ObjectKind::Response => of_response(stored),
        ObjectKind::Batch => of_batch(books.endpoint.dialect, stored),
        ObjectKind::Results | ObjectKind::File => of_answers(stored, came_whole),
    };
    if let Some(told) = told {
        let owed = match object.kind {
            ObjectKind::File => door.deferred.take_by_file(upstream, &object.id),
            _ => door.deferred.take(upstream, &object.id),
        };
        if let Some(owed) = owed {
            bill(door, owed, &told);
        }
    } else if let Some(file) = stored.output_file.as_deref().filter(|_| object.kind == ObjectKind::Batch)
        && let Some(parent) = door.deferred.note_file(upstream, &object.id, file)
    {
        // so that the next start knows the file, too
        (books.record.parent, books.record.answer_id) = (parent, file.into());
    }
}

/// Of one that failed before it used anything no usage is told. Of others it may be told later still.
fn of_response(stored: &Reading) -> Option<Told<'_>> {
    match (stored.usage, stored.work) {
        (_, Work::Pending) => None,
        (Some(_), _) => Some(Told::Usage(stored)),
        (None, Work::Failed) => Some(Told::Nothing(stored)),
        (None, _) => None,
    }
}

/// A batch tells its usage itself, or only the file that has its answers.
fn of_batch(dialect: Dialect, stored: &Reading) -> Option<Told<'_>> {
    let is_told = stored.usage.is_some_and(|usage| usage.total_tokens() > 0);
    let has_file = stored.output_file.is_some();
    match stored.work {
        Work::Untold | Work::Pending => None,
        // without its model it has no price, which each of the answers has
        Work::Ended | Work::Failed if is_told => {
            (stored.model.is_some() || !has_file).then_some(Told::Usage(stored))
        }
        Work::Failed => Some(Told::Nothing(stored)),
        Work::Ended => (dialect == Dialect::OpenAi && !has_file).then_some(Told::Nothing(stored)),
    }
}

/// Without a single line nothing was told.
fn of_answers(stored: &Reading, came_whole: bool) -> Option<Told<'_>> {
    let is_read = stored.ended && !stored.undecodable && stored.malformed == 0 && stored.events > 0;
    let is_whole = came_whole && is_read;
    is_whole.then(|| if stored.usage.is_some() { Told::Usage(stored) } else { Told::Nothing(stored) })
}

/// Bills what nobody fetched in its time: a response at its reservation; a batch, whose bill has no bound that we
/// know, at an unknown cost.
pub fn bill_overdue(door: &Arc<Door>) {
    let now = door.clock.now();
    let patience = door.live.snapshot().bounds.deferred_for;
    let is_due = |row: &Record| {
        let patience = if row.operation == Operation::Batches.as_str() { BATCHES_FOR } else { patience };
        now.as_nanos().saturating_sub(row.started_at)
            >= i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX)
    };
    while let Some(owed) = door.deferred.take_due(now, is_due) {
        tracing::warn!(
            answer = owed.row.answer_id,
            upstream = owed.row.upstream,
            team = owed.row.team,
            reserved_usd = %owed.row.reserved,
            "nobody fetched an answer that is billed late; it is billed at its reservation"
        );
        bill(door, owed, &Told::Never);
    }
}

/// Upstreams keep the answers of batches this long (`OpenAI` 30 days, Anthropic 29).
const BATCHES_FOR: Duration = Duration::from_hours(30 * 24);

/// Takes up again what an earlier process deferred; its reservation, if there is room for it now.
pub fn resume(door: &Arc<Door>, row: Record) {
    let account = door.live.snapshot().account_of(&row.team, &row.key);
    let need = need_of(&row);
    let is_held = need.cost > NanoUsd::ZERO || need.tokens > 0;
    let held = account
        .filter(|_| is_held)
        .and_then(|account| budget::reserve(&account.budgets, &spender(&row), need, door.clock.now()).ok());
    note(door, Owed { row, held });
}

fn need_of(row: &Record) -> Need {
    Need { cost: row.reserved, tokens: row.reserved_tokens, requests: 1 }
}

/// Settles one bill, once: its row is written by one append, so that a process that ends here has either billed
/// it or still owes it.
fn bill(door: &Arc<Door>, owed: Owed<Held>, told: &Told<'_>) {
    let Owed { row, held } = owed;
    let is_batch = row.operation == Operation::Batches.as_str();
    let (usage, source, mut reading) = match told {
        Told::Usage(reading) => {
            (reading.usage.unwrap_or_default(), UsageSource::Reported, (*reading).clone())
        }
        Told::Nothing(reading) => (Usage::default(), UsageSource::None, (*reading).clone()),
        Told::Never if is_batch => (Usage::default(), UsageSource::None, Reading::default()),
        Told::Never => (reserved_usage(row.reserved_tokens), UsageSource::Estimated, Reading::default()),
    };
    if is_batch {
        reading.service_tier = Some(Tier::Batch.as_str().into());
    }
    reading.response_id = Some(row.answer_id.clone());
    let mut x = open(door, &row, reading.model.as_deref().unwrap_or_default());
    let reservation = match held {
        Some(mut held) => {
            let budgets = x.account.as_ref().map_or(&[][..], |account| &account.budgets);
            held.include(budgets, &spender(&x.record));
            held
        }
        None => impose(&x, Need::default()),
    };
    take_over(&mut x, reservation, need_of(&row));
    x.unpriced = terms(&x).unpriced;
    let Some(mut books) = x.into_books() else { return };
    (books.record.outcome, books.record.error) = match told {
        Told::Usage(_) | Told::Nothing(_) => (Outcome::Completed, String::new()),
        Told::Never => (Outcome::Cancelled, NEVER_FETCHED.into()),
    };
    absorb(&mut books, &mut reading);
    close_books(books, usage, source, &reading);
}

/// Opens the exchange of a bill: for whoever made the request, at the rates in force now. `model` is the one that
/// the answer names, for a batch that named none.
fn open(door: &Arc<Door>, row: &Record, model: &str) -> Exchange {
    let policy = door.live.snapshot();
    let upstream = policy.upstreams.iter().find(|upstream| upstream.name == row.upstream).cloned();
    let is_anthropic = upstream.as_ref().is_some_and(|upstream| upstream.kind == UpstreamKind::Anthropic);
    let path = match () {
        () if row.operation != Operation::Batches.as_str() => "/v1/responses",
        () if is_anthropic => "/v1/messages/batches",
        () => "/v1/batches",
    };
    let mut record = record_of_part(row);
    (record.billing, record.answer_id) = (Billing::Late, row.answer_id.clone());
    if record.model.is_empty() {
        (record.model, record.upstream_model) = (bounded(model), bounded(model));
    }
    let started = TraceContext::start(&door.chance);
    let trace_id = u128::from_str_radix(&row.trace_id, 16).unwrap_or(started.trace_id);
    let account = policy.account_of(&row.team, &row.key);
    let part = Part {
        account,
        policy,
        endpoint: classify(&Method::POST, path),
        head: head(path),
        trace: TraceContext { trace_id, ..started },
        record,
    };
    let mut x = Exchange::part(door, part);
    let sent = x.record.upstream_model.clone();
    let attempt = match upstream {
        Some(upstream) => answered_attempt(&x, &upstream, &sent),
        // it is not in the config any more
        None => Attempt {
            number: 1,
            upstream: row.upstream.clone(),
            model_sent: sent,
            status: Some(StatusCode::OK.as_u16()),
            ..Attempt::default()
        },
    };
    x.attempts.push(attempt);
    x
}

/// Of a request that nobody sent: only the signals look at it.
fn head(path: &str) -> Head {
    Head {
        scheme: "http",
        protocol_version: "1.1",
        method: Method::POST.as_str().into(),
        path: path.into(),
        user_agent: String::new(),
        host: String::new(),
    }
}

/// `error` of a bill whose answer nobody fetched.
const NEVER_FETCHED: &str = "never_fetched";
