//! A part of a request: an answer inside a WebSocket, or the bill of an answer that was deferred. It is an exchange of
//! its own, with its own reservation, intent and row; `record.parent` names the row it belongs to.
//!
//! ```text
//! Exchange::part -> admit | admit_begun | impose | take_over -> begin -> close(End)
//! ```
//!
//! Dropped at any point it is closed as cancelled, as every exchange is.

use std::sync::Arc;

use super::admit;
use super::bill::note_price;
use super::budgets::{self, reserve};
use super::error::Refusal;
use super::exchange::{Books, Exchange, Opening};
use super::forward::unrecorded;
use super::headers::Head;
use super::policy::{Account, Door, Policy};
use super::request::ReadRequest;
use crate::base::clock::Timestamp;
use crate::base::id::RequestId;
use crate::budget::{Need, Reservation};
use crate::dialect::path::Endpoint;
use crate::ledger::journal::Ticket;
use crate::signals::Attempt;
use crate::store::record::Record;
use crate::telemetry::trace::{TraceContext, new_span_id};
use crate::telemetry::words::{AttemptOutcome, AttemptReason};
use crate::upstream::endpoint::Upstream;

/// What a part is opened with.
#[derive(Debug)]
pub(super) struct Part {
    /// The policy by which it is admitted and priced: its request's own, whatever was loaded since.
    pub(super) policy: Arc<Policy>,
    /// Who pays.
    pub(super) account: Option<Arc<Account>>,
    /// What the part does, in whose dialect. Its operation must be a billed one to be billed.
    pub(super) endpoint: Endpoint,
    /// The head of the request that the client sent.
    pub(super) head: Head,
    pub(super) trace: TraceContext,
    /// Who, for whom, on which model, under which parent: see [`record_of_part`].
    pub(super) record: Record,
}

impl Exchange {
    /// Opens a part. It takes no place among the requests at work: the request that it belongs to has one.
    pub(super) fn part(door: &Arc<Door>, part: Part) -> Self {
        let Part { policy, account, endpoint, head, trace, mut record } = part;
        let now = door.clock.now();
        let id = RequestId::new(now, &door.chance);
        (record.id, record.started_at) = (id.as_u128(), now.as_nanos());
        record.operation = endpoint.operation.as_str().into();
        record.trace_id = trace.trace_id_hex();
        let opening = Opening {
            began: door.clock.tick(),
            id,
            endpoint,
            trace,
            record,
            head,
            leaving: Arc::default(),
            upgrade: None,
        };
        let mut x = Self::open(Arc::clone(door), opening);
        (x.policy, x.account) = (policy, account);
        x
    }

    /// Opens a part of a request whose books are open, for its caller and under its policy.
    pub(super) fn part_of(whole: &Books, endpoint: Endpoint) -> Self {
        let part = Part {
            policy: Arc::clone(&whole.policy),
            account: whole.account.clone(),
            endpoint,
            head: whole.head.clone(),
            trace: whole.trace.clone(),
            record: record_of_part(&whole.record),
        };
        Self::part(&whole.door, part)
    }
}

/// The row of a part as far as its whole tells: who asked, for whom, under which labels, for which model, where.
pub(super) fn record_of_part(whole: &Record) -> Record {
    Record {
        parent: whole.id,
        team: whole.team.clone(),
        key: whole.key.clone(),
        user: whole.user.clone(),
        run: whole.run.clone(),
        session: whole.session.clone(),
        tags: whole.tags.clone(),
        model: whole.model.clone(),
        upstream: whole.upstream.clone(),
        upstream_model: whole.upstream_model.clone(),
        ..Record::default()
    }
}

/// Admits a part that nobody has begun yet: model, limits (without a slot of its own), and all of its money, which it
/// may wait for as every request does.
pub(super) async fn admit(x: &mut Exchange, request: &mut ReadRequest) -> Result<(), Refusal> {
    admit::admit(x, request).await
}

/// Admits a part that an upstream has begun by itself: at once or not at all.
pub(super) fn admit_begun(x: &mut Exchange, request: &ReadRequest) -> Result<(), Refusal> {
    let Some((needs, _)) = admit::check(x, request)? else { return Ok(()) };
    let need = needs.whole();
    let reservation = reserve(x, need).map_err(Refusal::Budget)?;
    (x.most_input, x.most_output) = (needs.input(), needs.cap());
    take_over(x, reservation, need);
    Ok(())
}

/// Holds `need` whether there is room for it or not: what was used is owed.
pub(super) fn impose(x: &mut Exchange, need: Need) {
    let reservation = budgets::impose(x, need);
    take_over(x, reservation, need);
}

/// Takes over what is held already, by this part or by the request whose bill it is. It is charged where it was
/// admitted.
pub(super) fn take_over(x: &mut Exchange, reservation: Reservation, need: Need) {
    x.record.admitted_at = reservation.charged_at().as_nanos();
    (x.record.reserved, x.record.reserved_tokens) = (need.cost, need.tokens);
    x.reservation = Some(reservation);
}

/// Holds more for a part that goes on; the journal knows.
pub(super) fn hold_more(x: &mut Exchange, more: Need) -> Result<(), Refusal> {
    if let Some(reservation) = &mut x.reservation {
        reservation.top_up(more).map_err(Refusal::Budget)?;
    }
    x.record.reserved = x.record.reserved + more.cost;
    x.record.reserved_tokens = x.record.reserved_tokens.saturating_add(more.tokens);
    x.door.journal.intend(&x.record).map(drop).map_err(|fault| unrecorded(&fault))
}

/// From here on an upstream works on it: the intent is in the journal, so that it is charged however it ends.
pub(super) fn begin(x: &mut Exchange, upstream: &Upstream, model: &str) -> Result<Ticket, Refusal> {
    x.record.upstream.clone_from(&upstream.name);
    model.clone_into(&mut x.record.upstream_model);
    if let Some(price) = x.price.clone() {
        note_price(x, &price);
    }
    let ticket = x.door.journal.intend(&x.record).map_err(|fault| unrecorded(&fault))?;
    let attempt = attempt(x, upstream, model);
    x.attempts.push(attempt);
    x.record.attempts = 1;
    Ok(ticket)
}

/// The upstream at work, which has said neither yes nor no: what it used is charged unless it says no.
pub(super) fn attempt(x: &Exchange, upstream: &Upstream, model: &str) -> Attempt {
    let started: Timestamp = x.now();
    Attempt {
        number: 1,
        reason: AttemptReason::Initial,
        upstream: upstream.name.clone(),
        provider: upstream.provider().into(),
        host: upstream.host().into(),
        port: upstream.port(),
        model_sent: model.into(),
        span_id: new_span_id(&x.door.chance),
        started,
        ended: started,
        first_byte_us: None,
        status: Some(http::StatusCode::OK.as_u16()),
        error_type: None,
        outcome: AttemptOutcome::Success,
    }
}
