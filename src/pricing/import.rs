//! Makes a catalogue of the public ones: knows which format a text is, joins two, checks the result.

use std::collections::{BTreeMap, HashSet};

use thiserror::Error;

use super::catalogue::{Catalogue, CatalogueFault, bound};
use super::file::{CatalogueFile, Entry, FORMAT, ProviderNote, Sheet, SourceNote};
use super::rates::Unit;
use super::{import_genai, import_litellm, import_merge};
use crate::base::units::Decimal;

/// A public catalogue, as text.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The text.
    pub text: &'a str,
    /// Its version, for the header; the formats do not carry one.
    pub version: &'a str,
}

/// What to make of the sources.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The base.
    pub base: Source<'a>,
    /// Fills the gaps of the base, never replaces its rates.
    pub merge: Option<Source<'a>>,
    /// The version that ledger rows will name.
    pub version: &'a str,
    /// Only these providers; empty: all.
    pub providers: &'a [String],
}

/// What an import made, and what it left out.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The catalogue, checked.
    pub file: CatalogueFile,
    /// What happened on the way.
    pub report: Report,
}

/// Counts of an import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Entries of the base taken over.
    pub taken: usize,
    /// Entries that the merged source added.
    pub added: usize,
    /// Entries of the base with gaps that the merged source filled.
    pub filled: usize,
    /// Entries left out, by reason.
    pub left_out: BTreeMap<&'static str, usize>,
    /// Rates left out because no usage counts their unit, by the source's word.
    pub unknown_units: BTreeMap<String, usize>,
    /// Rates finer than a pico-USD, rounded half up.
    pub rounded: usize,
}

impl Report {
    /// Counts one entry left out.
    pub(super) fn leave_out(&mut self, reason: &'static str) {
        *self.left_out.entry(reason).or_default() += 1;
    }

    fn absorb(&mut self, other: Self) {
        self.rounded += other.rounded;
        for (reason, count) in other.left_out {
            *self.left_out.entry(reason).or_default() += count;
        }
        for (unit, count) in other.unknown_units {
            *self.unknown_units.entry(unit).or_default() += count;
        }
    }
}

/// Why nothing was made. The fault is the source's or the caller's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportFault {
    /// Neither of the known formats.
    #[error(
        "neither a LiteLLM `model_prices_and_context_window.json` nor a genai-prices v2 `data.json`: {0}"
    )]
    Unknown(String),
    /// Nothing in it can be used.
    #[error("no entry of the file can be used")]
    Empty,
    /// The result contradicts itself.
    #[error("the result would not be a catalogue: {0}")]
    Result(#[from] CatalogueFault),
}

/// Entries and providers read from one public catalogue.
pub(super) struct Draft {
    pub(super) source: SourceNote,
    pub(super) providers: Vec<ProviderNote>,
    pub(super) entries: Vec<Entry>,
    /// Provider and name of models whose snapshots the source prices by name too.
    pub(super) covers: HashSet<(String, String)>,
    pub(super) report: Report,
}

/// Makes a catalogue.
///
/// # Errors
/// When a text is of no known format, or the result is not a catalogue.
pub fn import(plan: &Plan<'_>) -> Result<Imported, ImportFault> {
    let base = read(plan.base, plan.providers)?;
    let (mut report, covers) = (base.report, base.covers);
    report.taken = base.entries.len();
    let mut file = CatalogueFile {
        format: FORMAT.to_owned(),
        version: plan.version.to_owned(),
        sources: vec![base.source],
        providers: base.providers,
        models: base.entries,
    };
    if let Some(source) = plan.merge {
        let mut extra = read(source, plan.providers)?;
        report.absorb(std::mem::take(&mut extra.report));
        import_merge::fill(&mut file, extra, &covers, &mut report);
    }
    if file.models.is_empty() {
        return Err(ImportFault::Empty);
    }
    order_owners(&mut file.providers);
    file.shorten();
    Catalogue::parse(&file.render())?;
    Ok(Imported { file, report })
}

