//! What a report is asked: the dimensions, the span, the filters.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

use crate::store::ledger::Filter;
use crate::store::record::Record;

use super::reprice::Repricing;

/// A question to the books.
#[derive(Debug, Clone)]
pub struct Query {
    /// What to sum up by, outermost first. Nothing: one row.
    pub by: Vec<Dimension>,
    /// Which records count.
    pub filter: Filter,
    /// Where days begin.
    pub time_zone: TimeZone,
    /// What to look back with, beside what was recorded.
    pub repricing: Option<Repricing>,
}

impl Query {
    /// A question by `by` about `filter`, with days in UTC. A key's name means nothing without its
    /// team, so that `by` key alone is by team and key.
    #[must_use]
    pub fn new(mut by: Vec<Dimension>, filter: Filter) -> Self {
        let key = by.iter().position(|dimension| *dimension == Dimension::Key);
        if let Some(place) = key
            && !by.contains(&Dimension::Team)
        {
            by.insert(place, Dimension::Team);
        }
        Self { by, filter, time_zone: TimeZone::UTC, repricing: None }
    }
}

/// Something to sum up by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The caller's team.
    Team,
    /// The key's name within the team.
    Key,
    /// The model that was asked for.
    Model,
    /// The upstream that answered.
    Upstream,
    /// The end user as the client named them.
    User,
    /// The run as the client named it.
    Run,
    /// The session as the client named it.
    Session,
    /// The dialect's operation.
    Operation,
    /// How the request ended.
    Outcome,
    /// What the cache did.
    Cache,
    /// The error's code.
    Error,
    /// What an estimate rests on; empty where usage was reported.
    Estimate,
    /// The calendar day on which it began.
    Day,
    /// The value of one tag.
    Tag(String),
}

impl Dimension {
    const NAMED: [(&'static str, Self); 13] = [
        ("team", Self::Team),
        ("key", Self::Key),
        ("model", Self::Model),
        ("upstream", Self::Upstream),
        ("user", Self::User),
        ("run", Self::Run),
        ("session", Self::Session),
        ("operation", Self::Operation),
        ("outcome", Self::Outcome),
        ("cache", Self::Cache),
        ("error", Self::Error),
        ("estimate", Self::Estimate),
        ("day", Self::Day),
    ];
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Tag(name) = self {
            return write!(f, "tag:{name}");
        }
        let named = Self::NAMED.iter().find(|(_, dimension)| dimension == self);
        f.write_str(named.expect("every dimension but a tag is named").0)
    }
}

/// The text names no dimension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is nothing to sum up by: expected team, key, model, upstream, user, run, session, operation, \
     outcome, cache, error, estimate, day or tag:NAME"
)]
pub struct NotADimension(String);

impl FromStr for Dimension {
    type Err = NotADimension;

    fn from_str(text: &str) -> Result<Self, NotADimension> {
        let text = text.trim();
        if let Some(name) = text.strip_prefix("tag:").filter(|name| !name.is_empty()) {
            return Ok(Self::Tag(name.to_owned()));
        }
        let named = Self::NAMED.into_iter().find(|(name, _)| *name == text);
        named.map(|(_, dimension)| dimension).ok_or_else(|| NotADimension(text.to_owned()))
    }
}

/// Tells which group a record belongs to.
pub(super) struct Grouping {
    by: Vec<Dimension>,
    time_zone: TimeZone,
}

impl Grouping {
    pub(super) fn new(query: &Query) -> Self {
        Self { by: query.by.clone(), time_zone: query.time_zone.clone() }
    }

    /// Writes the record's value of every dimension into `values`, whose strings are used again.
    pub(super) fn values_of(&self, record: &Record, values: &mut Vec<String>) {
        values.resize(self.by.len(), String::new());
        for (dimension, value) in self.by.iter().zip(values) {
            value.clear();
            match dimension {
                Dimension::Team => value.push_str(&record.team),
                Dimension::Key => value.push_str(&record.key),
                Dimension::Model => value.push_str(&record.model),
                Dimension::Upstream => value.push_str(&record.upstream),
                Dimension::User => value.push_str(&record.user),
                Dimension::Run => value.push_str(&record.run),
                Dimension::Session => value.push_str(&record.session),
                Dimension::Operation => value.push_str(&record.operation),
                Dimension::Estimate => value.push_str(&record.estimate),
                Dimension::Outcome => value.push_str(record.outcome.as_str()),
                Dimension::Cache => value.push_str(record.cache.as_str()),
                Dimension::Error => value.push_str(&record.error),
                Dimension::Day => value.push_str(&self.day(record.started_at)),
                Dimension::Tag(name) => value.push_str(record.tags.get(name).map_or("", String::as_str)),
            }
        }
    }

    fn day(&self, nanos: i64) -> String {
        match jiff::Timestamp::from_nanosecond(i128::from(nanos)) {
            Ok(begun) => self.time_zone.to_datetime(begun).date().to_string(),
            // i64 nanoseconds end in 2262, well within what calendars know
            Err(_) => String::new(),
        }
    }
}
