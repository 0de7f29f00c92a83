//! Counters that are not what the ledger says: found, read at one instant, repaired. The ledger is the truth.

use std::sync::Arc;

use super::accounts::Account;
use super::amount::{Amount, Need};
use super::book::Budget;
use super::counted::Spender;
use super::counters::Counters;
use super::section::Per;
use super::spent::Spent;
use super::window::{Period, Window};
use crate::base::clock::Timestamp;

/// Accounts whose counters differ from their sums: wrong, or settled meanwhile.
#[derive(Debug)]
pub struct Suspects {
    /// In the order in which they are locked.
    suspects: Vec<Suspect>,
    budgets: Vec<Arc<Budget>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Suspect {
    budget: Arc<Budget>,
    account: Arc<Account>,
    window: Window,
    period: Period,
    /// By the ledger.
    recorded: Spent,
    /// By the counters; `None` while they are of another window than the one that was counted.
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    counted: Spent,
    /// What is in earlier buckets had aged out by then.
    first_bucket: i64,
    turn: u64,
}

/// A counter that was not what the ledger says; it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The budget's id.
    pub budget: String,
    /// Whose spending.
    pub scope: String,
    /// What has an account, in one word.
    pub scope_word: &'static str,
    /// What the counter had.
    pub counted: Amount,
    /// What the ledger has.
    pub recorded: Amount,
    /// No fault: requests that began before the budget did have ended meanwhile, or a run is so old that the
    /// ledger has forgotten it (its sums of retired rows do not go by runs).
    pub is_expected: bool,
}

impl Suspects {
    /// In groups of at most `most`.
    pub(super) fn grouped(mut all: Vec<Suspect>, most: usize) -> Vec<Self> {
        all.sort_by_key(|suspect| suspect.account.order);
        let mut groups = Vec::new();
        while !all.is_empty() {
            let rest = all.split_off(most.min(all.len()));
            groups.push(Self::new(std::mem::replace(&mut all, rest)));
        }
        groups
    }

    fn new(suspects: Vec<Suspect>) -> Self {
        let mut budgets: Vec<_> = suspects.iter().map(|suspect| Arc::clone(&suspect.budget)).collect();
        budgets.sort_by(|a, b| a.id().cmp(b.id()));
        budgets.dedup_by(|a, b| a.id() == b.id());
        Self { suspects, budgets }
    }

    /// Reads all of them at one instant at which `quiet` says, while none of them can change, that no request
    /// is between its row in the ledger and its settlement. `None`, and nothing read, if it does not.
    pub fn read<P>(&mut self, now: Timestamp, quiet: impl FnOnce() -> Option<P>) -> Option<P> {
        let accounts: Vec<_> = self.suspects.iter().map(|suspect| Arc::clone(&suspect.account)).collect();
        let mut locked: Vec<_> = accounts.iter().map(|account| account.lock()).collect();
        let place = quiet()?;
        for (suspect, counters) in self.suspects.iter_mut().zip(&mut locked) {
            suspect.read(counters, now);
        }
        Some(place)
    }

    /// Counts a row that the ledger got between the sums and the reading.
    pub fn add(&mut self, spender: &Spender<'_>, charged_at: Timestamp, spent: Need) {
        for budget in &self.budgets {
            let counted = budget.counted();
            if !counted.covers(spender) || !counted.fits(spender) {
                continue;
            }
            let Some(account) = budget.accounts.find(counted.name(spender).as_ref()) else { continue };
            let found = self.suspects.binary_search_by_key(&account.order, |suspect| suspect.account.order);
            if let Ok(place) = found {
                self.suspects[place].add(charged_at, spent);
            }
        }
    }

    /// Makes every counter what the ledger says, by what it lacked when it was read: what was settled since
    /// then stays. Tells what was wrong.
    #[must_use]
    pub fn repair(self) -> Vec<Drift> {
        self.suspects.into_iter().filter_map(Suspect::repair).collect()
    }
}

impl Suspect {
    /// `None` if the account's counters are what is `recorded`.
    pub(super) fn new(
        budget: Arc<Budget>,
        account: Arc<Account>,
        (window, period): (Window, Period),
        recorded: Spent,
        now: Timestamp,
    ) -> Option<Self> {
        let mut suspect = Self { budget, account, window, period, recorded, reading: None };
        suspect.read(&mut Arc::clone(&suspect.account).lock(), now);
        suspect.differs().then_some(suspect)
    }

    fn read(&mut self, counters: &mut Counters, now: Timestamp) {
        let window = counters.roll(now);
        let is_rolling = matches!(self.period, Period::Rolling(_));
        let is_same = !counters.is_gone && (window == self.window || is_rolling);
        let first_bucket = self.period.bucket(window.start);
        self.recorded.forget_before(first_bucket);
        self.reading = is_same.then(|| Reading {
            counted: counters.spent().clone(),
            first_bucket,
            turn: counters.turn(),
        });
    }

    fn differs(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.counted != self.recorded)
    }

    fn add(&mut self, charged_at: Timestamp, spent: Need) {
        let is_over = self.window.over(charged_at) && !matches!(self.period, Period::Rolling(_));
        if charged_at >= self.window.start && !is_over {
            let count = spent.count(self.budget.spec().limit.unit());
            self.recorded.add(self.period.bucket(charged_at), count);
        }
    }

    /// Whether it is a run that the ledger or the counters have forgotten, as they may.
    fn is_forgotten(&self, missing: &Spent) -> bool {
        let by_the_ledger = self.period == Period::Total && missing.sum() < 0;
        let by_the_counters = missing.sum() > 0 && self.budget.accounts.has_forgotten();
        self.budget.counted().per == Some(Per::Run) && (by_the_ledger || by_the_counters)
    }

    fn repair(mut self) -> Option<Drift> {
        self.recorded.forget_before(self.reading.as_ref()?.first_bucket);
        let reading = self.reading.as_ref().filter(|_| self.differs())?;
        let missing = self.recorded.minus(&reading.counted);
        let mut counters = self.account.lock();
        counters.repair(reading.turn, &missing);
        Some(Drift {
            budget: self.budget.id().to_owned(),
            scope: self.budget.counted().describe(&self.account.member),
            scope_word: self.budget.scope_word(),
            counted: counters.amount(reading.counted.sum()),
            recorded: counters.amount(self.recorded.sum()),
            is_expected: self.budget.is_catching_up() || self.is_forgotten(&missing),
        })
    }
}
