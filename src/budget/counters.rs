//! The arithmetic of one account: what is spent, what is reserved, in which window. No lock, no clock.

use std::sync::Arc;

use super::amount::{Amount, Need};
use super::counted::Member;
use super::section::WhenSpent;
use super::spec::BudgetSpec;
use super::spent::Spent;
use super::state::{BudgetState, Crossing, Shadowed};
use super::window::{Period, Window};
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;

/// One account's counters and the terms they are held to.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) spec: Arc<BudgetSpec>,
    spent: Spent,
    /// 128 bits, so that no sum of requests overflows.
    reserved: i128,
    /// Holds of this window that are under way.
    open: u64,
    /// Earlier windows with holds that are under way; none at most times.
    past: Vec<Past>,
    /// `None` before the first use.
    window: Option<Window>,
    /// A reload changed where windows begin; the one under way keeps its usage and gets the new bounds.
    moved: bool,
    /// Counts windows, so that a hold knows whether its own is still the current one.
    turn: u64,
    /// The bit at each percent that was reported in this window.
    crossed: u128,
    shadow: Shadow,
    /// When it was opened, or what it was last charged for was admitted.
    pub(super) used_at: Timestamp,
    /// Let go to make room: whoever still has it looks for the name's new account.
    pub(super) is_gone: bool,
}

/// What one request holds in one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Hold {
    count: i128,
    turn: u64,
    /// A shadow budget would have said no.
    is_shadowed: bool,
}

/// A window that is over, and to which requests are still held that it admitted.
#[derive(Debug)]
struct Past {
    turn: u64,
    spent: i128,
    reserved: i128,
    open: u64,
    window: Window,
}

/// What a shadow budget would have refused in this window, since the gateway started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Shadow {
    refused: u64,
    amount: i128,
}

impl Counters {
    pub(super) const fn new(spec: Arc<BudgetSpec>) -> Self {
        Self {
            spec,
            spent: Spent::new(),
            reserved: 0,
            open: 0,
            past: Vec::new(),
            window: None,
            moved: false,
            turn: 0,
            crossed: 0,
            shadow: Shadow { refused: 0, amount: 0 },
            used_at: Window::ALWAYS.start,
            is_gone: false,
        }
    }

    /// New terms for the same counters: usage stays. Thresholds that the new limit un-crosses will be
    /// told again.
    pub(super) fn adopt(&mut self, spec: Arc<BudgetSpec>) {
        self.moved |= spec.windows_differ(&self.spec);
        self.spec = spec;
        self.crossed &= self.reached();
    }

    /// The earliest instant at which anything can be charged still: a clock that went back changes nothing.
    pub(super) fn earliest(&self) -> Timestamp {
        match (self.window, self.spec.period) {
            (None, _) => Window::ALWAYS.start,
            // its newest bucket
            (Some(Window { end: Some(end), .. }), period @ Period::Rolling(_)) => period.bucket_before(end),
            (Some(window), _) => window.start,
        }
    }

    /// Begins a new window if the current one is over. A clock that jumps back changes nothing.
    pub(super) fn roll(&mut self, now: Timestamp) -> Window {
        let over = match self.window {
            Some(current) if !current.over(now) && !self.moved => return current,
            Some(current) => current.over(now),
            None => false,
        };
        let last = self.window;
        let window = *self.window.insert(self.spec.window(now));
        self.moved = false;
        if let Period::Rolling(_) = self.spec.period {
            self.spent.forget_before(self.spec.period.bucket(window.start));
            self.crossed &= self.reached();
        } else if over {
            self.past.extend(last.filter(|_| self.open > 0).map(|window| Past {
                turn: self.turn,
                spent: self.spent.sum(),
                reserved: self.reserved,
                open: self.open,
                window,
            }));
            self.turn += 1;
            (self.spent, self.reserved, self.open, self.crossed) = (Spent::new(), 0, 0, 0);
            self.shadow = Shadow::default();
        }
        window
    }

    /// Whether there is room.
    pub(super) fn has_room(&self, need: Need) -> bool {
        self.used() + self.count(need) <= self.spec.limit.count()
    }

    fn used(&self) -> i128 {
        self.spent.sum() + self.reserved
    }

