//! What the caller's budgets say to a request: their terms, what they hold for it, and what a refusal leaves
//! room for.

use std::sync::Arc;

use super::exchange::Books;
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
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let more = match refusal.unit {
        Unit::Usd => need.cost.as_nanos().saturating_sub(held.cost.as_nanos()),
        Unit::Tokens => count(need.tokens.saturating_sub(held.tokens)),
        Unit::Requests => count(need.requests.saturating_sub(held.requests)),
    };
    more <= refusal.left.count
}

/// Whether the refusing budget has the request shortened instead.
pub(super) fn clamps(refusal: &Refusal) -> bool {
    refusal.when_spent == WhenSpent::Clamp
}

/// Whether the request would fit if nobody else held anything.
pub(super) fn may_fit_later(refusal: &Refusal) -> bool {
    refusal.spent.count.saturating_add(refusal.need.count) <= refusal.limit.count
}
