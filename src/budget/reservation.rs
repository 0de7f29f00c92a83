//! Reserve in all budgets or in none; top up; settle; a dropped reservation is released.

use std::sync::Arc;

use super::accounts::Account;
use super::amount::Need;
use super::book::Budget;
use super::counted::Spender;
use super::counters::{Counters, Hold};
use super::lock::Guard;
use super::refusal::Refusal;
use super::section::WhenSpent;
use super::state::{Crossing, Shadowed};
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;

/// What one request holds in its budgets. Dropping it gives all back.
#[derive(Debug)]
#[must_use = "dropping a reservation releases it"]
pub struct Reservation {
    /// In the order in which they are locked, each once.
    held: Vec<Held>,
    charged_at: Timestamp,
    need: Need,
}

#[derive(Debug)]
struct Held {
    account: Arc<Account>,
    hold: Hold,
}

/// What settling showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Warn thresholds that this request passed.
    pub crossings: Vec<Crossing>,
    /// Shadow budgets that would have refused or cut it.
    pub shadowed: Vec<Shadowed>,
    /// What the tightest USD budget has left; not below zero. `None` without USD budgets.
    pub remaining: Option<NanoUsd>,
}

/// Reserves `need` in all budgets that count the request, or in none.
///
/// All of their accounts are locked while it decides, in one order for all requests. So no other request ever
/// sees a half-made reservation, and nobody is refused because of one that is about to be taken back. All
/// are charged at one instant: `now`, or the latest start of their windows if a clock went back.
///
/// # Errors
/// When a budget that refuses has no room: one that cannot be clamped to if there is one, else the first in
/// the order of opening.
pub fn reserve(
    budgets: &[Arc<Budget>],
    spender: &Spender<'_>,
    need: Need,
    now: Timestamp,
) -> Result<Reservation, Box<Refusal>> {
    take(budgets, spender, need, now, Room::Asked)
}

/// Holds what was used already, whether there is room for it or not: a bill that comes late is owed all the
/// same, and the budgets must say so.
pub fn impose(budgets: &[Arc<Budget>], spender: &Spender<'_>, need: Need, now: Timestamp) -> Reservation {
    take(budgets, spender, need, now, Room::Assumed).expect("nobody was asked who could refuse")
}

/// Whether a budget may say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Asked,
    Assumed,
}

fn take(
    budgets: &[Arc<Budget>],
    spender: &Spender<'_>,
    need: Need,
    now: Timestamp,
    room: Room,
) -> Result<Reservation, Box<Refusal>> {
    let mut held = Vec::with_capacity(budgets.len());
    loop {
        let accounts = budgets.iter().filter_map(|budget| budget.account_of(spender, now));
        held.extend(accounts.map(|account| Held { account, hold: Hold::default() }));
        held.sort_unstable_by_key(|held: &Held| held.account.order);
        // the same account twice would wait for its own lock
        held.dedup_by_key(|held| held.account.order);
        if let Some(charged_at) = hold(&mut held, need, now, room)? {
            return Ok(Reservation { held, charged_at, need });
        }
        held.clear();
    }
}

/// `None` when an account was let go since it was looked up.
fn hold(
    held: &mut [Held],
    need: Need,
    now: Timestamp,
    room: Room,
) -> Result<Option<Timestamp>, Box<Refusal>> {
    let mut locked: Vec<_> = held.iter_mut().map(Held::lock).collect();
    if locked.iter().any(|(counters, ..)| counters.is_gone) {
        return Ok(None);
    }
    let charged_at = locked.iter().fold(now, |at, (counters, ..)| at.max(counters.earliest()));
    for (counters, ..) in &mut locked {
        counters.roll(charged_at);
    }
    let refusing = locked.iter().filter(|(counters, ..)| room == Room::Asked && counters.refuses(need));
    // false comes first
    if let Some((full, _, account)) =
        refusing.min_by_key(|(counters, ..)| counters.spec.when_spent == WhenSpent::Clamp)
    {
        return Err(Box::new(Refusal::new(full, &account.member, need)));
    }
    for (counters, hold, _) in &mut locked {
        **hold = counters.reserve(need);
    }
    Ok(Some(charged_at))
}