    /// Whether it says no to what begins.
    pub(super) fn refuses(&self, need: Need) -> bool {
        self.spec.is_held() && !self.has_room(need)
    }

    /// Whether it says no to more of what is under way, by the window that admitted it. Nobody is stopped for
    /// what they do not ask.
    pub(super) fn refuses_more(&self, hold: Hold, more: Need) -> bool {
        let count = self.count(more);
        let used = self.past(hold).map_or(self.used(), |past| past.spent + past.reserved);
        self.spec.is_held() && count > 0 && used + count > self.spec.limit.count()
    }

    /// Reserves, whether there is room or not: ask [`Counters::refuses`] first.
    pub(super) fn reserve(&mut self, need: Need) -> Hold {
        let count = self.count(need);
        let is_shadowed = self.is_in_shadow_of(need);
        self.reserved += count;
        self.open += 1;
        Hold { count, turn: self.turn, is_shadowed }
    }

    /// Adds to a hold, whether there is room or not.
    pub(super) fn top_up(&mut self, hold: &mut Hold, more: Need) {
        let count = self.count(more);
        hold.is_shadowed |= self.is_current(*hold) && count > 0 && self.is_in_shadow_of(more);
        *self.reserved_with(*hold) += count;
        hold.count += count;
    }

    /// Gives back what a hold has above `need`.
    pub(super) fn lower(&mut self, hold: &mut Hold, need: Need) {
        let back = hold.count - hold.count.min(self.count(need));
        hold.count -= back;
        *self.reserved_with(*hold) -= back;
    }

    /// Gives a hold back whole.
    pub(super) fn release(&mut self, hold: Hold) {
        *self.reserved_with(hold) -= hold.count;
        match self.past.iter_mut().find(|past| past.turn == hold.turn) {
            Some(past) => past.open -= 1,
            None => self.open -= 1,
        }
        self.past.retain(|past| past.open > 0);
    }

    /// Turns a hold into what was really used, more or less, charged to the window of `charged_at`, which
    /// may be over.
    pub(super) fn settle(&mut self, hold: Hold, charged_at: Timestamp, actual: Need) {
        self.release(hold);
        let count = self.count(actual);
        if let Some(past) = self.past.iter_mut().find(|past| past.turn == hold.turn) {
            past.spent += count;
        }
        self.used_at = self.used_at.max(charged_at);
        if self.window.is_some_and(|window| window.start <= charged_at) {
            self.spent.add(self.spec.period.bucket(charged_at), count);
        }
        if hold.is_shadowed && self.is_current(hold) {
            self.shadow.refused += 1;
            self.shadow.amount += count;
        }
    }

    /// The thresholds that were reached since they were last asked for.
    pub(super) fn crossings(&mut self, member: &Member, told: &mut Vec<Crossing>) {
        let new = self.reached() & !self.crossed;
        self.crossed |= new;
        if new != 0 {
            let percents = self.spec.warn_at.iter().map(|share| share.0).filter(|p| new & bit(*p) != 0);
            told.extend(percents.map(|percent| self.crossing(member, percent)));
        }
    }

    pub(super) fn shadowed(&self, hold: Hold, member: &Member, actual: Need) -> Option<Shadowed> {
        (hold.is_shadowed && self.is_current(hold)).then(|| Shadowed {
            budget: self.spec.id.clone(),
            scope: self.spec.counted.describe(member),
            used: self.amount(self.count(actual)),
            refused: self.shadow.refused,
        })
    }

    /// Sets what is spent, as the ledger has it; reservations under way stay.
    pub(super) fn assign(&mut self, spent: Spent, charged_at: Timestamp) {
        self.spent = spent;
        self.used_at = self.used_at.max(charged_at);
        if let Some(window) = self.window {
            self.spent.forget_before(self.spec.period.bucket(window.start));
        }
        self.crossed = self.reached();
    }

    /// Adds what was missing in the window of `turn`, or takes what was too much. Tells no thresholds: they
    /// are told by the next settlement.
    pub(super) fn repair(&mut self, turn: u64, missing: &Spent) {
        if turn == self.turn {
            for (bucket, count) in missing.buckets() {
                self.spent.add(bucket, count);
            }
            if let Some(window) = self.window {
                self.spent.forget_before(self.spec.period.bucket(window.start));
            }
        }
    }

