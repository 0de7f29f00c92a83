//! What a key may do: which models, until when. The team's rules and the key's own hold together.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::section::Access;
use crate::base::clock::Timestamp;
use crate::base::glob::Glob;

/// The rules of one key: its team's and its own, both of which must agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Lists of which each must allow a model; no list allows all.
    models: Vec<Vec<Glob>>,
    /// The first instant at which the key is no longer valid.
    ends: Option<Timestamp>,
}

impl Rules {
    /// The rules of a key in a team.
    ///
    /// # Errors
    /// When an expiry is neither an instant nor a date.
    pub fn new(team: &Access, key: &Access) -> Result<Self, NotAnExpiry> {
        let globs = |access: &Access| Some(access.models.as_ref()?.iter().map(|m| Glob::new(m)).collect());
        let models = [team, key].into_iter().filter_map(globs).collect();
        let ends = |access: &Access| access.expires.as_deref().map(end_of_validity).transpose();
        let ends = [ends(team)?, ends(key)?].into_iter().flatten().min();
        Ok(Self { models, ends })
    }

    /// Whether team and key both allow the model.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        self.models.iter().all(|list| list.iter().any(|glob| glob.matches(model)))
    }

    /// Whether the key's time is over.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> bool {
        self.ends.is_some_and(|end| now >= end)
    }

    /// The first instant at which the key is no longer valid.
    #[must_use]
    pub const fn ends(&self) -> Option<Timestamp> {
        self.ends
    }
}

/// The text is not an expiry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an expiry: write an instant such as 2027-01-31T18:00:00Z, or a date such as \
     2027-01-31 (valid through its end, UTC)"
)]
pub struct NotAnExpiry {
    /// What was written.
    pub text: String,
}

/// The first invalid instant: just after the last valid one, or the midnight that ends the date.
fn end_of_validity(text: &str) -> Result<Timestamp, NotAnExpiry> {
    let fault = || NotAnExpiry { text: text.into() };
    if let Ok(last) = text.parse::<jiff::Timestamp>() {
        return to_nanos(last)
            .and_then(|nanos| nanos.checked_add(1))
            .map(Timestamp::from_nanos)
            .ok_or_else(fault);
    }
    // a date with a time but no offset would be read as the date alone
    if text.len() != DATE_LENGTH {
        return Err(fault());
    }
    let date: Date = text.parse().map_err(|_| fault())?;
    let midnight = date.tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC)).map_err(|_| fault())?;
    to_nanos(midnight.timestamp()).map(Timestamp::from_nanos).ok_or_else(fault)
}

fn to_nanos(instant: jiff::Timestamp) -> Option<i64> {
    i64::try_from(instant.as_nanosecond()).ok()
}

/// `2027-01-31`.
const DATE_LENGTH: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn access(models: Option<&[&str]>, expires: Option<&str>) -> Access {
        let models = models.map(|list| list.iter().map(|m| (*m).into()).collect());
        Access { models, expires: expires.map(Into::into) }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::from_nanos(to_nanos(text.parse().unwrap()).unwrap())
    }

    #[test]
    fn team_and_key_must_both_allow_a_model() {
        let rules =
            Rules::new(&access(Some(&["gpt-4*", "o?"]), None), &access(Some(&["*-mini"]), None)).unwrap();
        assert!(rules.allows("gpt-4o-mini"));
        for refused in ["gpt-4o", "claude-mini", "o3", ""] {
            assert!(!rules.allows(refused), "{refused}");
        }
        assert!(Rules::default().allows("anything"));
        assert!(!Rules::new(&access(Some(&[]), None), &Access::default()).unwrap().allows("anything"));
    }

    #[test]
    fn a_date_is_valid_through_its_end() {
        let rules = Rules::new(&Access::default(), &access(None, Some("2027-01-31"))).unwrap();
        assert!(!rules.expired(at("2027-01-31T23:59:59.999999999Z")));
        assert!(rules.expired(at("2027-02-01T00:00:00Z")));
    }

    #[test]
    fn an_instant_is_the_last_valid_one() {
        let rules = Rules::new(&access(None, Some("2027-01-31T01:00:00+01:00")), &Access::default()).unwrap();
        assert!(!rules.expired(at("2027-01-31T00:00:00Z")));
        assert!(rules.expired(at("2027-01-31T00:00:00.000000001Z")));
    }

    #[test]
    fn the_earlier_of_two_ends_counts() {
        let rules = Rules::new(&access(None, Some("2027-01-01")), &access(None, Some("2026-12-01"))).unwrap();
        assert_eq!(rules.ends(), Some(at("2026-12-02T00:00:00Z")));
    }

    #[test]
    fn what_is_not_an_expiry_is_named() {
        for text in ["", "soon", "2027-02-30", "2027-01-31T00:00:00", "31.01.2027", "9999-12-31"] {
            let fault = Rules::new(&access(None, Some(text)), &Access::default()).unwrap_err();
            assert!(fault.to_string().contains(&format!("`{text}`")));
        }
    }
}
