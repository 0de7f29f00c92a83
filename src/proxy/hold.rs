//! How much of what a request may need is held in its budgets before it is sent: all of it, a slice, or as
//! much as there is.

use std::sync::Arc;

use super::allowance::{Allowance, SLICE};
use super::budgets::{clamps, fits, may_fit_later, reserve, shrink};
use super::error::Refusal;
use super::exchange::Exchange;
use super::follow::Follow;
use super::hidden::hides;
use super::lines::Tried;
use super::need::Needs;
use super::request::ReadRequest;
use crate::base::money::NanoUsd;
use crate::budget::{self, Need, Reservation, Terms};
use crate::dialect::path::Operation;
use crate::routing::router::Target;

/// What is held for a request at first.
struct Hold {
    reservation: Reservation,
    need: Need,
    /// Output tokens of it.
    output: u64,
}

/// Holds the need in all budgets at once, or refuses.
pub(super) async fn hold(
    x: &mut Exchange,
    request: &mut ReadRequest,
    mut needs: Needs,
    terms: &Terms,
) -> Result<(), Refusal> {
    let is_sliced = is_sliced(x, request, &needs, terms);
    let output = if is_sliced { SLICE.saturating_mul(needs.choices).min(needs.cap()) } else { needs.cap() };
    let way = Way::of(request, &needs, is_sliced, output);
    let held = match way.hold(x, &needs) {
        Ok(held) => held,
        Err(refusal) => Box::pin(wait(x, &needs, &way, refusal)).await.map_err(Refusal::Budget)?,
    };
    if !is_sliced && held.output < output {
        needs.lower_caps(held.output);
        request.cap_to = Some(held.output / needs.choices);
    }
    // with a budget or without: it is what a request whose end nobody sees is charged, for budgets to come
    x.record.admitted_at = held.reservation.charged_at().as_nanos();
    (x.record.reserved, x.record.reserved_tokens) = (held.need.cost, held.need.tokens);
    (x.most_input, x.most_output) = (needs.input(), held.output);
    x.note_reserved(held.reservation);
    if terms.is_held && request.facts.stream {
        let allowance = if is_sliced && held.output < needs.cap() {
            Allowance::sliced(held.output, needs.choices)
        } else {
            Allowance::capped(held.output)
        };
        x.follow = Some(Box::new(Follow { allowance, needs: Arc::new(needs), held: held.need }));
    }
    Ok(())
}

/// Gives all back for a request of which no upstream was asked: no budget counts it.
pub(super) fn withdraw(x: &mut Exchange) {
    if x.reservation.take().is_some() {
        x.record.admitted_at = 0;
        (x.record.reserved, x.record.reserved_tokens) = (NanoUsd::ZERO, 0);
        x.door.lines.money_came_back();
    }
}

type Refused = Box<budget::Refusal>;

/// How much output is asked for, and what becomes of a request that there is less room for.
struct Way {
    most: u64,
    least: u64,
    shorter: Shorter,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shorter {
    /// It needs all.
    Never,
    /// It begins with as much of a slice as there is room for.
    Slice,
    /// Its cap is lowered to what a budget has left that clamps, a whole number for each choice.
    Cap,
}

/// An answer that would be cut sooner is not worth its beginning.
const LEAST_SLICE: u64 = 256;
/// Fewer tokens are no answer.
const LEAST_CLAMPED: u64 = 16;

impl Way {
    fn of(request: &ReadRequest, needs: &Needs, is_sliced: bool, most: u64) -> Self {
        let (least, shorter) = if is_sliced {
            (LEAST_SLICE, Shorter::Slice)
        } else if request.may_lower_cap() {
            // thinking must stay below the cap, or the upstream refuses the request
            let thinking = request.facts.thinking_budget.map_or(0, |tokens| tokens.saturating_add(1));
            (LEAST_CLAMPED.max(thinking), Shorter::Cap)
        } else {
            (most, Shorter::Never)
        };
        Self { most, least: least.saturating_mul(needs.choices).min(most), shorter }
    }

