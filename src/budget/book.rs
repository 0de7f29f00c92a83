//! The budgets of a process: each opened once, its counters kept whatever the config does.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::account::{Account, BudgetState};
use super::amount::Need;
use super::spec::{BudgetSpec, Scope};
use crate::base::clock::Timestamp;

/// All budgets by id, in force or not. It grows by what operators write into configs, never by what callers send.
#[derive(Debug, Default)]
pub struct Book {
    budgets: Lock<HashMap<String, Arc<Budget>>>,
    next: AtomicU64,
}

/// One budget's counters, shared by all requests that it holds.
#[derive(Debug)]
pub struct Budget {
    id: String,
    /// Its place in the order in which several budgets are locked, so that no two requests deadlock.
    pub(super) order: u64,
    /// Whether the config names it. One that does not any more is kept for the requests that it still
    /// holds, and in case it comes back.
    in_force: AtomicBool,
    account: Lock<Account>,
}

impl Book {
    /// A book without budgets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The budget of this id. If it is open already, its counters stay and the next admission sees the
    /// new terms. If it is not in force, it has missed what was spent meanwhile: assign that.
    pub fn open(&self, spec: BudgetSpec) -> Arc<Budget> {
        let mut budgets = locked(&self.budgets);
        if let Some(known) = budgets.get(&spec.id) {
            known.lock().adopt(spec);
            known.in_force.store(true, Ordering::Relaxed);
            return Arc::clone(known);
        }
        let order = self.next.fetch_add(1, Ordering::Relaxed);
        let budget = Arc::new(Budget {
            id: spec.id.clone(),
            order,
            in_force: AtomicBool::new(true),
            account: Lock::new(Account::new(spec)),
        });
        budgets.insert(budget.id.clone(), Arc::clone(&budget));
        budget
    }

    /// Whether the budget of this id is open and was kept since: its counters are whole.
    #[must_use]
    pub fn is_in_force(&self, id: &str) -> bool {
        locked(&self.budgets).get(id).is_some_and(|budget| budget.in_force.load(Ordering::Relaxed))
    }

    /// Takes every budget out of force that is not among `ids`.
    pub fn keep_only(&self, ids: &HashSet<String>) {
        for budget in locked(&self.budgets).values().filter(|budget| !ids.contains(&budget.id)) {
            budget.in_force.store(false, Ordering::Relaxed);
        }
    }

    /// Every budget in force, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Budget>> {
        let budgets = locked(&self.budgets);
        let mut all: Vec<_> =
            budgets.values().filter(|budget| budget.in_force.load(Ordering::Relaxed)).cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }
}

impl Budget {
    /// Its id, e.g. `team:search/month-usd`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its terms as they are now.
    #[must_use]
    pub fn spec(&self) -> BudgetSpec {
        self.lock().spec.clone()
    }

    /// Whose spending it counts, in one word: `team` or `key`.
    #[must_use]
    pub fn scope_word(&self) -> &'static str {
        match self.lock().spec.scope {
            Scope::Team(_) => "team",
            Scope::Key(..) => "key",
        }
    }

    /// Its counters at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> BudgetState {
        let mut account = self.lock();
        let window = account.roll(now);
        account.state(window)
    }

    /// Whether a request of unknown price must be refused.
    #[must_use]
    pub fn refuses_unpriced(&self) -> bool {
        self.lock().spec.refuses_unpriced()
    }

    /// Sets what is spent in the window of `now` from the ledger, the truth. By assignment, so that doing
    /// it twice does no harm; reservations under way stay.
    pub fn assign(&self, spent: Need, now: Timestamp) {
        let mut account = self.lock();
        account.roll(now);
        let count = account.count(spent);
        account.assign(count);
    }

    pub(super) fn lock(&self) -> Guard<'_, Account> {
        locked(&self.account)
    }
}

/// The kind of lock under budgets, in one place so that a model checker can take its own.
type Lock<T> = Mutex<T>;
pub(super) type Guard<'a, T> = MutexGuard<'a, T>;

/// Counters are changed by plain additions that cannot panic halfway: a poisoned lock is whole.
fn locked<T>(lock: &Lock<T>) -> Guard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
