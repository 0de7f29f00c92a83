//! How much of what a request may need is held in its budgets before it is sent: all of it, a slice, or as
//! much as there is.

use super::allowance::{Allowance, SLICE};
use super::budgets::{clamps, fits, may_fit_later, reserve};
use super::error::Refusal;
use super::exchange::Exchange;
use super::follow::Follow;
use super::hidden::reasons_by_name;
use super::lines::Tried;
use super::need::Needs;
use super::request::ReadRequest;
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
    let held = match reserved(x, needs.within_caps(output), output) {
        Ok(held) => held,
        Err(refusal) => {
            let smaller = if is_sliced {
                smaller_slice(x, &needs, output, &refusal)
            } else {
                clamped(x, request, &mut needs, &refusal)
            };
            match smaller {
                Some(held) => held,
                None => wait(x, &needs, output, refusal).await.map_err(Refusal::Budget)?,
            }
        }
    };
    // with a budget or without: it is what a request whose end nobody sees is charged, for budgets to come
    x.record.admitted_at = held.reservation.charged_at().as_nanos();
    (x.record.reserved, x.record.reserved_tokens) = (held.need.cost, held.need.tokens);
    (x.most_input, x.most_output) = (needs.input(), held.output);
    x.reservation = Some(held.reservation);
    if terms.is_held && request.facts.stream {
        let allowance = if is_sliced && held.output < needs.cap() {
            Allowance::sliced(held.output, needs.choices)
        } else {
            Allowance::capped(held.output)
        };
        x.follow = Some(Box::new(Follow { allowance, needs, held: held.need }));
    }
    Ok(())
}

type Refused = Box<budget::Refusal>;

fn reserved(x: &Exchange, need: Need, output: u64) -> Result<Hold, Refused> {
    reserve(x, need).map(|reservation| Hold { reservation, need, output })
}

/// Whether the output is held slice by slice: it can be followed, and nobody said how long it may be, or a
/// budget is to be used to its last token.
fn is_sliced(x: &Exchange, request: &ReadRequest, needs: &Needs, terms: &Terms) -> bool {
    let facts = &request.facts;
    let is_open = facts.output_cap.is_none() && !terms.clamps;
    let is_wanted = terms.is_held && facts.stream && (is_open || terms.cuts);
    is_wanted && shows_output(x.endpoint.operation) && !hides_output(x, request, needs)
}

/// Whether what such a request makes is text that its stream shows.
const fn shows_output(operation: Operation) -> bool {
    use Operation as O;
    match operation {
        O::ChatCompletions | O::Completions | O::Responses | O::Messages => true,
        O::Embeddings | O::ResponsesCompact | O::Images | O::Transcriptions | O::Translations => false,
        O::Speech | O::Moderations | O::Models | O::CountTokens | O::Stored | O::Unmetered => false,
    }
}

/// Whether the model, or one that it uses, may make output that no stream shows. An entry's name tells of a
/// deployment what its own name does not.
fn hides_output(x: &Exchange, request: &ReadRequest, needs: &Needs) -> bool {
    let hides = |target: &Target| {
        let model = target.model.as_deref().unwrap_or(&x.record.model);
        reasons_by_name(model) || x.policy.upstreams[target.upstream].reasons(model)
    };
    let facts = &request.facts;
    facts.asks_hidden
        || facts.image_tool.is_some()
        || request.targets.iter().any(hides)
        || needs.price_names().any(reasons_by_name)
}

/// As much of a slice as the refusing budget has left, if an answer can begin with it.
fn smaller_slice(x: &Exchange, needs: &Needs, slice: u64, refusal: &budget::Refusal) -> Option<Hold> {
    let least = LEAST_SLICE.saturating_mul(needs.choices).min(slice);
    let fits = |output| fits(refusal, needs.within_caps(output), Need::default());
    let output = Needs::most_output(least, slice, fits)?;
    reserved(x, needs.within_caps(output), output).ok()
}

/// An answer that would be cut sooner is not worth its beginning.
const LEAST_SLICE: u64 = 256;

/// Lowers the request's output cap to what the refusing budget has left, if it clamps.
fn clamped(
    x: &Exchange,
    request: &mut ReadRequest,
    needs: &mut Needs,
    refusal: &budget::Refusal,
) -> Option<Hold> {
    if !clamps(refusal) || !request.may_lower_cap() {
        return None;
    }
    // thinking must stay below the cap, or the upstream refuses the request
    let least = LEAST_CLAMPED.max(request.facts.thinking_budget.map_or(0, |tokens| tokens + 1));
    let least = least.saturating_mul(needs.choices);
    let mut refusal = refusal.clone();
    for _ in 0..CLAMP_AT_MOST {
        let fits = |output| fits(&refusal, needs.within_caps(output), Need::default());
        let room = Needs::most_output(least, needs.cap(), fits)?;
        let cap = room / needs.choices;
        let output = cap * needs.choices;
        match reserved(x, needs.within_caps(output), output) {
            Ok(held) => {
                needs.lower_caps(output);
                request.cap_to = Some(cap);
                return Some(held);
            }
            Err(newer) => refusal = *newer,
        }
    }
    None
}

/// Tries to fit into what is left, which others take at the same time, or which another budget has less of.
const CLAMP_AT_MOST: usize = 4;

/// Fewer tokens are no answer.
const LEAST_CLAMPED: u64 = 16;

/// Waits for what others hold and may give back.
async fn wait(x: &Exchange, needs: &Needs, output: u64, refusal: Refused) -> Result<Hold, Refused> {
    let patience = x.policy.bounds.budget_wait;
    if patience.is_zero() || !may_fit_later(&refusal) {
        return Err(refusal);
    }
    let need = needs.within_caps(output);
    let again = || match reserved(x, need, output) {
        Ok(held) => Tried::Done(held),
        Err(refusal) if may_fit_later(&refusal) => Tried::NotYet(refusal),
        Err(refusal) => Tried::Never(refusal),
    };
    let budget = refusal.budget.clone();
    x.door.lines.wait(&budget, patience, refusal, again).await
}
