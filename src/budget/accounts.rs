//! The accounts of one budget: one for all, or one per name, of which there are never more than a bound, so
//! that names which callers make up neither fill the memory nor take the places of another team's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counted::{Member, Name};
use super::counters::Counters;
use super::lock::{Guard, Lock, Shared, locked, read, write};
use super::section::Per;
use super::spec::BudgetSpec;
use crate::base::clock::Timestamp;

/// The counters of one name, shared by all requests that they hold.
#[derive(Debug)]
pub(super) struct Account {
    /// Its place in the order in which several accounts are locked, so that no two requests deadlock.
    pub(super) order: u64,
    pub(super) member: Member,
    counters: Lock<Counters>,
}

/// The accounts of a budget.
#[derive(Debug)]
pub(super) enum Accounts {
    /// One for all.
    One(Arc<Account>),
    /// One per name.
    Many(Box<Many>),
}

/// Accounts by name.
#[derive(Debug)]
pub(super) struct Many {
    names: Shared<Names>,
    orders: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Names {
    spec: Arc<BudgetSpec>,
    by_team: HashMap<Box<str>, OfTeam>,
    /// Names with an account, of all teams.
    count: usize,
    most: usize,
    /// When room was last looked for.
    swept_at: Option<Timestamp>,
    /// A run that had spent something was let go.
    has_forgotten: bool,
}

/// The accounts of one team's names.
#[derive(Debug, Default)]
struct OfTeam {
    by_name: HashMap<Box<str>, Arc<Account>>,
    /// Of the names for which there was no room. As long as it counts anything, new names go there: a name is
    /// never in two accounts in one window.
    others: Option<Arc<Account>>,
}

impl Account {
    fn new(order: u64, member: Member, counters: Counters) -> Arc<Self> {
        Arc::new(Self { order, member, counters: Lock::new(counters) })
    }

    pub(super) fn lock(&self) -> Guard<'_, Counters> {
        locked(&self.counters)
    }
}

impl Accounts {
    pub(super) fn one(orders: &AtomicU64, spec: Arc<BudgetSpec>) -> Self {
        Self::One(Account::new(next(orders), Member::All, Counters::new(spec)))
    }

    pub(super) fn many(orders: Arc<AtomicU64>, spec: Arc<BudgetSpec>, most: usize) -> Self {
        let names =
            Names { spec, by_team: HashMap::new(), count: 0, most, swept_at: None, has_forgotten: false };
        Self::Many(Box::new(Many { names: Shared::new(names), orders }))
    }

    /// The account of a name that spends; opened if it is new.
    pub(super) fn open(&self, name: Option<&Name<'_>>, now: Timestamp) -> Arc<Account> {
        match self {
            Self::One(account) => Arc::clone(account),
            Self::Many(many) => many.open(name.unwrap_or(&Name::NONE), now),
        }
    }

    /// The account to which a sum of the ledger belongs that was counted at an instant. Lets nobody go; what
    /// was let go later than that, and a run without a place, has none.
    pub(super) fn place(&self, member: &Member, counted_at: Timestamp) -> Option<Arc<Account>> {
        match self {
            Self::One(account) => Some(Arc::clone(account)),
            Self::Many(many) => many.place(member, counted_at),
        }
    }

    /// The account of a name, if there is one.
    pub(super) fn find(&self, name: Option<&Name<'_>>) -> Option<Arc<Account>> {
        match (self, name) {
            (Self::One(account), _) => Some(Arc::clone(account)),
            (Self::Many(many), Some(name)) => read(&many.names).find_or_others(name).cloned(),
            (Self::Many(_), None) => None,
        }
    }

    /// Whether a name has an account that it shares with none.
    pub(super) fn has(&self, name: &Name<'_>) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many(many) => read(&many.names).find(name.team, &name.value).is_some(),
        }
    }

    /// Whether runs were let go that had spent something.
    pub(super) fn has_forgotten(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Many(many) => read(&many.names).has_forgotten,
        }
    }

    /// How many names may have an account, besides what is each team's own.
    pub(super) fn most(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(many) => read(&many.names).most,
        }
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Account>> {
        match self {
            Self::One(account) => vec![Arc::clone(account)],
            Self::Many(many) => read(&many.names).each().cloned().collect(),
        }
    }

    /// Gives all of them new terms.
    pub(super) fn adopt(&self, spec: &Arc<BudgetSpec>) {
        match self {
            Self::One(account) => account.lock().adopt(Arc::clone(spec)),
            Self::Many(many) => {
                let mut names = write(&many.names);
                names.spec = Arc::clone(spec);
                for account in names.each() {
                    account.lock().adopt(Arc::clone(spec));
                }
            }
        }
    }
}

impl Many {
    fn open(&self, name: &Name<'_>, now: Timestamp) -> Arc<Account> {
        let (team, value) = (name.team, name.value.as_ref());
        if let Some(known) = read(&self.names).find(team, value) {
            return Arc::clone(known);
        }
        let mut names = write(&self.names);
        // another request may have been first
        if let Some(known) = names.find(team, value) {
            return Arc::clone(known);
        }
        if !names.has_place(team) {
            names.make_room(team, now);
        }
        if names.has_place(team) {
            self.insert(&mut names, team, value, now)
        } else {
            self.others(&mut names, team, now)
        }
    }

