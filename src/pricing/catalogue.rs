//! The catalogue: which price a model has at a provider and a moment. Unknown is `None`, never a guess.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use thiserror::Error;

use super::book::Book;
use super::file::{Dated, Entry, FORMAT, Minute, Sheet, SourceNote, TierSheet};
use super::price::{Match, Price, Tier, from_section};
use super::rates::{Rates, Tariff, Unit};
use super::section::PriceSection;
use crate::base::case::lower;
use crate::base::clock::Timestamp;
use crate::base::money::PicoUsd;

/// Prices of models by provider, with the config's overrides on top. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// Of the file, and of the overrides if there are any.
    version: String,
    book: Arc<Book>,
    /// By name in lower case.
    overrides: Arc<HashMap<String, Arc<Price>>>,
}

/// Why a text is not a catalogue. The fault is the file's; trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CatalogueFault {
    /// Not JSON of the right shape.
    #[error("not a price catalogue: {0}")]
    Shape(String),
    /// Written for another version of Tollgate.
    #[error("the catalogue's format is `{0}`, this version reads `{FORMAT}`")]
    Format(String),
    /// A model refers to a provider that is not listed.
    #[error("model `{model}` names the provider `{provider}`, which is not listed")]
    NoProvider {
        /// The model.
        model: String,
        /// The missing provider.
        provider: String,
    },
    /// One name of one provider leads to two entries.
    #[error("the name `{0}` leads to two entries")]
    Twice(String),
    /// An entry without any rate would be free.
    #[error("model `{0}` has no rates")]
    NoRates(String),
    /// A rate beyond reason: a slip of the point.
    #[error("model `{model}`: {rate} pico-USD per {unit} is beyond {bound}", unit = unit.as_str())]
    OutOfBounds {
        /// The model.
        model: String,
        /// The unit.
        unit: Unit,
        /// The rate.
        rate: u64,
        /// The bound.
        bound: u64,
    },
}

/// The highest rate that is believed: 10,000 USD per million tokens, 1,000 USD per other unit.
#[must_use]
pub fn bound(unit: Unit) -> u64 {
    if unit.is_token() { 10_000_000_000 } else { 1_000_000_000_000_000 }
}

impl Catalogue {
    /// The catalogue that ships with Tollgate.
    ///
    /// # Panics
    /// Never in a build that passed its tests: they read the same text.
    #[must_use]
    pub fn shipped() -> Arc<Self> {
        static SHIPPED: LazyLock<Arc<Catalogue>> = LazyLock::new(|| {
            let book = Book::read(include_str!("../../config/prices.json"), Cow::Borrowed);
            Arc::new(Catalogue::of(book.expect("the shipped catalogue is checked by a test")))
        });
        SHIPPED.clone()
    }

    /// Reads a catalogue (docs/PRICES.md).
    ///
    /// # Errors
    /// When the text is not one, or contradicts itself; see [`CatalogueFault`].
    pub fn parse(json: &str) -> Result<Self, CatalogueFault> {
        Ok(Self::of(Book::read(json, |entry| Cow::Owned(entry.to_owned()))?))
    }

    fn of(book: Book) -> Self {
        Self { version: book.version.clone(), book: Arc::new(book), overrides: Arc::default() }
    }

    /// What a ledger row says priced it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the facts come from.
    #[must_use]
    pub fn sources(&self) -> &[SourceNote] {
        &self.book.sources
    }

    /// Every entry of the file, in its order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.book.entries()
    }

    /// The overridden names and their prices.
    pub fn overridden(&self) -> impl Iterator<Item = &Arc<Price>> {
        self.overrides.values()
    }

    /// This catalogue with the config's own prices, which win over any entry of exactly that name, in
    /// whatever case it is asked for. The version says so.
    #[must_use]
    pub fn with_overrides(&self, sections: &IndexMap<String, PriceSection>) -> Self {
        if sections.is_empty() {
            return self.clone();
        }
        let own = |(name, section): (&String, &PriceSection)| {
            (name.to_ascii_lowercase(), Arc::new(from_section(name, section)))
        };
        let prices = sections.iter().map(own);
        let version = format!("{}+config-{:08x}", self.version, fingerprint(sections));
        Self { version, book: Arc::clone(&self.book), overrides: Arc::new(prices.collect()) }
    }

    /// The price of `model` at the upstream's `host` and the moment `at`. `None`: not known.
    ///
    /// A known host asks that provider (and those whose models it serves) only. At an unknown host a
    /// name `provider/model` asks that provider, and a bare name the providers that own their names.
    #[must_use]
    pub fn price(&self, host: Option<&str>, model: &str, at: Timestamp) -> Option<Arc<Price>> {
        if let Some(own) = self.overrides.get(lower(model).as_ref()) {
            return Some(Arc::clone(own));
        }
        let (matched, entry) = self.find(host, model)?;
        Some(Arc::new(resolve(&entry, matched, at)))
    }

    /// The entry that prices `model`, and by which rule.
    #[must_use]
    pub fn find(&self, host: Option<&str>, model: &str) -> Option<(Match, Entry)> {
        if model.len() > LONGEST_NAME {
            return None;
        }
        let name = model.to_ascii_lowercase();
        self.book.find(host, &name)
    }
}

