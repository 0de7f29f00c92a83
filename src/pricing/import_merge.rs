//! Fills the gaps of one catalogue from another. A rate that is there is never replaced.

use std::collections::{HashMap, HashSet};

use super::file::{CatalogueFile, Entry, ProviderNote, Sheet, TierSheet};
use super::import::{Draft, Report};
use super::names::candidates;
use super::price::Match;
use super::rates::Unit;

/// Adds models and providers that are missing; fills limits that are missing; and, where both agree
/// on the plain input and output rates, units and tiers that are missing.
pub(super) fn fill(
    file: &mut CatalogueFile,
    extra: Draft,
    covers: &HashSet<(String, String)>,
    report: &mut Report,
) {
    file.sources.push(extra.source);
    for note in extra.providers {
        if !file.providers.iter().any(|known| known.id == note.id) {
            file.providers.push(note);
        }
    }
    let index = Index::new(file);
    for entry in extra.entries {
        match index.find(&entry) {
            Some(Found { place, exact: true, .. }) => {
                let known = &mut file.models[place];
                let (limits, rates) = (fill_limits(known, &entry), fill_rates(known, &entry));
                report.filled += usize::from(limits || rates);
            }
            // a snapshot, or a model of another provider served here: at its base's price it needs no line
            Some(Found { place, name, .. })
                if agree(&file.models[place], &entry)
                    || covers.contains(&(entry.provider.clone(), name.clone())) =>
            {
                report.leave_out("as its base or its maker's model");
            }
            Some(_) | None => {
                report.added += 1;
                file.models.push(entry);
            }
        }
    }
    drop_empty_providers(file);
}

/// An entry of the base.
struct Found {
    place: usize,
    /// Whether it is the very model, not one that stands for it.
    exact: bool,
    /// The name it was found by.
    name: String,
}

/// Where names lead in the base.
struct Index {
    by_name: HashMap<(String, String), usize>,
    serves: HashMap<String, Vec<String>>,
}

impl Index {
    fn new(file: &CatalogueFile) -> Self {
        let mut by_name = HashMap::new();
        for (place, entry) in file.models.iter().enumerate() {
            for name in std::iter::once(&entry.name).chain(&entry.aliases) {
                by_name.insert((entry.provider.clone(), name.to_ascii_lowercase()), place);
            }
        }
        let serves = |note: &ProviderNote| (note.id.clone(), note.serves.clone());
        Self { by_name, serves: file.providers.iter().map(serves).collect() }
    }

    fn find(&self, entry: &Entry) -> Option<Found> {
        let name = entry.name.to_ascii_lowercase();
        let served = self.serves.get(&entry.provider).into_iter().flatten();
        std::iter::once(&entry.provider).chain(served).find_map(|provider| {
            candidates(&name).find_map(|(matched, candidate)| {
                let place = *self.by_name.get(&(provider.clone(), candidate.to_owned()))?;
                let exact = matched == Match::Name && *provider == entry.provider;
                Some(Found { place, exact, name: candidate.to_owned() })
            })
        })
    }
}

fn fill_limits(known: &mut Entry, extra: &Entry) -> bool {
    let before = (known.context, known.max_output);
    known.context = known.context.or(extra.context);
    known.max_output = known.max_output.or(extra.max_output);
    before != (known.context, known.max_output)
}

fn fill_rates(known: &mut Entry, extra: &Entry) -> bool {
    if !agree(known, extra) {
        return false;
    }
    let mut filled = fill_sheet(latest_mut(known), &extra.rates);
    for sheet in &extra.tiers {
        let latest = known.tiers.iter_mut().rev().find(|own| own.tier == sheet.tier);
        filled |= match latest {
            Some(own) if own.rates.get(&Unit::Input) == sheet.rates.get(&Unit::Input) => {
                fill_sheet(&mut own.rates, &sheet.rates)
            }
            Some(_) => false,
            None => {
                let TierSheet { tier, rates, .. } = sheet.clone();
                known.tiers.push(TierSheet { tier, from: None, rates });
                true
            }
        };
    }
    filled
}

fn fill_sheet(known: &mut Sheet, extra: &Sheet) -> bool {
    let before = known.len();
    for (unit, ladder) in extra {
        known.entry(*unit).or_insert_with(|| ladder.clone());
    }
    known.len() > before
}

fn agree(known: &Entry, extra: &Entry) -> bool {
    [Unit::Input, Unit::Output].into_iter().all(|unit| latest(known).get(&unit) == extra.rates.get(&unit))
}

/// The rates of today: the last that do not depend on the hour.
pub(super) fn latest(entry: &Entry) -> &Sheet {
    let dated = entry.dated.iter().rev().find(|dated| dated.hours.is_none());
    dated.map_or(&entry.rates, |dated| &dated.rates)
}

fn latest_mut(entry: &mut Entry) -> &mut Sheet {
    let dated = entry.dated.iter_mut().rev().find(|dated| dated.hours.is_none());
    dated.map_or(&mut entry.rates, |dated| &mut dated.rates)
}

fn drop_empty_providers(file: &mut CatalogueFile) {
    let CatalogueFile { providers, models, .. } = file;
    providers.retain(|note| !note.serves.is_empty() || models.iter().any(|entry| entry.provider == note.id));
}