    fn place(&self, member: &Member, counted_at: Timestamp) -> Option<Arc<Account>> {
        let mut names = write(&self.names);
        let (team, value) = match member {
            Member::All => ("", Some("")),
            Member::Named { team, value } => (team.as_ref(), Some(value.as_ref())),
            Member::Others { team } => (team.as_ref(), None),
        };
        if let Some(known) = value.and_then(|value| names.find(team, value)) {
            return Some(Arc::clone(known));
        }
        if names.swept_at.is_some_and(|at| at > counted_at) {
            return None;
        }
        match value.filter(|_| names.has_place(team)) {
            Some(value) => Some(self.insert(&mut names, team, value, counted_at)),
            None if names.forgets() => {
                names.has_forgotten = true;
                None
            }
            None => Some(self.others(&mut names, team, counted_at)),
        }
    }

    fn insert(&self, names: &mut Names, team: &str, value: &str, now: Timestamp) -> Arc<Account> {
        let member = Member::Named { team: team.into(), value: value.into() };
        let account = Account::new(next(&self.orders), member, names.new_counters(now));
        let of_team = names.by_team.entry(team.into()).or_default();
        of_team.by_name.insert(value.into(), Arc::clone(&account));
        names.count += 1;
        account
    }

    fn others(&self, names: &mut Names, team: &str, now: Timestamp) -> Arc<Account> {
        let counters = names.new_counters(now);
        let of_team = names.by_team.entry(team.into()).or_default();
        let open = || Account::new(next(&self.orders), Member::Others { team: team.into() }, counters);
        Arc::clone(of_team.others.get_or_insert_with(open))
    }
}

impl Names {
    fn find(&self, team: &str, value: &str) -> Option<&Arc<Account>> {
        self.by_team.get(team)?.by_name.get(value)
    }

    fn find_or_others(&self, name: &Name<'_>) -> Option<&Arc<Account>> {
        let of_team = self.by_team.get(name.team)?;
        of_team.by_name.get(name.value.as_ref()).or(of_team.others.as_ref())
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.by_team.values().flat_map(OfTeam::each)
    }

    fn new_counters(&self, now: Timestamp) -> Counters {
        let mut counters = Counters::new(Arc::clone(&self.spec));
        counters.used_at = now;
        counters
    }

    /// Whether a new name of this team gets an account. Some places are each team's own: however many
    /// names others make up, they cannot take those.
    fn has_place(&self, team: &str) -> bool {
        let of_team = self.by_team.get(team);
        let own = of_team.map_or(0, |of_team| of_team.by_name.len());
        let is_shared = of_team.is_some_and(|of_team| of_team.others.is_some());
        !is_shared && (self.count < self.most || own < (self.most / OWN_SHARE).max(1))
    }

    /// Lets accounts go that count nothing; not more often than once a second, because all accounts are
    /// looked at while nobody else may open one. If that is not enough, runs of the team are forgotten.
    fn make_room(&mut self, team: &str, now: Timestamp) {
        // requests on several cores come with instants in no order
        let is_soon = |at: Timestamp| now.since(at).max(at.since(now)) < BETWEEN_SWEEPS;
        if !self.swept_at.is_some_and(is_soon) {
            self.swept_at = Some(now);
            self.by_team.retain(|_, of_team| {
                of_team.let_go(|counters| counters.is_idle(now));
                of_team.each().next().is_some()
            });
            self.count = self.by_team.values().map(|of_team| of_team.by_name.len()).sum();
        }
        if self.forgets() && !self.has_place(team) {
            self.forget_runs(team);
        }
    }

    /// Whether accounts may be let go that count something. A run is a name that its caller makes up for a
    /// while: who wants a new limit takes a new name, so forgetting an old one gives nobody anything.
    fn forgets(&self) -> bool {
        self.spec.counted.per == Some(Per::Run)
    }

    /// Lets a tenth of the team's runs go, those that were last charged longest ago; none that is at work.
    fn forget_runs(&mut self, team: &str) {
        let Some(of_team) = self.by_team.get_mut(team) else { return };
        of_team.others.take_if(|others| goes_if(others, |counters| !counters.is_open()));
        if of_team.others.is_some() {
            return;
        }
        let before = of_team.by_name.len();
        let mut used: Vec<Timestamp> = of_team.by_name.values().map(|run| run.lock().used_at).collect();
        used.sort_unstable();
        let oldest = before.div_ceil(FORGOTTEN_AT_ONCE);
        let Some(last) = oldest.checked_sub(1).and_then(|place| used.get(place).copied()) else { return };
        let mut left = oldest;
        of_team.let_go(|counters| {
            // as many of the last instant as there is to go: a burst of runs may have the same
            let goes = counters.used_at <= last && !counters.is_open() && left > 0;
            left -= usize::from(goes);
            goes
        });
        self.count -= before - of_team.by_name.len();
        self.has_forgotten = true;
    }
}

impl OfTeam {
    fn each(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.by_name.values().chain(&self.others)
    }

    /// Lets accounts go; they are gone, also for those who found them a moment ago.
    fn let_go(&mut self, mut goes: impl FnMut(&mut Counters) -> bool) {
        self.others.take_if(|others| goes_if(others, &mut goes));
        self.by_name.retain(|_, account| !goes_if(account, &mut goes));
    }
}

fn goes_if(account: &Account, goes: impl FnOnce(&mut Counters) -> bool) -> bool {
    let mut counters = account.lock();
    counters.is_gone = goes(&mut counters);
    counters.is_gone
}

fn next(orders: &AtomicU64) -> u64 {
    orders.fetch_add(1, Ordering::Relaxed)
}

const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);
/// Each team has one in so many of all places for itself: 10,000 names, 3 MB.
const OWN_SHARE: usize = 10;
/// One in so many runs: all of a team's are looked at once in that many new ones.
const FORGOTTEN_AT_ONCE: usize = 10;

/// Accounts of one budget, besides what is each team's own. Each is some 300 bytes: 30 MB when all are taken.
pub(super) const MOST_ACCOUNTS: usize = 100_000;