impl Reservation {
    /// The instant at which it is charged, whenever it settles: what the ledger's sum of a window goes by.
    #[must_use]
    pub const fn charged_at(&self) -> Timestamp {
        self.charged_at
    }

    /// Charges what it is settled with in those of `budgets`, too, that were not in force when it was made.
    pub fn include(&mut self, budgets: &[Arc<Budget>], spender: &Spender<'_>) {
        let mut new = impose(budgets, spender, Need::default(), self.charged_at);
        let (known, mut new_ones): (Vec<Held>, Vec<Held>) = std::mem::take(&mut new.held)
            .into_iter()
            .partition(|new| self.held.iter().any(|held| Arc::ptr_eq(&held.account, &new.account)));
        new.held = known;
        self.held.append(&mut new_ones);
        self.held.sort_unstable_by_key(|held| held.account.order);
    }

    /// All that is held.
    #[must_use]
    pub const fn held(&self) -> Need {
        self.need
    }

    /// Holds `more` in all budgets, or in none. Where the window ended since the admission, the request is
    /// still held to what that one has left: it is charged there.
    ///
    /// # Errors
    /// When a budget that refuses has no room; what was held stays held.
    pub fn top_up(&mut self, more: Need) -> Result<(), Box<Refusal>> {
        let mut locked: Vec<_> = self.held.iter_mut().map(Held::lock).collect();
        let objects = |(counters, hold, _): &&(Guard<'_, Counters>, &mut Hold, &Account)| {
            counters.refuses_more(**hold, more)
        };
        if let Some((full, hold, account)) = locked.iter().find(objects) {
            return Err(Box::new(Refusal::of_more(full, **hold, &account.member, more)));
        }
        for (counters, hold, _) in &mut locked {
            counters.top_up(hold, more);
        }
        self.need = self.need.plus(more);
        Ok(())
    }

    /// Gives back what is held above `need`; never raises.
    pub fn lower_to(&mut self, need: Need) {
        self.need = self.need.min(need);
        for Held { account, hold } in &mut self.held {
            account.lock().lower(hold, self.need);
        }
    }

    /// Charges what was really used, be it more or less than was held, and closes the reservation.
    pub fn settle(mut self, actual: Need) -> Settled {
        let mut settled = Settled::default();
        for Held { account, hold } in std::mem::take(&mut self.held) {
            let mut counters = account.lock();
            counters.settle(hold, self.charged_at, actual);
            counters.crossings(&account.member, &mut settled.crossings);
            settled.shadowed.extend(counters.shadowed(hold, &account.member, actual));
            settled.remaining = tightest(settled.remaining, counters.left_usd());
        }
        settled
    }

    /// What the tightest USD budget has left besides this reservation; not below zero.
    #[must_use]
    pub fn remaining(&self) -> Option<NanoUsd> {
        self.held.iter().fold(None, |least, held| tightest(least, held.account.lock().left_usd()))
    }

    /// The budget that is nearest to being spent, if one has reached a warn threshold.
    #[must_use]
    pub fn warning(&self) -> Option<Crossing> {
        let warning = |held: &Held| held.account.lock().warning(&held.account.member);
        self.held.iter().filter_map(warning).max_by_key(|crossing| crossing.percent)
    }

    /// Whether it holds anything anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for Held { account, hold } in &self.held {
            account.lock().release(*hold);
        }
    }
}

impl Held {
    fn lock(&mut self) -> (Guard<'_, Counters>, &mut Hold, &Account) {
        (self.account.lock(), &mut self.hold, &self.account)
    }
}

fn tightest(least: Option<NanoUsd>, left: Option<NanoUsd>) -> Option<NanoUsd> {
    match (least, left) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
#[path = "reservation_tests.rs"]
mod tests;
