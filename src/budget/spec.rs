//! What a budget is, built from its section of the config and checked.

use std::fmt;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::amount::{Limit, Unit};
use super::counted::Counted;
use super::section::{BudgetSection, Every, Per, Unpriced, WeekDay, WhenSpent};
use super::window::{Period, Window, window};
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::units::Percent;

/// One budget of one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetSpec {
    /// Names it across reloads, in errors and metrics: `team:search/month-usd`. Budgets that count different
    /// things have different ids.
    pub id: String,
    /// What it counts.
    pub counted: Counted,
    /// How much may be spent in a window, by each account.
    pub limit: Limit,
    /// How windows follow each other.
    pub period: Period,
    /// Where days begin.
    pub time_zone: TimeZone,
    /// Shares of the limit at which to warn, ascending.
    pub warn_at: Vec<Percent>,
    /// What a spent budget does.
    pub when_spent: WhenSpent,
    /// It only counts and reports.
    pub shadow: bool,
    /// What it does with a request of unknown price.
    pub unpriced: Unpriced,
}

/// Who holds a budget: whose list of `budgets` it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everyone together.
    Everything,
    /// All keys of a team.
    Team(String),
    /// One key: its team and its name.
    Key(String, String),
}

impl Scope {
    /// The name in budget ids: `everything`, `team:search`, `key:search/prod`.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Everything => "everything".into(),
            Self::Team(team) => format!("team:{team}"),
            Self::Key(team, key) => format!("key:{team}/{key}"),
        }
    }

    /// Its kind in one word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Team(_) => "team",
            Self::Key(..) => "key",
        }
    }

    /// Where in the config its budgets stand.
    pub(super) fn setting(&self) -> String {
        match self {
            Self::Everything => "budgets".into(),
            Self::Team(team) => format!("teams.{team}.budgets"),
            Self::Key(team, key) => format!("teams.{team}.keys.{key}.budgets"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Team(team) => write!(f, "team {team}"),
            Self::Key(team, key) => write!(f, "key {team}/{key}"),
        }
    }
}

impl BudgetSpec {
    /// The budgets of one holder, in the order of the config. A second budget that counts the same in
    /// windows of the same kind gets `#2` in its id; they may differ in limit and in what they do when spent.
    ///
    /// # Errors
    /// At the first section that is not a budget, with its place counted from 0.
    pub fn list(scope: &Scope, sections: &[BudgetSection]) -> Result<Vec<Self>, (usize, BudgetFault)> {
        let mut specs: Vec<Self> = Vec::with_capacity(sections.len());
        let mut plain_ids: Vec<String> = Vec::with_capacity(sections.len());
        for (place, section) in sections.iter().enumerate() {
            let mut spec = Self::new(scope.clone(), section).map_err(|fault| (place, fault))?;
            let before = plain_ids.iter().filter(|id| **id == spec.id).count();
            plain_ids.push(spec.id.clone());
            if before > 0 {
                spec.id = format!("{}#{}", spec.id, before + 1);
            }
            specs.push(spec);
        }
        Ok(specs)
    }

    /// One budget of a holder.
    ///
    /// # Errors
    /// When the section has no limit, two, or one below zero, no window or two, or names no time zone.
    pub fn new(scope: Scope, section: &BudgetSection) -> Result<Self, BudgetFault> {
        let counted = Counted::new(scope, section);
        let (limit, period) = (limit(section)?, period(section)?);
        let zone = section.time_zone.trim();
        let time_zone = TimeZone::get(zone).map_err(|_| BudgetFault::TimeZone { name: zone.into() })?;
        let mut warn_at = section.warn_at.clone();
        warn_at.sort_unstable();
        warn_at.dedup();
        Ok(Self {
            id: id(&counted, limit.unit(), period),
            counted,
            limit,
            period,
            time_zone,
            warn_at,
            when_spent: section.when_spent,
            shadow: section.shadow,
            unpriced: section.unpriced.clone(),
        })
    }

    /// Whether it can say no to a request.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.shadow && self.when_spent != WhenSpent::Warn
    }

    /// The window that `now` is in.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> Window {
        window(self.period, &self.time_zone, now)
    }

    /// Whether windows of `other` begin elsewhere.
    pub(super) fn windows_differ(&self, other: &Self) -> bool {
        self.period != other.period || self.time_zone != other.time_zone
    }
}

