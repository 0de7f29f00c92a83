//! The arithmetic of one budget: what is spent, what is reserved, in which window. No lock, no clock.

use super::amount::{Amount, Need};
use super::section::WhenSpent;
use super::spec::BudgetSpec;
use super::window::{Window, window};
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;

/// One budget's counters and the terms they are held to.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) spec: BudgetSpec,
    /// 128 bits, so that no sum of requests overflows: taking and giving back are exact.
    spent: i128,
    reserved: i128,
    /// `None` before the first use.
    window: Option<Window>,
    /// A reload changed where windows begin; the one under way keeps its usage and gets the new bounds.
    moved: bool,
    /// Counts windows, so that a hold knows whether its own is still the current one.
    turn: u64,
    /// The bit at each percent that was reported in this window.
    crossed: u128,
}

/// What one request holds in one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    count: i128,
    turn: u64,
}

/// A budget at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetState {
    /// Settled in this window.
    pub spent: Amount,
    /// Held by requests that are under way.
    pub reserved: Amount,
    /// The limit.
    pub limit: Amount,
    /// What a next request could still reserve; below zero when overspent.
    pub left: Amount,
    /// The window that these are of.
    pub window: Window,
    /// The highest warn threshold that `spent` has reached, in percent.
    pub crossed: Option<u8>,
}

/// A warn threshold that a settlement passed: told once per window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// The budget's id.
    pub budget: String,
    /// Whose budget, e.g. `team search`.
    pub scope: String,
    /// The threshold, in percent of the limit.
    pub percent: u8,
    /// What is spent now.
    pub spent: Amount,
    /// The limit.
    pub limit: Amount,
}

impl Account {
    pub(super) const fn new(spec: BudgetSpec) -> Self {
        Self { spec, spent: 0, reserved: 0, window: None, moved: false, turn: 0, crossed: 0 }
    }

    /// New terms for the same counters: usage stays. Thresholds that the new limit un-crosses will be
    /// told again.
    pub(super) fn adopt(&mut self, spec: BudgetSpec) {
        self.moved |= spec.every != self.spec.every || spec.time_zone != self.spec.time_zone;
        self.spec = spec;
        self.crossed &= self.reached();
    }

    /// Begins a new window if the current one is over. A clock that jumps back changes nothing.
    pub(super) fn roll(&mut self, now: Timestamp) -> Window {
        let over = match self.window {
            Some(current) if !current.over(now) && !self.moved => return current,
            Some(current) => current.over(now),
            None => false,
        };
        if over {
            self.turn += 1;
            (self.spent, self.reserved, self.crossed) = (0, 0, 0);
        }
        self.moved = false;
        *self.window.insert(window(self.spec.every, &self.spec.time_zone, now))
    }

    /// Whether there is room, or this budget does not mind.
    pub(super) fn admits(&self, need: Need) -> bool {
        match self.spec.when_spent {
            WhenSpent::Warn => true,
            WhenSpent::Refuse => self.spent + self.reserved + self.count(need) <= self.spec.limit.count(),
        }
    }

    /// Reserves, whether there is room or not: ask [`Account::admits`] first.
    pub(super) fn reserve(&mut self, need: Need) -> Hold {
        let count = self.count(need);
        self.reserved += count;
        Hold { count, turn: self.turn }
    }

    /// Whether a hold is of the current window. A request is charged to the window that admitted it
    /// (FAULTS T5); once that is over there is nothing left to hold it to.
    pub(super) const fn is_current(&self, hold: Hold) -> bool {
        hold.turn == self.turn
    }

    /// Adds to a hold, whether there is room or not.
    pub(super) fn top_up(&mut self, hold: &mut Hold, more: Need) {
        let count = self.count(more);
        hold.count += count;
        if self.is_current(*hold) {
            self.reserved += count;
        }
    }

    /// Gives a hold back whole.
    pub(super) fn release(&mut self, hold: Hold) {
        if self.is_current(hold) {
            self.reserved -= hold.count;
        }
    }

    /// Turns a hold into what was really used, more or less, and tells the thresholds that this passed.
    pub(super) fn settle(&mut self, hold: Hold, actual: Need, crossings: &mut Vec<Crossing>) {
        if !self.is_current(hold) {
            return;
        }
        self.release(hold);
        self.spent += self.count(actual);
        for place in 0..self.spec.warn_at.len() {
            let percent = self.spec.warn_at[place].0;
            if self.reaches(percent) && self.crossed & bit(percent) == 0 {
                self.crossed |= bit(percent);
                crossings.push(self.crossing(percent));
            }
        }
    }

    /// Sets what is spent, as the ledger has it; reservations under way stay.
    pub(super) fn assign(&mut self, spent: i128) {
        self.spent = spent;
        self.crossed = self.reached();
    }

    /// The highest threshold reached.
    pub(super) fn warning(&self) -> Option<Crossing> {
        self.highest_reached().map(|percent| self.crossing(percent))
    }

    pub(super) fn state(&self, window: Window) -> BudgetState {
        BudgetState {
            spent: self.amount(self.spent),
            reserved: self.amount(self.reserved),
            limit: self.amount(self.spec.limit.count()),
            left: self.left(),
            window,
            crossed: self.highest_reached(),
        }
    }

    pub(super) fn left(&self) -> Amount {
        self.amount(self.spec.limit.count() - self.spent - self.reserved)
    }

    /// What is left for a next request, not below zero, if this counts USD.
    pub(super) fn left_usd(&self) -> Option<NanoUsd> {
        self.left().as_usd().map(|usd| usd.max(NanoUsd::ZERO))
    }

    pub(super) const fn window(&self) -> Window {
        match self.window {
            Some(window) => window,
            None => Window::ALWAYS,
        }
    }

    pub(super) fn amount(&self, count: i128) -> Amount {
        Amount::new(count, self.spec.limit.unit())
    }

    pub(super) fn count(&self, need: Need) -> i128 {
        need.count(self.spec.limit.unit())
    }

    fn crossing(&self, percent: u8) -> Crossing {
        Crossing {
            budget: self.spec.id.clone(),
            scope: self.spec.scope.to_string(),
            percent,
            spent: self.amount(self.spent),
            limit: self.amount(self.spec.limit.count()),
        }
    }

    fn highest_reached(&self) -> Option<u8> {
        self.spec.warn_at.iter().rev().map(|p| p.0).find(|percent| self.reaches(*percent))
    }

    fn reached(&self) -> u128 {
        self.spec.warn_at.iter().filter(|p| self.reaches(p.0)).fold(0, |bits, p| bits | bit(p.0))
    }

    fn reaches(&self, percent: u8) -> bool {
        self.spent * 100 >= self.spec.limit.count() * i128::from(percent)
    }
}

/// Percents are 1 to 100, so each has its bit.
const fn bit(percent: u8) -> u128 {
    1 << (percent % 128)
}