    /// Whether requests are at work that it holds.
    pub(super) const fn is_open(&self) -> bool {
        self.open > 0 || !self.past.is_empty()
    }

    /// Whether it counts nothing at `now`, so that a new account would be the same.
    pub(super) fn is_idle(&mut self, now: Timestamp) -> bool {
        !self.is_open() && {
            self.roll(now);
            self.spent.is_nothing()
        }
    }

    /// As [`Counters::state`], of the window that admitted `hold`.
    pub(super) fn state_of(&self, hold: Hold) -> BudgetState {
        let now = self.state();
        self.past(hold).map_or(now, |past| BudgetState {
            spent: self.amount(past.spent),
            reserved: self.amount(past.reserved),
            left: self.amount(self.spec.limit.count() - past.spent - past.reserved),
            window: past.window,
            ..now
        })
    }

    /// The highest threshold reached.
    pub(super) fn warning(&self, member: &Member) -> Option<Crossing> {
        self.highest_reached().map(|percent| self.crossing(member, percent))
    }

    pub(super) fn state(&self) -> BudgetState {
        BudgetState {
            spent: self.amount(self.spent.sum()),
            reserved: self.amount(self.reserved),
            limit: self.amount(self.spec.limit.count()),
            left: self.left(),
            window: self.window.unwrap_or(Window::ALWAYS),
            crossed: self.highest_reached(),
            would_have_refused: self.shadow.refused,
            would_have_saved: self.amount(self.shadow.amount),
        }
    }

    pub(super) const fn spent(&self) -> &Spent {
        &self.spent
    }

    pub(super) const fn turn(&self) -> u64 {
        self.turn
    }

    pub(super) fn left(&self) -> Amount {
        self.amount(self.spec.limit.count() - self.spent.sum() - self.reserved)
    }

    /// What is left for a next request, not below zero, if this holds and counts USD.
    pub(super) fn left_usd(&self) -> Option<NanoUsd> {
        let left = if self.spec.shadow { None } else { self.left().as_usd() };
        left.map(|usd| usd.max(NanoUsd::ZERO))
    }

    /// When there will be room for `need`, as far as that hangs on spending and not on what is under way.
    pub(super) fn resets_at(&self, need: Need) -> Option<Timestamp> {
        let end = self.window.and_then(|window| window.end);
        let Period::Rolling(_) = self.spec.period else { return end };
        let too_much = self.spent.sum() + self.reserved + self.count(need) - self.spec.limit.count();
        let bucket = self.spent.ages_out_with(too_much).or(self.spent.first_bucket());
        bucket.map_or(end, |bucket| self.spec.period.ages_out(bucket))
    }

    pub(super) fn amount(&self, count: i128) -> Amount {
        Amount::new(count, self.spec.limit.unit())
    }

    pub(super) fn count(&self, need: Need) -> i128 {
        need.count(self.spec.limit.unit())
    }

    /// The window that admitted it, if that is over: a request is charged and held to that one (FAULTS T5).
    fn past(&self, hold: Hold) -> Option<&Past> {
        self.past.iter().find(|past| past.turn == hold.turn)
    }

    /// What is reserved in the window that admitted it.
    fn reserved_with(&mut self, hold: Hold) -> &mut i128 {
        match self.past.iter_mut().find(|past| past.turn == hold.turn) {
            Some(past) => &mut past.reserved,
            None => &mut self.reserved,
        }
    }

    /// Whether a hold is of the current window.
    pub(super) const fn is_current(&self, hold: Hold) -> bool {
        hold.turn == self.turn
    }

    fn is_in_shadow_of(&self, need: Need) -> bool {
        self.spec.shadow && self.spec.when_spent != WhenSpent::Warn && !self.has_room(need)
    }

    fn crossing(&self, member: &Member, percent: u8) -> Crossing {
        Crossing {
            budget: self.spec.id.clone(),
            scope: self.spec.counted.describe(member),
            percent,
            spent: self.amount(self.spent.sum()),
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
        self.spent.sum() * 100 >= self.spec.limit.count() * i128::from(percent)
    }
}

/// Percents are 1 to 100, so each has its bit.
const fn bit(percent: u8) -> u128 {
    1 << (percent % 128)
}