    /// Holds all of it, or what there is room for.
    fn hold(&self, x: &Exchange, needs: &Needs) -> Result<Hold, Refused> {
        let reserved = |output: u64| {
            let need = needs.within_caps(output);
            reserve(x, need).map(|reservation| Hold { reservation, need, output })
        };
        let fits = |refusal: &budget::Refusal, output| {
            self.gives_way_to(refusal) && fits(refusal, needs.within_caps(output), Need::default())
        };
        let unit = if self.shorter == Shorter::Cap { needs.choices } else { 1 };
        reserved(self.most).or_else(|refusal| {
            shrink(self.least..=self.most, refusal, fits, |most| reserved(most / unit * unit))
        })
    }

    /// Whether there would be room for it if nobody else held anything.
    fn may_fit_later(&self, needs: &Needs, refusal: &budget::Refusal) -> bool {
        let least = if self.gives_way_to(refusal) { self.least } else { self.most };
        may_fit_later(refusal, needs.within_caps(least))
    }

    /// Whether less would do for the budget that refuses.
    fn gives_way_to(&self, refusal: &budget::Refusal) -> bool {
        match self.shorter {
            Shorter::Never => false,
            Shorter::Slice => true,
            Shorter::Cap => clamps(refusal),
        }
    }
}

/// Whether the output is held slice by slice: it can be followed, and nobody said how long it may be, or a
/// budget is to be used to its last token.
fn is_sliced(x: &Exchange, request: &ReadRequest, needs: &Needs, terms: &Terms) -> bool {
    let facts = &request.facts;
    let is_open = facts.output_cap.is_none() && !terms.clamps;
    // background work goes on behind a stream that is cut
    let is_wanted = terms.is_held && facts.stream && !facts.background && (is_open || terms.cuts);
    is_wanted && shows_output(x.endpoint.operation) && !hides_output(x, request, needs)
}

/// Whether what such a request makes is text that its stream shows.
const fn shows_output(operation: Operation) -> bool {
    use Operation as O;
    match operation {
        O::ChatCompletions | O::Completions | O::Responses | O::Messages => true,
        O::Realtime | O::ResponsesSocket | O::Live | O::RealtimeResponse | O::LiveSession => false,
        O::ResponsesCompact | O::Decisions => false,
        O::Embeddings | O::Images | O::Transcriptions | O::Translations => false,
        O::Speech | O::Moderations | O::Models | O::CountTokens => false,
        O::Batches | O::Stored | O::Unmetered => false,
    }
}

/// Whether a model that may be asked, or one that it uses, may make output that no stream shows.
fn hides_output(x: &Exchange, request: &ReadRequest, needs: &Needs) -> bool {
    let of_target = |target: &Target| {
        let model = target.model.as_deref().unwrap_or(&x.record.model);
        let upstream = &x.policy.upstreams[target.upstream];
        hides(&request.facts, Some(upstream), [model].into_iter().chain(needs.price_names()))
    };
    request.facts.image_tool.is_some() || request.targets.iter().any(of_target)
}

/// Waits for what others hold and may give back.
async fn wait(x: &Exchange, needs: &Needs, way: &Way, refusal: Refused) -> Result<Hold, Refused> {
    let patience = x.policy.bounds.budget_wait;
    if patience.is_zero() || !way.may_fit_later(needs, &refusal) {
        return Err(refusal);
    }
    let again = || match way.hold(x, needs) {
        Ok(held) => Tried::Done(held),
        Err(refusal) if way.may_fit_later(needs, &refusal) => Tried::NotYet(refusal),
        Err(refusal) => Tried::Never(refusal),
    };
    // one line for each account: nobody waits behind those who wait for other money
    let account = format!("{} {}", refusal.budget, refusal.scope);
    x.door.lines.wait(&account, patience, refusal, again).await
}
