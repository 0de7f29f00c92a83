//! What the ledger says that accounts have spent: counted in one pass over its rows, and set against the
//! counters. The ledger is the truth.

use std::collections::HashMap;
use std::sync::Arc;

use super::accounts::Account;
use super::amount::{Amount, Need, Unit};
use super::book::{Book, Budget};
use super::counted::Spender;
use super::counters::Counters;
use super::spec::Scope;
use super::spent::Spent;
use super::window::{Period, Window};
use crate::base::clock::Timestamp;

/// The sums of budgets in the windows of one instant.
#[derive(Debug)]
pub struct Recount {
    counts: Vec<Count>,
    /// Places in `counts` of the budgets that count everyone's requests, and of those of one team and its keys.
    of_all: Vec<usize>,
    of_team: HashMap<String, Vec<usize>>,
    now: Timestamp,
}

#[derive(Debug)]
struct Count {
    budget: Arc<Budget>,
    period: Period,
    unit: Unit,
    window: Window,
    /// By account.
    sums: HashMap<u64, Spent>,
}

/// Accounts whose counters differ from their sums: wrong, or settled meanwhile.
#[derive(Debug)]
pub struct Suspects {
    /// In the order in which they are locked.
    suspects: Vec<Suspect>,
    budgets: Vec<Arc<Budget>>,
}

#[derive(Debug)]
struct Suspect {
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
    /// Requests that began before the budget did have ended meanwhile: no fault.
    pub is_late: bool,
}

impl Recount {
    /// Nothing counted yet, of these budgets, in their windows of `now`.
    #[must_use]
    pub fn new(budgets: &[Arc<Budget>], now: Timestamp) -> Self {
        let (mut of_all, mut of_team) = (Vec::new(), HashMap::<String, Vec<usize>>::new());
        for (place, budget) in budgets.iter().enumerate() {
            match &budget.counted().scope {
                Scope::Everything => of_all.push(place),
                Scope::Team(team) | Scope::Key(team, _) => {
                    of_team.entry(team.clone()).or_default().push(place);
                }
            }
        }
        let count = |budget: &Arc<Budget>| {
            let spec = budget.spec();
            Count {
                period: spec.period,
                unit: spec.limit.unit(),
                window: spec.window(now),
                sums: HashMap::new(),
                budget: Arc::clone(budget),
            }
        };
        Self { counts: budgets.iter().map(count).collect(), of_all, of_team, now }
    }

    /// Rows from here on matter; `None` when there is no budget.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        self.counts.iter().map(|count| count.window.start).min()
    }

    /// Counts a row: who spent, when it was charged, and what.
    pub fn add(&mut self, spender: &Spender<'_>, charged_at: Timestamp, spent: Need) {
        let places = self.of_all.iter().chain(self.of_team.get(spender.team).into_iter().flatten());
        for place in places {
            self.counts[*place].add(spender, charged_at, spent, self.now);
        }
    }

    /// The ids of the budgets that were counted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.counts.iter().map(|count| count.budget.id())
    }

    /// Sets all accounts of the budgets in `book` that have these ids to their sums; reservations under way
    /// stay.
    pub fn assign(self, book: &Book) {
        for count in self.counts {
            if let Some(budget) = book.find(count.budget.id()) {
                count.assign(&budget, self.now);
            }
        }
    }

    /// The accounts whose counters are not their sums, in groups of at most `most`.
    #[must_use]
    pub fn suspects(mut self, most: usize) -> Vec<Suspects> {
        let mut all = Vec::new();
        for count in &mut self.counts {
            for account in count.budget.accounts.all() {
                let recorded = count.sums.remove(&account.order).unwrap_or_default();
                let (budget, window, period) = (Arc::clone(&count.budget), count.window, count.period);
                let mut suspect = Suspect { budget, account, window, period, recorded, reading: None };
                suspect.read(&mut Arc::clone(&suspect.account).lock(), self.now);
                all.extend(suspect.differs().then_some(suspect));
            }
        }
        all.sort_by_key(|suspect| suspect.account.order);
        let mut groups = Vec::new();
        while !all.is_empty() {
            let rest = all.split_off(most.min(all.len()));
            groups.push(Suspects::new(std::mem::replace(&mut all, rest)));
        }
        groups
    }
}

impl Suspects {
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
            let Some(account) = budget.accounts.find(counted.name(spender)) else { continue };
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

impl Count {
    fn add(&mut self, spender: &Spender<'_>, charged_at: Timestamp, spent: Need, now: Timestamp) {
        let count = spent.count(self.unit);
        let is_over = self.window.over(charged_at) && !self.is_rolling();
        if count == 0 || charged_at < self.window.start || is_over || !self.budget.counted().covers(spender) {
            return;
        }
        if let Some(account) = self.budget.account_of(spender, now) {
            self.sums.entry(account.order).or_default().add(self.period.bucket(charged_at), count);
        }
    }

    fn assign(mut self, budget: &Budget, now: Timestamp) {
        let mut sums = HashMap::new();
        for account in self.budget.accounts.all() {
            if let Some(sum) = self.sums.remove(&account.order) {
                sums.insert(account.member.clone(), sum);
            }
        }
        for account in budget.accounts.all() {
            let sum = sums.remove(&account.member).unwrap_or_default();
            self.set(&account, sum, now);
        }
        for (member, sum) in sums {
            self.set(&budget.accounts.open_for(&member, now), sum, now);
        }
    }

    fn set(&self, account: &Account, sum: Spent, now: Timestamp) {
        let mut counters = account.lock();
        let window = counters.roll(now);
        // not those of a later window, in which a clock that went back finds them
        if window == self.window || self.is_rolling() {
            counters.assign(sum);
        }
    }

    const fn is_rolling(&self) -> bool {
        matches!(self.period, Period::Rolling(_))
    }
}

impl Suspect {
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
            is_late: self.budget.is_catching_up(),
        })
    }
}
