//! The catalogue's file format (docs/PRICES.md): one JSON object, one provider or model per line.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::price::Tier;
use super::rates::Unit;
use crate::base::clock::Timestamp;

/// The `format` that this version of Tollgate reads and writes.
pub const FORMAT: &str = "tollgate-prices/1";

/// A whole catalogue as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueFile {
    /// Always [`FORMAT`].
    pub format: String,
    /// Names this catalogue on ledger rows.
    pub version: String,
    /// Where its facts come from.
    pub sources: Vec<SourceNote>,
    /// Who serves models. Owners first: their order decides whose a bare name is.
    pub providers: Vec<ProviderNote>,
    /// The prices.
    pub models: Vec<Entry>,
}

/// A public catalogue that facts were taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceNote {
    /// Its name; what `Entry::source` refers to.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence.
    pub licence: String,
    /// Its home.
    pub url: String,
}

/// Who serves models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderNote {
    /// Short name; the part of a model's full name before the `/`.
    pub id: String,
    /// Host names; one that starts with a dot is a suffix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Whether a bare model name at an unknown host may be theirs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owner: bool,
    /// Providers whose models it serves at their prices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<String>,
}

/// One model of one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Whose.
    pub provider: String,
    /// The model's name.
    pub name: String,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The most tokens it takes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u64>,
    /// The most tokens of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// The rates, while none of `dated` applies.
    pub rates: Sheet,
    /// Rates that replace those above; the last that applies wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dated: Vec<Dated>,
    /// Rates by tier; they replace the standard ones unit by unit. The first that applies wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<TierSheet>,
    /// The source's name. Empty: the first of the file's sources.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// Rates from a day on, or within hours of each day (UTC, end excluded).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dated {
    /// First day, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Day>,
    /// From and to, `["16:30","00:30"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<(Minute, Minute)>,
    /// The rates.
    pub rates: Sheet,
}

/// Rates of a tier, perhaps from a day on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSheet {
    /// The tier.
    pub tier: Tier,
    /// First day, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Day>,
    /// The rates that differ.
    pub rates: Sheet,
}

/// Rates by unit.
pub type Sheet = BTreeMap<Unit, Ladder>;

/// A rate in pico-USD per unit, with its long-context steps: `2500000` or `[2500000,272000,5000000]`:
/// base, threshold, rate above the threshold, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// Up to and with the first threshold.
    pub base: u64,
    /// Threshold in input tokens, and the rate strictly above it.
    pub steps: Vec<(u64, u64)>,
}

impl Ladder {
    /// The same rate for every input.
    #[must_use]
    pub const fn flat(base: u64) -> Self {
        Self { base, steps: Vec::new() }
    }

    /// The highest of its rates.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.steps.iter().map(|step| step.1).fold(self.base, u64::max)
    }

    /// The rate for inputs above `threshold`.
    #[must_use]
    pub fn above(&self, threshold: u64) -> u64 {
        let passed = self.steps.iter().rev().find(|(above, _)| *above <= threshold);
        passed.map_or(self.base, |(_, rate)| *rate)
    }
}

impl Serialize for Ladder {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.steps.is_empty() {
            return to.serialize_u64(self.base);
        }
        let mut list = to.serialize_seq(None)?;
        list.serialize_element(&self.base)?;
        for (above, rate) in &self.steps {
            list.serialize_element(above)?;
            list.serialize_element(rate)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Ladder {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LadderVisitor)
    }
}

struct LadderVisitor;

impl<'de> Visitor<'de> for LadderVisitor {
    type Value = Ladder;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rate in pico-USD, or [rate, threshold, rate above it, ...]")
    }

    fn visit_u64<E: de::Error>(self, base: u64) -> Result<Ladder, E> {
        Ok(Ladder::flat(base))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ladder, A::Error> {
        let short = || de::Error::custom("a ladder is [rate, threshold, rate, ...]");
        let mut ladder = Ladder::flat(list.next_element()?.ok_or_else(short)?);
        while let Some(above) = list.next_element::<u64>()? {
            if ladder.steps.last().is_some_and(|(before, _)| *before >= above) {
                return Err(de::Error::custom("the thresholds of a ladder must rise"));
            }
            ladder.steps.push((above, list.next_element()?.ok_or_else(short)?));
        }
        Ok(ladder)
    }
}

/// A day, by its first instant in UTC. Written `2026-08-21`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub Timestamp);

