//! The accounts of one budget: one for all, or one per name, of which there are never more than a bound.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counted::{Member, Name};
use super::counters::Counters;
use super::lock::{Guard, Lock, Shared, locked, read, write};
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

impl Account {
    fn new(order: u64, member: Member, spec: Arc<BudgetSpec>) -> Arc<Self> {
        Arc::new(Self { order, member, counters: Lock::new(Counters::new(spec)) })
    }

    pub(super) fn lock(&self) -> Guard<'_, Counters> {
        locked(&self.counters)
    }
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
    most: usize,
}

#[derive(Debug)]
struct Names {
    spec: Arc<BudgetSpec>,
    by_team: HashMap<Box<str>, HashMap<Box<str>, Arc<Account>>>,
    count: usize,
    /// Of the names for which there was no room. As long as it counts anything, new names go there: a name is
    /// never in two accounts in one window.
    others: Option<Arc<Account>>,
    /// When room was last looked for.
    swept_at: Option<Timestamp>,
}

impl Accounts {
    pub(super) fn one(orders: &AtomicU64, spec: Arc<BudgetSpec>) -> Self {
        Self::One(Account::new(next(orders), Member::All, spec))
    }

    pub(super) fn many(orders: Arc<AtomicU64>, spec: Arc<BudgetSpec>, most: usize) -> Self {
        let names = Names { spec, by_team: HashMap::new(), count: 0, others: None, swept_at: None };
        Self::Many(Box::new(Many { names: Shared::new(names), orders, most }))
    }

    /// The account of a name; opened if it is new.
    pub(super) fn open(&self, name: Option<Name<'_>>, now: Timestamp) -> Arc<Account> {
        match (self, name) {
            (Self::One(account), _) => Arc::clone(account),
            (Self::Many(many), name) => {
                many.open(&name.unwrap_or(Name { team: "", value: Cow::Borrowed("") }), now)
            }
        }
    }

    /// The account of a member of a budget that counts the same.
    pub(super) fn open_for(&self, member: &Member, now: Timestamp) -> Arc<Account> {
        match (self, member) {
            (Self::Many(many), Member::Named { team, value }) => {
                many.open(&Name { team, value: Cow::Borrowed(value) }, now)
            }
            (Self::Many(many), Member::All | Member::Others) => {
                let mut names = write(&many.names);
                many.others(&mut names)
            }
            (Self::One(account), _) => Arc::clone(account),
        }
    }

    /// The account of a name, if there is one.
    pub(super) fn find(&self, name: Option<Name<'_>>) -> Option<Arc<Account>> {
        match (self, name) {
            (Self::One(account), _) => Some(Arc::clone(account)),
            (Self::Many(many), Some(name)) => {
                let names = read(&many.names);
                names.find(&name).or(names.others.as_ref()).cloned()
            }
            (Self::Many(_), None) => None,
        }
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Account>> {
        match self {
            Self::One(account) => vec![Arc::clone(account)],
            Self::Many(many) => {
                let names = read(&many.names);
                names.each().chain(&names.others).cloned().collect()
            }
        }
    }

    /// Gives all of them new terms.
    pub(super) fn adopt(&self, spec: &Arc<BudgetSpec>) {
        match self {
            Self::One(account) => account.lock().adopt(Arc::clone(spec)),
            Self::Many(many) => {
                let mut names = write(&many.names);
                names.spec = Arc::clone(spec);
                for account in names.each().chain(&names.others) {
                    account.lock().adopt(Arc::clone(spec));
                }
            }
        }
    }
}

impl Many {
    fn open(&self, name: &Name<'_>, now: Timestamp) -> Arc<Account> {
        if let Some(known) = read(&self.names).find(name) {
            return Arc::clone(known);
        }
        let mut names = write(&self.names);
        // another request may have been first
        if let Some(known) = names.find(name) {
            return Arc::clone(known);
        }
        if names.count >= self.most || names.others.is_some() {
            names.make_room(self.most, now);
        }
        if let Some(others) = &names.others {
            return Arc::clone(others);
        }
        if names.count >= self.most {
            return self.others(&mut names);
        }
        let member = Member::Named { team: name.team.into(), value: name.value.as_ref().into() };
        let account = Account::new(next(&self.orders), member, Arc::clone(&names.spec));
        names.count += 1;
        let of_team = names.by_team.entry(name.team.into()).or_default();
        of_team.insert(name.value.as_ref().into(), Arc::clone(&account));
        account
    }

    fn others(&self, names: &mut Names) -> Arc<Account> {
        let spec = Arc::clone(&names.spec);
        let open = || Account::new(next(&self.orders), Member::Others, spec);
        Arc::clone(names.others.get_or_insert_with(open))
    }
}

impl Names {
    fn find(&self, name: &Name<'_>) -> Option<&Arc<Account>> {
        self.by_team.get(name.team)?.get(name.value.as_ref())
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.by_team.values().flat_map(HashMap::values)
    }

    /// Lets accounts go that count nothing, the others' first; not more often than once a second, because
    /// all accounts are looked at while nobody else may open one.
    fn make_room(&mut self, most: usize, now: Timestamp) {
        let is_soon = |at: Timestamp| at <= now && now.since(at) < BETWEEN_SWEEPS;
        if self.swept_at.is_some_and(is_soon) {
            return;
        }
        self.swept_at = Some(now);
        self.others.take_if(|others| lets_go(others, now));
        if self.others.is_some() || self.count < most {
            return;
        }
        let mut gone = 0;
        for of_team in self.by_team.values_mut() {
            let before = of_team.len();
            of_team.retain(|_, account| !lets_go(account, now));
            gone += before - of_team.len();
        }
        self.by_team.retain(|_, of_team| !of_team.is_empty());
        self.count -= gone;
    }
}

/// Whether the account counts nothing; then it is gone, also for those who found it a moment ago.
fn lets_go(account: &Account, now: Timestamp) -> bool {
    let mut counters = account.lock();
    counters.is_gone = counters.is_idle(now);
    counters.is_gone
}

fn next(orders: &AtomicU64) -> u64 {
    orders.fetch_add(1, Ordering::Relaxed)
}

const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);

/// Accounts of one budget. Each is some 300 bytes: 30 MB when all are taken.
pub(super) const MOST_ACCOUNTS: usize = 100_000;