/// Models whose input or output rate differs tenfold or more between a catalogue and a new file: more
/// often a slip of the point than a price.
#[must_use]
pub fn jumps(known: &Catalogue, new: &CatalogueFile) -> Vec<String> {
    let known: Vec<Entry> = known.entries().collect();
    let by_name: BTreeMap<(&str, &str), &Entry> =
        known.iter().map(|entry| ((entry.provider.as_str(), entry.name.as_str()), entry)).collect();
    let jumped = |entry: &&Entry| {
        let before = by_name.get(&(entry.provider.as_str(), entry.name.as_str()));
        before.is_some_and(|before| {
            [Unit::Input, Unit::Output].into_iter().any(|unit| differ_tenfold(before, entry, unit))
        })
    };
    new.models.iter().filter(jumped).map(|entry| format!("{}/{}", entry.provider, entry.name)).collect()
}

fn differ_tenfold(before: &Entry, after: &Entry, unit: Unit) -> bool {
    let rate = |entry: &Entry| import_merge::latest(entry).get(&unit).map(|ladder| ladder.base);
    match (rate(before), rate(after)) {
        (Some(old), Some(new)) => old.min(new).saturating_mul(10) < old.max(new) && old.min(new) > 0,
        _ => false,
    }
}

fn read(source: Source<'_>, only: &[String]) -> Result<Draft, ImportFault> {
    let mut draft = match source.text.trim_start().as_bytes().first() {
        Some(b'[') => import_genai::read(source.text, source.version),
        Some(b'{') => import_litellm::read(source.text, source.version),
        _ => Err("it is no JSON object or list".to_owned()),
    }
    .map_err(ImportFault::Unknown)?;
    if !only.is_empty() {
        draft.providers.retain(|note| only.contains(&note.id));
        draft.entries.retain(|entry| only.contains(&entry.provider));
        for note in &mut draft.providers {
            note.serves.retain(|id| only.contains(id));
        }
    }
    Ok(draft)
}

/// Those whose names are their own, in the order in which they are asked for a bare name. Google is late:
/// it also serves models of others.
const OWNERS: [&str; 14] = [
    "openai",
    "anthropic",
    "mistral",
    "deepseek",
    "x-ai",
    "cohere",
    "moonshotai",
    "minimax",
    "zai",
    "voyageai",
    "meta",
    "elevenlabs",
    "google",
    "perplexity",
];

fn order_owners(providers: &mut [ProviderNote]) {
    let rank = |id: &str| OWNERS.iter().position(|owner| *owner == id);
    for note in providers.iter_mut() {
        note.owner = rank(&note.id).is_some();
    }
    providers.sort_by(|a, b| {
        let place = |note: &ProviderNote| (rank(&note.id).unwrap_or(OWNERS.len()), note.id.clone());
        place(a).cmp(&place(b))
    });
}

/// Reads a JSON number as pico-USD per unit, never through a float: the number is USD per
/// `10^exponent / divisor` units. Says whether it had to be rounded.
pub(super) fn picos(number: &str, exponent: i32, divisor: i128) -> Result<(u64, bool), String> {
    // digits finer than a pico-USD: enough for the noise of floats that were printed in full
    const SPARE: i32 = 16;
    let fine = Decimal::parse(number)?.scaled(PICO - exponent + SPARE)?;
    let coarse = 10_i128.pow(SPARE.unsigned_abs()) * divisor;
    let fault = || format!("`{number}` is not a rate");
    let rounded = fine.checked_add(coarse / 2).ok_or_else(fault)?.div_euclid(coarse);
    if fine < 0 {
        return Err(fault());
    }
    let rate = u64::try_from(rounded).map_err(|_| fault())?;
    Ok((rate, fine % coarse != 0))
}

const PICO: i32 = 12;

/// Whether every rate of the sheet is within [`bound`].
pub(super) fn believable(sheet: &Sheet) -> bool {
    sheet.iter().all(|(unit, ladder)| ladder.highest() <= bound(*unit))
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
