//! A refusal that says everything: whose budget, how much, until when, and which setting raises it.

use std::fmt;

use super::account::Account;
use super::amount::{Amount, Need, Unit};
use crate::base::clock::Timestamp;

/// Why a budget does not admit a request. The caller's to solve; trying again helps after `resets_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The budget's id, e.g. `team:search/month-usd`.
    pub budget: String,
    /// Whose budget, e.g. `team search`.
    pub scope: String,
    /// What it counts.
    pub unit: Unit,
    /// Settled in this window.
    pub spent: Amount,
    /// Held by other requests, and by this one if it was topping up.
    pub reserved: Amount,
    /// The limit.
    pub limit: Amount,
    /// What the request needed.
    pub need: Amount,
    /// When the budget starts again; never if `None`.
    pub resets_at: Option<Timestamp>,
    /// The window's name: day, week, month, total.
    window: &'static str,
    /// Where in the config the limit stands.
    setting: String,
}

impl Refusal {
    pub(super) fn new(account: &Account, need: Need) -> Self {
        let state = account.state(account.window());
        let spec = &account.spec;
        Self {
            budget: spec.id.clone(),
            scope: spec.scope.to_string(),
            unit: spec.limit.unit(),
            spent: state.spent,
            reserved: state.reserved,
            limit: state.limit,
            need: account.amount(account.count(need)),
            resets_at: state.window.end,
            window: spec.every.as_str(),
            setting: format!("{}: limit_{}", spec.scope.setting(), spec.limit.unit().as_str()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, window, limit, spent, reserved, need, setting, .. } = self;
        let is_spent = spent.count >= limit.count;
        let state = if is_spent { "is spent" } else { "has too little left for this request" };
        write!(
            f,
            "The {window} budget of {scope} {state}: of {limit}, {spent} are spent and {reserved} are reserved \
             by requests under way; this request may need {need}."
        )?;
        if !is_spent {
            write!(f, " A lower cap on its output (`max_tokens`) needs less.")?;
        }
        match self.resets_at {
            Some(at) => write!(f, " It starts again at {}.", rfc3339(at))?,
            None => write!(f, " It does not start again by itself.")?,
        }
        write!(f, " Its limit is set at `{setting}` in the gateway's config.")
    }
}

impl std::error::Error for Refusal {}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs())
        .map_or_else(|_| String::from("an unknown time"), |t| t.to_string())
}
