//! How budgets stand, as rows: what the admin door answers and `tollgate budgets` prints.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::spent::count;
use crate::base::clock::Timestamp;
use crate::budget::section::WhenSpent;
use crate::budget::{Book, Budget, BudgetSpec, Standing, Unit};
use crate::ledger::books::Books;
use crate::store::ledger::StoreFault;

/// Some budgets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetRows {
    /// A row per account in use; of a budget with very many the fullest.
    pub budgets: Vec<BudgetRow>,
    /// Budgets with more accounts than are shown.
    pub more: Vec<MoreAccounts>,
}

/// How many accounts of a budget are not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoreAccounts {
    /// The budget's id.
    pub id: String,
    /// How many more are in use.
    pub accounts: usize,
}

/// How one account stands. Amounts in nano-USD, tokens or requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetRow {
    /// The budget's id; the same on all rows of a budget.
    pub id: String,
    /// Whose spending.
    pub scope: String,
    /// Its window: `month`, `rolling 24h`.
    pub window: String,
    /// `nano_usd`, `tokens` or `requests`.
    pub unit: String,
    /// The limit.
    pub limit: i64,
    /// Settled in this window.
    pub spent: i64,
    /// Held by requests under way; only a running gateway knows.
    pub reserved: Option<i64>,
    /// What a next request could reserve; below zero when overspent.
    pub left: i64,
    /// Spent and reserved, in percent of the limit.
    pub used_percent: f64,
    /// When it starts again, RFC 3339; of a rolling window when it next moves on; never if `None`.
    pub resets_at: Option<String>,
    /// Where its days begin.
    pub time_zone: String,
    /// The highest warn threshold reached.
    pub warned_at_percent: Option<u8>,
    /// `ok`, `warned 75%`, `spent`.
    pub state: String,
    /// What it does when it is spent.
    pub when_spent: WhenSpent,
    /// Whether it only counts.
    pub shadow: bool,
    /// Of a shadow budget: requests it would have refused or cut in this window, since the gateway started.
    pub would_have_refused: Option<u64>,
    /// What those used.
    pub would_have_saved: Option<i64>,
}

impl BudgetRows {
    /// The budgets in force in `book`, as a running gateway has them.
    #[must_use]
    pub fn of_book(book: &Book, now: Timestamp) -> Self {
        let mut rows = Self::default();
        for budget in book.all() {
            rows.push(&budget, now);
        }
        rows
    }

    /// Budgets as the ledger in `data_dir` has them: nobody knows what is reserved.
    ///
    /// # Errors
    /// When the books cannot be read.
    pub fn on_record(specs: Vec<BudgetSpec>, data_dir: &Path, now: Timestamp) -> Result<Self, StoreFault> {
        let book = Book::new();
        let budgets: Vec<_> = specs.into_iter().map(|spec| book.open(spec)).collect();
        let (recount, _) = count(&budgets, &mut Books::open(data_dir)?, now)?;
        recount.assign(&book);
        let mut rows = Self::default();
        for budget in &budgets {
            rows.push(budget, now);
        }
        for row in &mut rows.budgets {
            (row.reserved, row.would_have_refused, row.would_have_saved) = (None, None, None);
        }
        Ok(rows)
    }

    fn push(&mut self, budget: &Budget, now: Timestamp) {
        let (standings, more) = budget.standings(now, MOST_SHOWN);
        let spec = budget.spec();
        self.budgets.extend(standings.iter().map(|standing| BudgetRow::new(&spec, standing)));
        if more > 0 {
            self.more.push(MoreAccounts { id: spec.id.clone(), accounts: more });
        }
    }
}

impl BudgetRow {
    fn new(spec: &BudgetSpec, standing: &Standing<'_>) -> Self {
        let state = standing.state;
        let used = state.spent.count.saturating_add(state.reserved.count);
        let word = match state.crossed {
            _ if state.left.count <= 0 => "spent".into(),
            Some(percent) => format!("warned {percent}%"),
            None => "ok".into(),
        };
        Self {
            id: standing.id().to_owned(),
            scope: standing.scope(),
            window: spec.period.to_string(),
            unit: match state.limit.unit {
                Unit::Usd => "nano_usd",
                Unit::Tokens => "tokens",
                Unit::Requests => "requests",
            }
            .into(),
            limit: state.limit.count,
            spent: state.spent.count,
            reserved: Some(state.reserved.count),
            left: state.left.count,
            used_percent: percent(used, state.limit.count),
            resets_at: state.window.end.map(rfc3339),
            time_zone: spec.time_zone.iana_name().unwrap_or("UTC").into(),
            warned_at_percent: state.crossed,
            state: word,
            when_spent: spec.when_spent,
            shadow: spec.shadow,
            would_have_refused: spec.shadow.then_some(state.would_have_refused),
            would_have_saved: spec.shadow.then_some(state.would_have_saved.count),
        }
    }
}

/// To a tenth.
#[expect(clippy::cast_precision_loss, reason = "a share, for people and for programs that show it")]
fn percent(used: i64, limit: i64) -> f64 {
    let per_mille = i128::from(used) * 1_000 / i128::from(limit.max(1));
    i64::try_from(per_mille).unwrap_or(i64::MAX) as f64 / 10.0
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs()).map(|at| at.to_string()).unwrap_or_default()
}

/// Accounts of one budget in a list: who wants all of them asks the ledger (`tollgate usage --by user`).
const MOST_SHOWN: usize = 100;
