//! Reserve in all budgets or in none; top up; settle; a dropped reservation is released.

use std::sync::Arc;

use super::account::{Account, Crossing, Hold};
use super::amount::Need;
use super::book::{Budget, Guard};
use super::refusal::Refusal;
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;

/// What one request holds in its budgets. Dropping it gives all back.
#[derive(Debug)]
#[must_use = "dropping a reservation releases it"]
pub struct Reservation {
    /// In the order in which they are locked, each once.
    holds: Vec<(Arc<Budget>, Hold)>,
}

/// What settling showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Warn thresholds that this request passed.
    pub crossings: Vec<Crossing>,
    /// What the tightest USD budget has left; not below zero. `None` without USD budgets.
    pub remaining: Option<NanoUsd>,
}

/// Reserves `need` in all budgets, or in none.
///
/// All of them are locked while it decides, in one order for all requests. So no other request ever sees
/// a half-made reservation, and nobody is refused because of one that is about to be taken back.
///
/// # Errors
/// When a budget that refuses has no room: the first in the order of opening.
pub fn reserve(budgets: &[Arc<Budget>], need: Need, now: Timestamp) -> Result<Reservation, Box<Refusal>> {
    let mut ordered: Vec<&Arc<Budget>> = budgets.iter().collect();
    ordered.sort_unstable_by_key(|budget| budget.order);
    // the same budget twice would wait for its own lock
    ordered.dedup_by_key(|budget| budget.order);
    let mut accounts: Vec<Guard<'_, Account>> = ordered.iter().map(|budget| budget.lock()).collect();
    for account in &mut accounts {
        account.roll(now);
    }
    if let Some(full) = accounts.iter().find(|account| !account.admits(need)) {
        return Err(Box::new(Refusal::new(full, need)));
    }
    let held = accounts.iter_mut().zip(&ordered);
    let holds = held.map(|(account, budget)| (Arc::clone(budget), account.reserve(need))).collect();
    Ok(Reservation { holds })
}

impl Reservation {
    /// Holds `more` in all budgets, or in none. A budget whose window ended since the admission does not
    /// object: the request is charged to the window that admitted it.
    ///
    /// # Errors
    /// When a budget that refuses has no room; what was held stays held.
    pub fn top_up(&mut self, more: Need) -> Result<(), Box<Refusal>> {
        let (budgets, mut holds): (Vec<_>, Vec<_>) =
            self.holds.iter_mut().map(|(budget, hold)| (&*budget, hold)).unzip();
        let mut accounts: Vec<Guard<'_, Account>> = budgets.iter().map(|budget| budget.lock()).collect();
        let objects = |(account, hold): &(&Guard<'_, Account>, &&mut Hold)| {
            account.is_current(***hold) && !account.admits(more)
        };
        if let Some((full, _)) = accounts.iter().zip(&holds).find(objects) {
            return Err(Box::new(Refusal::new(full, more)));
        }
        for (account, hold) in accounts.iter_mut().zip(&mut holds) {
            account.top_up(hold, more);
        }
        Ok(())
    }

    /// Charges what was really used, be it more or less than was held, and closes the reservation.
    pub fn settle(mut self, actual: Need) -> Settled {
        let mut settled = Settled::default();
        for (budget, hold) in std::mem::take(&mut self.holds) {
            let mut account = budget.lock();
            account.settle(hold, actual, &mut settled.crossings);
            settled.remaining = tightest(settled.remaining, account.left_usd());
        }
        settled
    }

    /// What the tightest USD budget has left besides this reservation; not below zero.
    #[must_use]
    pub fn remaining(&self) -> Option<NanoUsd> {
        self.holds.iter().fold(None, |least, (budget, _)| tightest(least, budget.lock().left_usd()))
    }

    /// The budget that is nearest to being spent, if one has reached a warn threshold.
    #[must_use]
    pub fn warning(&self) -> Option<Crossing> {
        self.holds.iter().filter_map(|(budget, _)| budget.lock().warning()).max_by_key(|c| c.percent)
    }

    /// Whether it holds anything anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for (budget, hold) in &self.holds {
            budget.lock().release(*hold);
        }
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
