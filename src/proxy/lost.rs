//! Attempts whose request was sent and whose answer never came. An upstream may have read their input, and
//! bill it: it is held before another target is asked, and charged at the end.

use std::sync::Arc;

use super::exchange::{Books, Lost};
use crate::base::money::{NanoUsd, ceil_to_nanos};
use crate::base::usage::Usage;
use crate::budget::Need;
use crate::pricing::cost::{Cost, Terms, cost};
use crate::pricing::price::Price;

/// Holds the input of the attempt that was just lost, if it was lost, beside what the next one may need.
/// Whether the budgets have room for both, and the journal knows.
pub(super) fn hold_lost(books: &mut Books) -> bool {
    let last = books.lost.last().filter(|lost| lost.number == books.record.attempts);
    let more = last.and_then(|lost| cost_of(books, lost, books.most_input));
    let Some(more) = more.map(|cost| ceil_to_nanos(cost.picos)).filter(|more| *more > NanoUsd::ZERO) else {
        return true;
    };
    let Some(reservation) = &mut books.reservation else { return true };
    // in money only: the row's tokens, which budgets in tokens count, are those of the answer
    if let Err(refusal) = reservation.top_up(Need { cost: more, ..Need::default() }) {
        tracing::debug!(%refusal, "no further target is asked: the lost attempt's input used the budget up");
        return false;
    }
    if let Some(follow) = &mut books.follow {
        Arc::make_mut(&mut follow.needs).add_lost(more);
        follow.held.cost = follow.held.cost + more;
    }
    books.record.reserved = books.record.reserved + more;
    let told = books.door.journal.intend(&books.record);
    if let Err(fault) = &told {
        tracing::warn!(%fault, "no further target is asked: the journal did not take a larger reservation");
    }
    told.is_ok()
}

/// What so much input costs where the attempt was lost. `None`: nobody knows.
pub(super) fn cost_of(books: &Books, lost: &Lost, input_tokens: u64) -> Option<Cost> {
    let usage = Usage { input_tokens, ..Usage::default() };
    price_of(books, lost).map(|price| cost(&price, &usage, &Terms::default()))
}

fn price_of(books: &Books, lost: &Lost) -> Option<Arc<Price>> {
    let (prices, at) = (&books.policy.prices, books.priced_at());
    let known = |model: &str| prices.price(Some(&lost.host), model, at);
    known(&lost.model).or_else(|| known(&books.record.model)).or_else(|| books.stand_in())
}
