//! A `budgets:` entry of the config: values and defaults only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::{Percent, Usd};

/// A hard or soft limit on spending over a window.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSection {
    /// The limit in USD. Exactly one of `limit_usd` and `limit_tokens`.
    #[serde(default)]
    pub limit_usd: Option<Usd>,
    /// The limit in tokens, input and output together.
    #[serde(default)]
    pub limit_tokens: Option<u64>,
    /// The window after which it starts again.
    pub every: Every,
    /// IANA time zone in which windows begin at midnight.
    #[serde(default = "time_zone")]
    pub time_zone: String,
    /// Shares of the limit at which to warn, in header, log and metrics.
    #[serde(default = "warn_at")]
    pub warn_at: Vec<Percent>,
    /// What happens when it is spent.
    #[serde(default)]
    pub when_spent: WhenSpent,
    /// What happens to a request whose model has no known price.
    #[serde(default)]
    pub unpriced: Unpriced,
}

/// A budget's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
    /// Never starts again.
    Total,
}

/// What a spent budget does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenSpent {
    /// Refuse with 402 before any upstream is asked.
    #[default]
    Refuse,
    /// Let it pass, and warn.
    Warn,
}

/// What a USD budget does with a model of unknown price. (A price to use instead can be given in `prices:`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unpriced {
    /// Refuse with 403 `model_unpriced`: an unknown price cannot be held to a limit.
    #[default]
    Refuse,
    /// Let it pass uncounted; the ledger row says `cost: null`.
    Allow,
}

fn time_zone() -> String {
    "UTC".into()
}

/// 75 % leaves time to react, 90 % is the last call.
fn warn_at() -> Vec<Percent> {
    vec![Percent(75), Percent(90)]
}
