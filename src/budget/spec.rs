//! What a budget is, built from its section of the config and checked.

use std::fmt;

use jiff::tz::TimeZone;

use super::amount::{Limit, Unit};
use super::section::{BudgetSection, Every, Unpriced, WhenSpent};
use crate::base::money::NanoUsd;
use crate::base::units::Percent;

/// One budget of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetSpec {
    /// Names it across reloads, in errors and metrics: `team:search/month-usd`.
    pub id: String,
    /// Whose spending it counts.
    pub scope: Scope,
    /// How much may be spent in a window.
    pub limit: Limit,
    /// The window.
    pub every: Every,
    /// Where its days begin.
    pub time_zone: TimeZone,
    /// Shares of the limit at which to warn, ascending.
    pub warn_at: Vec<Percent>,
    /// What a spent budget does.
    pub when_spent: WhenSpent,
    /// What it does with a request of unknown price.
    pub unpriced: Unpriced,
}

/// Whose spending a budget counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// All keys of a team.
    Team(String),
    /// One key: its team and its name.
    Key(String, String),
}

impl Scope {
    /// The team it belongs to.
    #[must_use]
    pub fn team(&self) -> &str {
        let (Self::Team(team) | Self::Key(team, _)) = self;
        team
    }

    /// The name in budget ids: `team:search`, `key:search/prod`.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Team(team) => format!("team:{team}"),
            Self::Key(team, key) => format!("key:{team}/{key}"),
        }
    }

    /// Where in the config its budgets stand.
    pub(super) fn setting(&self) -> String {
        match self {
            Self::Team(team) => format!("teams.{team}.budgets"),
            Self::Key(team, key) => format!("teams.{team}.keys.{key}.budgets"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Team(team) => write!(f, "team {team}"),
            Self::Key(team, key) => write!(f, "key {team}/{key}"),
        }
    }
}

impl BudgetSpec {
    /// The budgets of one scope, in the order of the config. A second budget of the same window and unit
    /// gets `#2` in its id; they may differ in limit and in what they do when spent.
    ///
    /// # Errors
    /// At the first section that is not a budget, with its place counted from 0.
    pub fn list(scope: &Scope, sections: &[BudgetSection]) -> Result<Vec<Self>, (usize, BudgetFault)> {
        let mut specs: Vec<Self> = Vec::with_capacity(sections.len());
        for (place, section) in sections.iter().enumerate() {
            let mut spec = Self::new(scope.clone(), section).map_err(|fault| (place, fault))?;
            let alike = |s: &&Self| s.every == spec.every && s.limit.unit() == spec.limit.unit();
            let before = specs.iter().filter(alike).count();
            if before > 0 {
                spec.id = format!("{}#{}", spec.id, before + 1);
            }
            specs.push(spec);
        }
        Ok(specs)
    }

    /// One budget of a scope.
    ///
    /// # Errors
    /// When the section has no limit, two, or one below zero, or names no time zone.
    pub fn new(scope: Scope, section: &BudgetSection) -> Result<Self, BudgetFault> {
        let limit = match (section.limit_usd, section.limit_tokens) {
            (Some(usd), None) if usd.0 < NanoUsd::ZERO => return Err(BudgetFault::Negative),
            (Some(usd), None) => Limit::Usd(usd.0),
            (None, Some(tokens)) => Limit::Tokens(tokens),
            (Some(_), Some(_)) => return Err(BudgetFault::TwoLimits),
            (None, None) => return Err(BudgetFault::NoLimit),
        };
        let zone = section.time_zone.trim();
        let time_zone = TimeZone::get(zone).map_err(|_| BudgetFault::TimeZone { name: zone.into() })?;
        let mut warn_at = section.warn_at.clone();
        warn_at.sort_unstable();
        warn_at.dedup();
        Ok(Self {
            id: format!("{}/{}-{}", scope.id(), section.every.as_str(), limit.unit().as_str()),
            scope,
            limit,
            every: section.every,
            time_zone,
            warn_at,
            when_spent: section.when_spent,
            unpriced: section.unpriced,
        })
    }

    /// Whether a request of unknown price must be refused: it cannot be held to a limit in USD. A budget
    /// that only warns refuses nothing.
    #[must_use]
    pub fn refuses_unpriced(&self) -> bool {
        self.limit.unit() == Unit::Usd
            && self.when_spent == WhenSpent::Refuse
            && self.unpriced == Unpriced::Refuse
    }
}

impl Every {
    /// The word in the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

/// What is wrong with a budget section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetFault {
    /// No limit.
    #[error("has no limit: write `limit_usd` or `limit_tokens`")]
    NoLimit,
    /// Two limits.
    #[error("has both `limit_usd` and `limit_tokens`: make two budgets")]
    TwoLimits,
    /// A limit below zero.
    #[error("has a `limit_usd` below zero")]
    Negative,
    /// No such time zone.
    #[error("`{name}` is not an IANA time zone such as `Europe/Berlin`")]
    TimeZone {
        /// What was written.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Usd;

    fn section() -> BudgetSection {
        BudgetSection {
            limit_usd: Some(Usd(NanoUsd::from_usd(500))),
            limit_tokens: None,
            every: Every::Month,
            time_zone: "Europe/Berlin".into(),
            warn_at: vec![Percent(90), Percent(75), Percent(90)],
            when_spent: WhenSpent::Refuse,
            unpriced: Unpriced::Refuse,
        }
    }

    #[test]
    fn budgets_are_named_by_scope_window_and_unit() {
        let tokens = BudgetSection { limit_usd: None, limit_tokens: Some(5), ..section() };
        let key = Scope::Key("search".into(), "prod".into());
        let specs = BudgetSpec::list(&key, &[section(), tokens, section()]).unwrap();
        let ids: Vec<_> = specs.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(
            ids,
            ["key:search/prod/month-usd", "key:search/prod/month-tokens", "key:search/prod/month-usd#2"]
        );
        assert_eq!(specs[0].warn_at, [Percent(75), Percent(90)]);
        assert_eq!(specs[0].scope.to_string(), "key search/prod");
    }

    #[test]
    fn what_is_not_a_budget_is_refused_with_its_place() {
        let cases = [
            (BudgetSection { limit_usd: None, ..section() }, BudgetFault::NoLimit),
            (BudgetSection { limit_tokens: Some(1), ..section() }, BudgetFault::TwoLimits),
            (BudgetSection { limit_usd: Some(Usd(NanoUsd::new(-1))), ..section() }, BudgetFault::Negative),
            (
                BudgetSection { time_zone: "Mars/Base".into(), ..section() },
                BudgetFault::TimeZone { name: "Mars/Base".into() },
            ),
        ];
        for (bad, fault) in cases {
            let listed = BudgetSpec::list(&Scope::Team("search".into()), &[section(), bad]);
            assert_eq!(listed, Err((1, fault)));
        }
    }

    #[test]
    fn only_a_refusing_usd_budget_refuses_what_has_no_price() {
        let refuses = |section: BudgetSection| {
            BudgetSpec::new(Scope::Team("t".into()), &section).unwrap().refuses_unpriced()
        };
        assert!(refuses(section()));
        assert!(!refuses(BudgetSection { unpriced: Unpriced::Allow, ..section() }));
        assert!(!refuses(BudgetSection { when_spent: WhenSpent::Warn, ..section() }));
        assert!(!refuses(BudgetSection { limit_usd: None, limit_tokens: Some(1), ..section() }));
    }
}
