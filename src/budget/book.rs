//! The budgets of a process: each opened once, its counters kept whatever the config does.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::accounts::{Account, Accounts, MOST_ACCOUNTS};
use super::amount::Need;
use super::counted::{Counted, Spender};
use super::lock::{Lock, Shared, locked, read, write};
use super::section::Per;
use super::spec::BudgetSpec;
use super::spent::Spent;
use super::state::BudgetState;
use crate::base::clock::Timestamp;

/// All budgets by id, in force or not. It grows by what operators write into configs, never by what callers send.
#[derive(Debug, Default)]
pub struct Book {
    budgets: Lock<HashMap<String, Arc<Budget>>>,
    /// Counts accounts, of all budgets.
    orders: Arc<AtomicU64>,
}

/// One budget and its accounts.
#[derive(Debug)]
pub struct Budget {
    id: String,
    /// Part of its identity: never changes.
    counted: Counted,
    spec: Shared<Arc<BudgetSpec>>,
    pub(super) accounts: Accounts,
    /// Whether the config names it. One that does not any more is kept for the requests that it still
    /// holds, and in case it comes back.
    in_force: AtomicBool,
    /// Whether requests may be at work that it counts by the ledger only, since they began before it did.
    catching_up: AtomicBool,
}

/// How one account stands.
#[derive(Debug)]
pub struct Standing<'a> {
    budget: &'a Budget,
    /// `None` of an account that nobody has yet.
    account: Option<Arc<Account>>,
    /// Its counters.
    pub state: BudgetState,
}

impl Standing<'_> {
    /// The budget's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.budget.id
    }

    /// What has the account, in one word: `everything`, `team`, `key`, `user`, `model`, `run` or `tag`.
    #[must_use]
    pub const fn scope_word(&self) -> &'static str {
        self.budget.scope_word()
    }

    /// Whose spending, e.g. `user alice of team search`.
    #[must_use]
    pub fn scope(&self) -> String {
        let counted = &self.budget.counted;
        self.account
            .as_ref()
            .map_or_else(|| counted.describe_each(), |account| counted.describe(&account.member))
    }
}

impl Book {
    /// A book without budgets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The budget of this id. If it is open already, its counters stay and the next admission sees the
    /// new terms. If it is not in force, it has missed what was spent meanwhile: count it anew.
    pub fn open(&self, spec: BudgetSpec) -> Arc<Budget> {
        self.open_bounded(spec, MOST_ACCOUNTS)
    }

    pub(super) fn open_bounded(&self, spec: BudgetSpec, most: usize) -> Arc<Budget> {
        let mut budgets = locked(&self.budgets);
        if let Some(known) = budgets.get(&spec.id) {
            known.adopt(Arc::new(spec));
            return Arc::clone(known);
        }
        let budget = self.new_budget(spec, most);
        budgets.insert(budget.id.clone(), Arc::clone(&budget));
        budget
    }

    /// A budget of these terms that is not in the book: to count what it would have spent.
    #[must_use]
    pub fn draft(&self, spec: BudgetSpec) -> Arc<Budget> {
        self.new_budget(spec, MOST_ACCOUNTS)
    }

    fn new_budget(&self, spec: BudgetSpec, most: usize) -> Arc<Budget> {
        let spec = Arc::new(spec);
        let accounts = match &spec.counted.per {
            None => Accounts::one(&self.orders, Arc::clone(&spec)),
            Some(_) => Accounts::many(Arc::clone(&self.orders), Arc::clone(&spec), most),
        };
        Arc::new(Budget {
            id: spec.id.clone(),
            counted: spec.counted.clone(),
            spec: Shared::new(spec),
            accounts,
            in_force: AtomicBool::new(true),
            catching_up: AtomicBool::new(false),
        })
    }