impl Day {
    /// Reads `2026-08-21`.
    ///
    /// # Errors
    /// When the text is not a day.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |_| format!("`{text}` is not a day such as 2026-08-21");
        let day: jiff::civil::Date = text.parse().map_err(fault)?;
        let start = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(fault)?;
        Ok(Self(Timestamp::from_secs(start.timestamp().as_second())))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_second(self.0.as_secs()).unwrap_or_default();
        f.pad(&instant.strftime("%Y-%m-%d").to_string())
    }
}

/// A minute of the day in UTC. Written `16:30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(pub i64);

impl Minute {
    /// Reads `16:30`, and the `16:30:00Z` and `16:30:00+00:00` of other catalogues.
    ///
    /// # Errors
    /// When the text is not a whole minute in UTC.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is not a time of day in UTC such as 16:30");
        let bare = text.trim_end_matches("+00:00").trim_end_matches('Z');
        let (hour, rest) = bare.split_once(':').ok_or_else(fault)?;
        let minute = rest.strip_suffix(":00").unwrap_or(rest);
        let (hour, minute): (i64, i64) =
            (hour.parse().map_err(|_| fault())?, minute.parse().map_err(|_| fault())?);
        let in_range = (0..24).contains(&hour) && (0..60).contains(&minute);
        if in_range { Ok(Self(hour * 60 + minute)) } else { Err(fault()) }
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// Reads and writes a type as its text.
macro_rules! written_as_text {
    ($($type:ident),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )+};
}

written_as_text!(Day, Minute);

impl CatalogueFile {
    /// Leaves the name of the first source out of the entries, where it is the default.
    pub fn shorten(&mut self) {
        let Some(first) = self.sources.first() else { return };
        for entry in self.models.iter_mut().filter(|entry| entry.source == first.name) {
            entry.source.clear();
        }
    }

    /// The file's text: header, then one line per provider and per model, so that changes read well.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from("{\n");
        // writing to a String cannot fail
        let _ = writeln!(text, "\"format\":{},", json(&self.format));
        let _ = writeln!(text, "\"version\":{},", json(&self.version));
        let _ = writeln!(text, "\"sources\":[\n{}\n],", lines(&self.sources));
        let _ = writeln!(text, "\"providers\":[\n{}\n],", lines(&self.providers));
        let _ = writeln!(text, "\"models\":[\n{}\n]", lines(&self.models));
        text.push_str("}\n");
        text
    }
}

fn lines<T: Serialize>(items: &[T]) -> String {
    items.iter().map(json).collect::<Vec<_>>().join(",\n")
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("catalogue values have string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::catalogue::Catalogue;

    #[test]
    fn ladders_days_and_minutes_read_back_as_written() {
        for text in ["2500000", "[1,272000,2]", "[1,32000,2,128000,3]"] {
            let ladder: Ladder = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&ladder).unwrap(), text);
        }
        assert_eq!(Day::parse("2026-08-21").unwrap().to_string(), "2026-08-21");
        assert_eq!(Minute::parse("00:30:00+00:00").unwrap().to_string(), "00:30");
    }

    #[test]
    fn what_is_not_a_ladder_day_or_minute_is_refused() {
        for text in ["[]", "[1,2]", "[1,5,2,5,3]", "-1", "0.5", "\"1\""] {
            assert!(serde_json::from_str::<Ladder>(text).is_err(), "{text}");
        }
        assert!(Day::parse("2026-02-30").is_err());
        assert!(Minute::parse("24:00").is_err() && Minute::parse("16:30:01").is_err());
    }

    #[test]
    fn a_ladder_knows_its_rate_above_any_threshold() {
        let ladder = Ladder { base: 1, steps: vec![(100, 2), (200, 3)] };
        assert_eq!([99, 100, 150, 200, 900].map(|above| ladder.above(above)), [1, 2, 2, 3, 3]);
    }

    #[test]
    fn the_first_source_is_told_once_and_known_of_every_entry() {
        let written = include_str!("../../config/prices.json");
        let told: CatalogueFile = serde_json::from_str(written).unwrap();
        let first = told.sources[0].name.clone();
        assert!(told.models.iter().any(|entry| entry.source.is_empty()));
        assert!(told.models.iter().all(|entry| entry.source != first));
        let mut whole = told.clone();
        whole.models = Catalogue::shipped().entries().collect();
        assert!(whole.models.iter().all(|entry| !entry.source.is_empty()));
        assert!(whole.models.iter().any(|entry| entry.source == first));
        whole.shorten();
        assert!(whole == told, "nothing else has changed");
    }
}
