//! What was spent before a budget was there to count it: read from the books when it comes into force.

use std::collections::HashMap;
use std::path::Path;

use super::assemble::Plan;
use crate::base::clock::Timestamp;
use crate::budget::{Book, BudgetSpec, Need, Scope as BudgetScope, window};
use crate::ledger::books::Books;
use crate::store::ledger::{LedgerReader as _, Scope, StoreFault};

/// What each budget has spent that the plan brings into force, with its id.
#[derive(Debug)]
pub(super) struct SpentBefore {
    by_id: HashMap<String, Need>,
    /// The instant whose windows these are of.
    pub(super) now: Timestamp,
}

impl SpentBefore {
    /// What the budget of this id has spent, if it comes into force.
    pub(super) fn of(&self, id: &str) -> Option<Need> {
        self.by_id.get(id).copied()
    }
}

/// Reads what the budgets of `plan` that are not in force have spent in their windows. Budgets in force
/// keep their own counters, which also know of what is still at work. Changes nothing.
///
/// A request that is at work now is charged to the budgets that admitted it, and to these from the next
/// start on.
///
/// # Errors
/// When the books cannot be read.
pub(super) fn spent_before(
    plan: &Plan<'_>,
    budgets: &Book,
    data_dir: &Path,
    now: Timestamp,
) -> Result<SpentBefore, StoreFault> {
    let mut fresh: Vec<&BudgetSpec> = plan.budgets().filter(|spec| !budgets.is_in_force(&spec.id)).collect();
    // a team's budgets are listed with each of its keys
    fresh.sort_by(|a, b| a.id.cmp(&b.id));
    fresh.dedup_by(|a, b| a.id == b.id);
    let mut spent = SpentBefore { by_id: HashMap::with_capacity(fresh.len()), now };
    if fresh.is_empty() {
        return Ok(spent);
    }
    let mut books = Books::open(data_dir)?;
    for spec in fresh {
        spent.by_id.insert(spec.id.clone(), spent_of(&mut books, spec, now)?);
    }
    Ok(spent)
}

fn spent_of(books: &mut Books, spec: &BudgetSpec, now: Timestamp) -> Result<Need, StoreFault> {
    let scope = match &spec.scope {
        BudgetScope::Team(team) => Scope::Team(team),
        BudgetScope::Key(team, key) => Scope::Key { team, key },
    };
    let since = window(spec.every, &spec.time_zone, now).start;
    let mut tries = 0;
    loop {
        tries += 1;
        match books.spent_since(scope, since) {
            // the writer at work tidied the journal away under the reader
            Err(StoreFault::Moved) if tries < TRIES => {}
            spent => return spent.map(|spent| Need { cost: spent.cost, tokens: spent.tokens }),
        }
    }
}

/// A segment is tidied away once in tens of thousands of requests: twice in a row is a fault.
const TRIES: u32 = 3;