/// No catalogue has longer names; a caller may send any.
const LONGEST_NAME: usize = 256;

/// Reads an entry at a moment.
#[must_use]
pub fn resolve(entry: &Entry, matched: Match, at: Timestamp) -> Price {
    let standard = standard_sheet(entry, at);
    let tiers = Tier::SPECIAL.into_iter().filter_map(|tier| {
        let sheet = tier_sheet(entry, tier, standard, at)?;
        Some((tier, tariff(&sheet)))
    });
    Price {
        name: format!("{}/{}", entry.provider, entry.name),
        matched,
        standard: tariff(standard),
        tiers: tiers.collect(),
        max_output_tokens: entry.max_output,
        context_window: entry.context,
        source: entry.source.clone(),
        valid_until: next_change(entry, at),
    }
}

/// A tier's rates over the standard ones; `None` when it has none of its own.
fn tier_sheet(entry: &Entry, tier: Tier, standard: &Sheet, at: Timestamp) -> Option<Sheet> {
    let of = |wanted| {
        let in_force =
            move |sheet: &&TierSheet| sheet.tier == wanted && sheet.from.is_none_or(|day| day.0 <= at);
        entry.tiers.iter().filter(in_force).map(|sheet| &sheet.rates)
    };
    let mut own = of(tier).peekable();
    own.peek()?;
    // `fast` is another word for `priority` where both are priced
    let same = (tier == Tier::Fast).then(|| of(Tier::Priority)).into_iter().flatten();
    let mut sheet = Sheet::new();
    for (unit, ladder) in own.chain(same).flatten().chain(standard) {
        sheet.entry(*unit).or_insert_with(|| ladder.clone());
    }
    Some(sheet)
}

fn standard_sheet(entry: &Entry, at: Timestamp) -> &Sheet {
    let applies = |dated: &&Dated| {
        dated.from.is_none_or(|day| day.0 <= at) && dated.hours.is_none_or(|hours| within(hours, at))
    };
    entry.dated.iter().rev().find(applies).map_or(&entry.rates, |dated| &dated.rates)
}

fn within((from, to): (Minute, Minute), at: Timestamp) -> bool {
    let minute = Minute(at.as_secs().rem_euclid(DAY_SECS) / 60);
    if to < from { minute >= from || minute < to } else { from <= minute && minute < to }
}

/// The next moment at which another rate may apply.
fn next_change(entry: &Entry, at: Timestamp) -> Option<Timestamp> {
    let days = entry.dated.iter().filter_map(|dated| dated.from);
    let days = days.chain(entry.tiers.iter().filter_map(|sheet| sheet.from)).map(|day| day.0);
    let hours = entry.dated.iter().filter_map(|dated| dated.hours).flat_map(|(from, to)| [from, to]);
    let midnight = at.as_secs().div_euclid(DAY_SECS) * DAY_SECS;
    let hours = hours
        .flat_map(|minute| [0, DAY_SECS].map(|day| Timestamp::from_secs(midnight + day + minute.0 * 60)));
    days.chain(hours).filter(|moment| *moment > at).min()
}

const DAY_SECS: i64 = 86_400;

/// A sheet as a tariff: at each threshold of any unit, all the rates that apply above it.
fn tariff(sheet: &Sheet) -> Tariff {
    let rates = |read: &dyn Fn(&super::file::Ladder) -> u64| {
        sheet
            .iter()
            .fold(Rates::default(), |rates, (unit, ladder)| rates.with(*unit, PicoUsd::new(read(ladder))))
    };
    let mut thresholds: Vec<u64> =
        sheet.values().flat_map(|ladder| &ladder.steps).map(|step| step.0).collect();
    thresholds.sort_unstable();
    thresholds.dedup();
    let base = Tariff::flat(rates(&|ladder| ladder.base));
    thresholds
        .into_iter()
        .fold(base, |tariff, above| tariff.with_step(above, rates(&|ladder| ladder.above(above))))
}

/// The same for the same overrides on every machine; another for others.
fn fingerprint(sections: &IndexMap<String, PriceSection>) -> u32 {
    let mut lines: Vec<String> = sections
        .iter()
        .map(|(name, section)| {
            let price = from_section(name, section);
            format!("{name}\n{}\n{:?}\n", price.standard.rates(0).to_json(), price.max_output_tokens)
        })
        .collect();
    lines.sort_unstable();
    crc32fast::hash(lines.concat().as_bytes())
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