    /// The budget of this id, in force or not.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Budget>> {
        locked(&self.budgets).get(id).cloned()
    }

    /// Whether the budget is open, was kept since, and has its windows where `spec` has them: then its
    /// counters are whole.
    #[must_use]
    pub fn is_whole(&self, spec: &BudgetSpec) -> bool {
        self.find(&spec.id)
            .is_some_and(|known| known.in_force.load(Ordering::Relaxed) && !known.spec().windows_differ(spec))
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
    pub fn spec(&self) -> Arc<BudgetSpec> {
        Arc::clone(&read(&self.spec))
    }

    /// What it counts.
    #[must_use]
    pub const fn counted(&self) -> &Counted {
        &self.counted
    }

    /// What has an account, in one word.
    #[must_use]
    pub const fn scope_word(&self) -> &'static str {
        match &self.counted.per {
            None => self.counted.scope.as_str(),
            Some(Per::User) => "user",
            Some(Per::Model) => "model",
            Some(Per::Run) => "run",
            Some(Per::Tag(_)) => "tag",
        }
    }

    /// Its counters at `now`; of a budget with many accounts those of the fullest one, or of a new one.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> BudgetState {
        let states = self.accounts.all().into_iter().map(|account| state_of(&account, now));
        let fullest = states.min_by_key(|state| state.left.count);
        fullest.unwrap_or_else(|| {
            let mut empty = super::counters::Counters::new(self.spec());
            empty.roll(now);
            empty.state()
        })
    }

    /// How its accounts stand that count something, the fullest first and at most `most`; and how many more
    /// there are. A budget that nobody uses yet shows what each account will have.
    #[must_use]
    pub fn standings(&self, now: Timestamp, most: usize) -> (Vec<Standing<'_>>, usize) {
        let is_one = matches!(self.accounts, Accounts::One(_));
        let mut all: Vec<_> =
            self.accounts.all().into_iter().map(|account| (state_of(&account, now), account)).collect();
        all.retain(|(state, _)| is_one || state.spent.count != 0 || state.reserved.count != 0);
        all.sort_by_key(|(state, account)| (std::cmp::Reverse(state.spent.count), account.order));
        if all.is_empty() {
            return (vec![Standing { budget: self, account: None, state: self.state(now) }], 0);
        }
        let others = all.len().saturating_sub(most);
        all.truncate(most);
        let standing = |(state, account)| Standing { budget: self, account: Some(account), state };
        (all.into_iter().map(standing).collect(), others)
    }

    /// Whether requests that began before it may still be at work: then a difference to the ledger is theirs.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        self.catching_up.load(Ordering::Relaxed)
    }

    /// Notes whether requests that began before it may still be at work.
    pub fn catch_up(&self, is_behind: bool) {
        self.catching_up.store(is_behind, Ordering::Relaxed);
    }

    /// Sets what the one account has spent in the window of `now`; reservations under way stay. Does nothing
    /// to a budget with many.
    pub fn assign(&self, spent: Need, now: Timestamp) {
        if let Accounts::One(account) = &self.accounts {
            let mut counters = account.lock();
            counters.roll(now);
            let mut sum = Spent::new();
            sum.add(counters.spec.period.bucket(now), counters.count(spent));
            counters.assign(sum, now);
        }
    }

    /// The account that counts a request; `None` if the budget does not count it.
    pub(super) fn account_of(&self, spender: &Spender<'_>, now: Timestamp) -> Option<Arc<Account>> {
        self.counted.fits(spender).then(|| self.accounts.open(self.counted.name(spender).as_ref(), now))
    }

    fn adopt(&self, spec: Arc<BudgetSpec>) {
        self.accounts.adopt(&spec);
        *write(&self.spec) = spec;
        self.in_force.store(true, Ordering::Relaxed);
    }
}

/// The accounts that count a request, to look at now or when it is settled. It holds nothing in them.
#[derive(Debug, Clone, Default)]
pub struct Watched(Arc<[(Arc<Budget>, Arc<Account>)]>);

/// The accounts that count a request and may say no, or warn: not those of shadow budgets. Opens none.
#[must_use]
pub fn watch(budgets: &[Arc<Budget>], spender: &Spender<'_>) -> Watched {
    let of = |budget: &Arc<Budget>| {
        let counts = budget.counted.fits(spender) && !read(&budget.spec).shadow;
        let account = counts.then(|| budget.accounts.find(budget.counted.name(spender).as_ref()))??;
        Some((Arc::clone(budget), account))
    };
    Watched(budgets.iter().filter_map(of).collect())
}

impl Watched {
    /// How they stand.
    pub fn standings(&self, now: Timestamp) -> impl Iterator<Item = Standing<'_>> {
        self.0.iter().map(move |(budget, account)| Standing {
            budget,
            account: Some(Arc::clone(account)),
            state: state_of(account, now),
        })
    }
}

fn state_of(account: &Account, now: Timestamp) -> BudgetState {
    let mut counters = account.lock();
    counters.roll(now);
    counters.state()
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
