//! What the ledger says that accounts have spent: counted in one pass over its rows. Counting opens no account
//! and lets none go.

use std::collections::HashMap;
use std::sync::Arc;

use super::accounts::Account;
use super::amount::{Need, Unit};
use super::book::{Book, Budget};
use super::counted::{Member, Name, Spender};
use super::section::Per;
use super::spec::Scope;
use super::sums::{Sum, Sums};
use super::suspects::{Suspect, Suspects};
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
    sums: Sums,
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
                sums: Sums::new(budget),
                budget: Arc::clone(budget),
            }
        };
        Self { counts: budgets.iter().map(count).collect(), of_all, of_team, now }
    }

    /// The instants at which something begins or ages out, ascending: what is spent between two of them may be
    /// added as a sum. What is spent before the first does not matter; `None` when there is no budget.
    #[must_use]
    pub fn cuts(&self) -> Option<Vec<Timestamp>> {
        let steps = self.counts.iter().flat_map(|count| count.period.steps(count.window));
        let mut cuts: Vec<Timestamp> =
            self.counts.iter().map(|count| count.window.start).chain(steps).collect();
        // windows that nothing is in yet, of a clock that goes back
        cuts.extend(self.counts.iter().filter_map(|count| count.window.end));
        cuts.sort_unstable();
        cuts.dedup();
        (!cuts.is_empty()).then_some(cuts)
    }

    /// From when on it matters which run has spent; `None` when it does not.
    #[must_use]
    pub fn runs_since(&self) -> Option<Timestamp> {
        self.counts.iter().filter(|count| count.is_per_run()).map(|count| count.window.start).min()
    }

    /// Counts a row or a sum: who spent, when it was charged, and what.
    pub fn add(&mut self, spender: &Spender<'_>, charged_at: Timestamp, spent: Need) {
        self.count(spender, charged_at, spent, false);
    }

    /// Counts a row whose spending is in a sum without its run: where it matters which run it was.
    pub fn add_to_run(&mut self, spender: &Spender<'_>, charged_at: Timestamp, spent: Need) {
        self.count(spender, charged_at, spent, true);
    }

    fn count(&mut self, spender: &Spender<'_>, charged_at: Timestamp, spent: Need, only_runs: bool) {
        let places = self.of_all.iter().chain(self.of_team.get(spender.team).into_iter().flatten());
        for place in places {
            let count = &mut self.counts[*place];
            if !only_runs || count.is_per_run() {
                count.add(spender, charged_at, spent);
            }
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
            let (budget, window, period) = (Arc::clone(&count.budget), count.window, count.period);
            for (account, sum) in count.by_account(&budget, self.now) {
                // what is in there is not told from the runs that were forgotten
                let is_mixed = count.is_per_run() && matches!(account.member, Member::Others { .. });
                if !is_mixed {
                    let budget = Arc::clone(&budget);
                    all.extend(Suspect::new(budget, account, (window, period), sum.spent, self.now));
                }
            }
        }
        Suspects::grouped(all, most)
    }
}

impl Count {
    fn add(&mut self, spender: &Spender<'_>, charged_at: Timestamp, spent: Need) {
        let counted = self.budget.counted();
        let count = spent.count(self.unit);
        let is_over = self.window.over(charged_at) && !self.is_rolling();
        if count != 0
            && charged_at >= self.window.start
            && !is_over
            && counted.covers(spender)
            && counted.fits(spender)
        {
            let name = counted.name(spender).unwrap_or(Name::NONE);
            self.sums.add(&name, charged_at, self.period.bucket(charged_at), count);
        }
    }

    /// All accounts of a budget that counts the same, each with the sums of the names that are counted there.
    fn by_account(&mut self, budget: &Budget, now: Timestamp) -> Vec<(Arc<Account>, Sum)> {
        let nothing = |account: Arc<Account>| (account.order, (account, Sum::default()));
        let mut all: HashMap<u64, _> = budget.accounts.all().into_iter().map(nothing).collect();
        let has_forgotten = budget.accounts.has_forgotten();
        for (member, sum) in self.sums.take() {
            if has_forgotten && !budget.accounts.has(&member.name()) {
                continue;
            }
            if let Some(account) = budget.accounts.place(&member, now) {
                let (_, whole) = all.entry(account.order).or_insert((account, Sum::default()));
                whole.add_all(&sum);
            }
        }
        all.into_values().collect()
    }

    fn assign(mut self, budget: &Budget, now: Timestamp) {
        for (account, sum) in self.by_account(budget, now) {
            let mut counters = account.lock();
            let window = counters.roll(now);
            // not those of a later window, in which a clock that went back finds them
            if window == self.window || self.is_rolling() {
                counters.assign(sum.spent, sum.last);
            }
        }
    }

    fn is_per_run(&self) -> bool {
        self.budget.counted().per == Some(Per::Run)
    }

    const fn is_rolling(&self) -> bool {
        matches!(self.period, Period::Rolling(_))
    }
}
