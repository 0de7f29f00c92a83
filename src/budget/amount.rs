//! What a budget counts: nano-USD, tokens or requests, as one kind of number inside and as three outside.

use std::fmt;

use serde::Serialize;

use crate::base::money::NanoUsd;

/// A budget's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// In USD.
    Usd(NanoUsd),
    /// In tokens, input and output together.
    Tokens(u64),
    /// In requests.
    Requests(u64),
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Nano-USD.
    Usd,
    /// Tokens.
    Tokens,
    /// Requests.
    Requests,
}

/// What a request needs, or used, in all units: each budget takes its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Its cost; zero if the price is unknown and that is allowed.
    pub cost: NanoUsd,
    /// Its tokens, input and output together.
    pub tokens: u64,
    /// How many requests it is: 1 to begin with, 0 in what tops it up.
    pub requests: u64,
}

/// An amount of a budget's unit, for people and programs: nano-USD, tokens or requests, held at the ends of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// How much; negative only for what is left of an overspent budget.
    pub count: i64,
    /// Of what.
    pub unit: Unit,
}

impl Limit {
    /// What it counts.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::Usd(_) => Unit::Usd,
            Self::Tokens(_) => Unit::Tokens,
            Self::Requests(_) => Unit::Requests,
        }
    }

    pub(super) fn count(self) -> i128 {
        match self {
            Self::Usd(usd) => i128::from(usd.as_nanos()),
            Self::Tokens(count) | Self::Requests(count) => i128::from(count),
        }
    }
}

impl Unit {
    /// The word in configs, metrics and errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
        }
    }
}

impl Need {
    /// This much of a budget in `unit`. A negative cost (there is none) would be no need.
    pub(super) fn count(self, unit: Unit) -> i128 {
        match unit {
            Unit::Usd => i128::from(self.cost.as_nanos().max(0)),
            Unit::Tokens => i128::from(self.tokens),
            Unit::Requests => i128::from(self.requests),
        }
    }

    /// This and `more` together, held at the top of the range.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            cost: self.cost + more.cost,
            tokens: self.tokens.saturating_add(more.tokens),
            requests: self.requests.saturating_add(more.requests),
        }
    }

    /// The smaller of both in each unit.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            cost: self.cost.min(other.cost),
            tokens: self.tokens.min(other.tokens),
            requests: self.requests.min(other.requests),
        }
    }
}

impl Amount {
    pub(super) fn new(count: i128, unit: Unit) -> Self {
        let end = if count < 0 { i64::MIN } else { i64::MAX };
        Self { count: i64::try_from(count).unwrap_or(end), unit }
    }

    /// As money, if it is.
    #[must_use]
    pub fn as_usd(self) -> Option<NanoUsd> {
        (self.unit == Unit::Usd).then(|| NanoUsd::new(self.count))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Usd => write!(f, "{} USD", NanoUsd::new(self.count)),
            Unit::Tokens | Unit::Requests => write!(f, "{} {}", self.count, self.unit.as_str()),
        }
    }
}