/// Where windows begin is no part of it: a budget whose reset day moves keeps its name and is counted anew.
fn id(counted: &Counted, unit: Unit, period: Period) -> String {
    let period = match period {
        Period::Rolling(span) => format!("rolling-{}", crate::base::units::Span(span)),
        fixed => fixed.as_str().into(),
    };
    format!("{}/{period}-{}{}", counted.scope.id(), unit.as_str(), counted.suffix())
}

fn limit(section: &BudgetSection) -> Result<Limit, BudgetFault> {
    match (section.limit_usd, section.limit_tokens, section.limit_requests) {
        (Some(usd), None, None) if usd.0 < NanoUsd::ZERO => Err(BudgetFault::Negative),
        (Some(usd), None, None) => Ok(Limit::Usd(usd.0)),
        (None, Some(tokens), None) => Ok(Limit::Tokens(tokens)),
        (None, None, Some(requests)) => Ok(Limit::Requests(requests)),
        (None, None, None) if section.per == Some(Per::Run) => Ok(Limit::Usd(PER_RUN)),
        (None, None, None) => Err(BudgetFault::NoLimit),
        _ => Err(BudgetFault::TwoLimits),
    }
}

/// Some hundred calls of a small model, or a few dozen of a large one: more than most runs take, and little
/// when one runs away.
const PER_RUN: NanoUsd = NanoUsd::new(500_000_000);

fn period(section: &BudgetSection) -> Result<Period, BudgetFault> {
    let period = match (section.every, section.rolling) {
        (Some(Every::Hour), None) => Period::Hour,
        (Some(Every::Day), None) => Period::Day,
        (Some(Every::Week), None) => {
            Period::Week { first_day: weekday(section.first_day.unwrap_or_default()) }
        }
        (Some(Every::Month), None) => {
            let day = i8::try_from(section.reset_day.unwrap_or(1)).ok().filter(|day| (1..=31).contains(day));
            Period::Month { reset_day: day.ok_or(BudgetFault::ResetDay)? }
        }
        (Some(Every::Total), None) => Period::Total,
        (None, Some(span)) if span.0 < SHORTEST_ROLLING || span.0 > LONGEST_ROLLING => {
            return Err(BudgetFault::Rolling);
        }
        (None, Some(span)) => Period::Rolling(span.0),
        (None, None) if section.per == Some(Per::Run) => Period::Total,
        (None, None) => return Err(BudgetFault::NoWindow),
        (Some(_), Some(_)) => return Err(BudgetFault::TwoWindows),
    };
    if section.first_day.is_some() && !matches!(period, Period::Week { .. }) {
        return Err(BudgetFault::FirstDay);
    }
    if section.reset_day.is_some() && !matches!(period, Period::Month { .. }) {
        return Err(BudgetFault::ResetDay);
    }
    Ok(period)
}

/// Buckets of a second; below it is a rate limit.
const SHORTEST_ROLLING: std::time::Duration = std::time::Duration::from_mins(1);
const LONGEST_ROLLING: std::time::Duration = std::time::Duration::from_hours(24 * 366);

const fn weekday(day: WeekDay) -> Weekday {
    match day {
        WeekDay::Monday => Weekday::Monday,
        WeekDay::Tuesday => Weekday::Tuesday,
        WeekDay::Wednesday => Weekday::Wednesday,
        WeekDay::Thursday => Weekday::Thursday,
        WeekDay::Friday => Weekday::Friday,
        WeekDay::Saturday => Weekday::Saturday,
        WeekDay::Sunday => Weekday::Sunday,
    }
}

/// What is wrong with a budget section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetFault {
    /// No limit.
    #[error("has no limit: write `limit_usd`, `limit_tokens` or `limit_requests`")]
    NoLimit,
    /// Two limits.
    #[error("has two limits: make two budgets, each holds alone")]
    TwoLimits,
    /// A limit below zero.
    #[error("has a `limit_usd` below zero")]
    Negative,
    /// No window.
    #[error("has no window: write `every` or `rolling`")]
    NoWindow,
    /// Two windows.
    #[error("has both `every` and `rolling`: make two budgets")]
    TwoWindows,
    /// A first day where there is no week.
    #[error("has a `first_day`, which is for `every: week`")]
    FirstDay,
    /// A reset day where there is no month, or in none.
    #[error("has a `reset_day`, which is for `every: month`, 1 to 31")]
    ResetDay,
    /// A rolling window that is too short or too long.
    #[error("has a `rolling` window that is not between 1m and 366d")]
    Rolling,
    /// No such time zone.
    #[error("`{name}` is not an IANA time zone such as `Europe/Berlin`")]
    TimeZone {
        /// What was written.
        name: String,
    },
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
