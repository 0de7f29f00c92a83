//! A refusal that says everything: whose budget, how much, until when, and which setting raises it.

use std::fmt;

use super::amount::{Amount, Need, Unit};
use super::counted::Member;
use super::counters::{Counters, Hold};
use super::section::WhenSpent;
use super::state::BudgetState;
use super::window::Period;
use crate::base::clock::Timestamp;

/// Why a budget does not admit a request. The caller's to solve; trying again helps after `resets_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The budget's id, e.g. `team:search/month-usd`.
    pub budget: String,
    /// Whose spending, e.g. `team search` or `user alice of team search`.
    pub scope: String,
    /// What it counts.
    pub unit: Unit,
    /// Settled in this window.
    pub spent: Amount,
    /// Held by other requests, and by this one if it was topping up.
    pub reserved: Amount,
    /// The limit.
    pub limit: Amount,
    /// What a request could still reserve; below zero when overspent.
    pub left: Amount,
    /// What the request needed.
    pub need: Amount,
    /// What the budget does when it is spent: near the limit a request that is clamped to `left` fits.
    pub when_spent: WhenSpent,
    /// When the budget starts again, or enough of a rolling one will have aged out; never if `None`.
    pub resets_at: Option<Timestamp>,
    period: Period,
    /// Where in the config the limit stands.
    setting: String,
}

impl Refusal {
    pub(super) fn new(counters: &Counters, member: &Member, need: Need) -> Self {
        Self::in_state(counters.state(), counters.resets_at(need), counters, member, need)
    }

    /// Of more for what is under way, by the window that admitted it.
    pub(super) fn of_more(counters: &Counters, hold: Hold, member: &Member, more: Need) -> Self {
        let state = counters.state_of(hold);
        let resets_at = if counters.is_current(hold) { counters.resets_at(more) } else { state.window.end };
        Self::in_state(state, resets_at, counters, member, more)
    }

    fn in_state(
        state: BudgetState,
        resets_at: Option<Timestamp>,
        counters: &Counters,
        member: &Member,
        need: Need,
    ) -> Self {
        let spec = &counters.spec;
        Self {
            budget: spec.id.clone(),
            scope: spec.counted.describe(member),
            unit: spec.limit.unit(),
            spent: state.spent,
            reserved: state.reserved,
            limit: state.limit,
            left: state.left,
            need: counters.amount(counters.count(need)),
            when_spent: spec.when_spent,
            resets_at,
            period: spec.period,
            setting: format!("{}: limit_{}", spec.counted.scope.setting(), spec.limit.unit().as_str()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, period, limit, spent, reserved, need, setting, .. } = self;
        let is_spent = spent.count >= limit.count;
        let state = if is_spent { "is spent" } else { "has too little left for this request" };
        write!(
            f,
            "The {period} budget of {scope} {state}: of {limit}, {spent} are spent and {reserved} are reserved \
             by requests under way; this request may need {need}."
        )?;
        if !is_spent && self.unit != Unit::Requests {
            write!(f, " A lower cap on its output (`max_tokens`) needs less.")?;
        }
        match (self.resets_at.map(rfc3339), period) {
            (Some(at), Period::Rolling(_)) => write!(f, " What was spent ages out of it, next at {at}.")?,
            (Some(at), _) => write!(f, " It starts again at {at}.")?,
            (None, _) => write!(f, " It does not start again by itself.")?,
        }
        write!(f, " Its limit is set at `{setting}` in the gateway's config.")
    }
}

impl std::error::Error for Refusal {}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs())
        .map_or_else(|_| String::from("an unknown time"), |t| t.to_string())
}
