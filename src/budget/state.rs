//! What accounts tell the outside: how they stand, and what a settlement passed.

use super::amount::Amount;
use super::window::Window;

/// An account at an instant.
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
    /// Of a shadow budget: how many requests it would have refused or cut, in this window and since the start.
    pub would_have_refused: u64,
    /// Of a shadow budget: what those requests used.
    pub would_have_saved: Amount,
}

/// A warn threshold that a settlement passed: told once per window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// The budget's id.
    pub budget: String,
    /// Whose spending, e.g. `team search`.
    pub scope: String,
    /// The threshold, in percent of the limit.
    pub percent: u8,
    /// What is spent now.
    pub spent: Amount,
    /// The limit.
    pub limit: Amount,
}

/// A request that a shadow budget would have refused or cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// The budget's id.
    pub budget: String,
    /// Whose spending, e.g. `user alice of team search`.
    pub scope: String,
    /// What the request used.
    pub used: Amount,
    /// How many it would have refused by now, this one included.
    pub refused: u64,
}
