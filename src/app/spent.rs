//! Counts what budgets have spent from the books, the truth: all of them in one pass.

use std::path::Path;
use std::sync::Arc;

use super::assemble::Plan;
use crate::base::clock::Timestamp;
use crate::budget::{Book, Budget, BudgetSpec, Need, Recount, Spender};
use crate::ledger::books::Books;
use crate::store::ledger::{Cuts, Position, Spending, StoreFault};

/// What the budgets have spent that the plan brings into force, or whose windows it moves. The others keep
/// their own counters, which also know of what is still at work. Changes nothing.
///
/// # Errors
/// When the books cannot be read.
pub(super) fn spent_before(
    plan: &Plan<'_>,
    book: &Book,
    data_dir: &Path,
    now: Timestamp,
) -> Result<Recount, StoreFault> {
    let mut fresh: Vec<&BudgetSpec> = plan.budgets().filter(|spec| !book.is_whole(spec)).collect();
    // a team's budgets are listed with each of its keys
    fresh.sort_by(|a, b| a.id.cmp(&b.id));
    fresh.dedup_by(|a, b| a.id == b.id);
    let drafts: Vec<_> = fresh.into_iter().map(|spec| book.draft(spec.clone())).collect();
    let (recount, _) = count(&drafts, &mut Books::open(data_dir)?, now)?;
    Ok(recount)
}

/// Counts budgets in their windows of `now`. Complete up to the place in the journal that is told, if there
/// is anything to count.
///
/// # Errors
/// When the books cannot be read.
pub(super) fn count(
    budgets: &[Arc<Budget>],
    books: &mut Books,
    now: Timestamp,
) -> Result<(Recount, Option<Position>), StoreFault> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut recount = Recount::new(budgets, now);
        let Some(at) = recount.cuts() else { return Ok((recount, None)) };
        let cuts = Cuts { at, runs_since: recount.runs_since() };
        let counted = books.spendings(cuts, &mut |row| {
            if row.is_of_run_alone {
                recount.add_to_run(&spender(row), row.admitted_at, spent(row));
            } else {
                recount.add(&spender(row), row.admitted_at, spent(row));
            }
        });
        match counted {
            // the writer at work tidied the journal away under the reader
            Err(StoreFault::Moved) if tries < TRIES => {}
            counted => return counted.map(|place| (recount, Some(place))),
        }
    }
}

/// Whose spending a row is.
pub(super) fn spender<'a>(row: &Spending<'a>) -> Spender<'a> {
    let Spending { team, key, user, run, model, tags, .. } = *row;
    Spender { team, key, user, run, model, tags }
}

/// What a row spent, as its request settled it. An unknown price adds nothing.
pub(super) fn spent(row: &Spending<'_>) -> Need {
    Need { cost: row.cost.unwrap_or_default(), tokens: row.tokens, requests: row.requests }
}

/// A segment is tidied away once in tens of thousands of requests: twice in a row is a fault.
const TRIES: u32 = 3;
