//! What the caller's budgets say to a request: their terms, what they hold for it, and what a refusal leaves
//! room for.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::exchange::Books;
use super::need::Needs;
use crate::budget::section::WhenSpent;
use crate::budget::{self, Budget, Need, Refusal, Reservation, Spender, Terms, Unit};
use crate::store::record::Record;

/// What the budgets that count this request ask of the walk.
pub(super) fn terms(books: &Books) -> Terms {
    let budgets = budgets(books);
    if budgets.is_empty() { Terms::default() } else { budget::terms(budgets, &spender(&books.record)) }
}

/// Holds `need` in all of them, or in none.
pub(super) fn reserve(books: &Books, need: Need) -> Result<Reservation, Box<Refusal>> {
    budget::reserve(budgets(books), &spender(&books.record), need, books.now())
}

/// Holds what was used already, room or not.
pub(super) fn impose(books: &Books, need: Need) -> Reservation {
    budget::impose(budgets(books), &spender(&books.record), need, books.now())
}

fn budgets(books: &Books) -> &[Arc<Budget>] {
    books.account.as_ref().map_or(&[], |account| &account.budgets)
}

/// The request as budgets see it: by the names that its record has, so that the ledger counts it alike.
pub(super) fn spender(record: &Record) -> Spender<'_> {
    Spender {
        team: &record.team,
        key: &record.key,
        user: &record.user,
        run: &record.run,
        model: &record.model,
        tags: &record.tags,
    }
}

/// Whether `need` fits into what the refusing budget has left, beside what this request `held` already.
pub(super) fn fits(refusal: &Refusal, need: Need, held: Need) -> bool {
    let more = count(need, refusal.unit).saturating_sub(count(held, refusal.unit));
    more <= 0 || more <= refusal.left.count
}

/// Holds as much output as there is room for, within `range`: as much as `fits` into what the refusing budget
/// has left, and then less if another budget has less of it, or if others took of it meanwhile.
pub(super) fn shrink<T>(
    range: RangeInclusive<u64>,
    refusal: Box<Refusal>,
    fits: impl Fn(&Refusal, u64) -> bool,
    mut hold: impl FnMut(u64) -> Result<T, Box<Refusal>>,
) -> Result<T, Box<Refusal>> {
    let (least, mut most) = range.into_inner();
    let mut last = refusal;
    for _ in 0..SHRINK_AT_MOST {
        let Some(output) = Needs::most_output(least, most, |output| fits(&last, output)) else { break };
        match hold(output) {
            Ok(held) => return Ok(held),
            Err(refusal) => (last, most) = (refusal, output),
        }
    }
    Err(last)
}

/// One for each budget of a usual request, and one for a race.
const SHRINK_AT_MOST: usize = 4;

/// Whether the refusing budget has the request shortened instead.
pub(super) fn clamps(refusal: &Refusal) -> bool {
    refusal.when_spent == WhenSpent::Clamp
}

/// Whether `need` would fit if nobody else held anything that they may give back. Requests are never given
/// back: whoever holds one has made it.
pub(super) fn may_fit_later(refusal: &Refusal, need: Need) -> bool {
    let stays = match refusal.unit {
        Unit::Usd | Unit::Tokens => 0,
        Unit::Requests => refusal.reserved.count,
    };
    let taken = refusal.spent.count.saturating_add(stays);
    taken.saturating_add(count(need, refusal.unit)) <= refusal.limit.count
}

fn count(need: Need, unit: Unit) -> i64 {
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    match unit {
        Unit::Usd => need.cost.as_nanos(),
        Unit::Tokens => whole(need.tokens),
        Unit::Requests => whole(need.requests),
    }
}
