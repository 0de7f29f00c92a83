//! A catalogue's file with an index of its names. Entries stay as they are written, and are read when they are
//! asked for: of thousands, a gateway prices by a few.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::catalogue::{CatalogueFault, bound};
use super::file::{Entry, FORMAT, ProviderNote, Sheet, SourceNote};
use super::names::candidates;
use super::price::Match;

/// The file, indexed.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) version: String,
    pub(super) sources: Vec<SourceNote>,
    providers: Vec<ProviderNote>,
    /// Each entry's text. That of the shipped file is part of the program and takes no memory of its own.
    entries: Vec<Cow<'static, str>>,
    /// Sorted by provider and name in lower case.
    names: Vec<Name>,
    /// Provider id, to its place.
    by_id: HashMap<String, u16>,
}

/// One name of an entry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    provider: u16,
    name: Box<str>,
    entry: u32,
}

/// A catalogue's file, its entries unread.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    format: String,
    version: String,
    sources: Vec<SourceNote>,
    providers: Vec<ProviderNote>,
    #[serde(borrow)]
    models: Vec<&'a RawValue>,
}

impl Book {
    /// Reads a file, every entry of it, and keeps the entries' texts as `keep` makes them.
    pub(super) fn read<'a>(
        json: &'a str,
        keep: impl Fn(&'a str) -> Cow<'static, str>,
    ) -> Result<Self, CatalogueFault> {
        let file: Written<'a> =
            serde_json::from_str(json).map_err(|fault| CatalogueFault::Shape(fault.to_string()))?;
        if file.format != FORMAT {
            return Err(CatalogueFault::Format(file.format));
        }
        let places = (0_u16..).zip(&file.providers);
        let by_id: HashMap<String, u16> = places.map(|(place, note)| (note.id.clone(), place)).collect();
        let mut names = Vec::with_capacity(file.models.len() * 2);
        for (place, raw) in (0_u32..).zip(&file.models) {
            let entry: Entry = serde_json::from_str(raw.get())
                .map_err(|fault| CatalogueFault::Shape(format!("models[{place}]: {fault}")))?;
            check(&entry)?;
            let provider = *by_id.get(&entry.provider).ok_or_else(|| CatalogueFault::NoProvider {
                model: entry.name.clone(),
                provider: entry.provider.clone(),
            })?;
            let all = std::iter::once(entry.name).chain(entry.aliases);
            names.extend(all.map(|name| Name {
                provider,
                name: name.to_ascii_lowercase().into(),
                entry: place,
            }));
        }
        let names = each_once(names, &file.providers)?;
        let entries = file.models.into_iter().map(|raw| keep(raw.get())).collect();
        let Written { version, sources, providers, .. } = file;
        Ok(Self { version, sources, providers, entries, names, by_id })
    }

    /// Every entry, in the file's order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.entries.iter().map(|text| self.entry(text))
    }

    fn entry(&self, text: &str) -> Entry {
        let mut entry: Entry = serde_json::from_str(text).expect("every entry was read before");
        if entry.source.is_empty() {
            // the first source is told once, in the file's head
            entry.source = self.sources.first().map(|first| first.name.clone()).unwrap_or_default();
        }
        entry
    }

    /// The entry that prices `name` (lower case), and by which rule.
    pub(super) fn find(&self, host: Option<&str>, name: &str) -> Option<(Match, Entry)> {
        if let Some(provider) = host.and_then(|host| self.provider_at(host)) {
            return self.at_provider(provider, name);
        }
        let prefixed = name.split_once('/').and_then(|(id, rest)| Some((*self.by_id.get(id)?, rest)));
        if let Some((provider, rest)) = prefixed {
            return self.at_provider(provider, rest);
        }
        let owners = (0_u16..).zip(&self.providers).filter(|(_, note)| note.owner);
        // the surest reading at any owner, before a less sure one at the first
        candidates(name).find_map(|(matched, candidate)| {
            owners.clone().find_map(|(owner, _)| self.named(owner, matched, candidate))
        })
    }

    fn provider_at(&self, host: &str) -> Option<u16> {
        let host = host.to_ascii_lowercase();
        let is_at = |pattern: &String| match pattern.strip_prefix('.') {
            Some(_) => host.ends_with(pattern.as_str()),
            None => host == *pattern,
        };
        (0_u16..).zip(&self.providers).find(|(_, note)| note.hosts.iter().any(is_at)).map(|(place, _)| place)
    }

    /// At a provider, then at those whose models it serves; each by the name as given, then by the name
    /// without the provider's own prefix.
    fn at_provider(&self, provider: u16, name: &str) -> Option<(Match, Entry)> {
        let note = self.providers.get(usize::from(provider))?;
        let served = note.serves.iter().filter_map(|id| self.by_id.get(id).copied());
        std::iter::once(provider).chain(served).find_map(|place| {
            let own_prefix = &self.providers.get(usize::from(place))?.id;
            let bare = name.strip_prefix(own_prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
            let readings = candidates(name).chain(bare.into_iter().flat_map(candidates));
            readings.into_iter().find_map(|(matched, candidate)| self.named(place, matched, candidate))
        })
    }

    fn named(&self, provider: u16, matched: Match, name: &str) -> Option<(Match, Entry)> {
        let found =
            self.names.binary_search_by(|known| (known.provider, &*known.name).cmp(&(provider, name)));
        let place = self.names[found.ok()?].entry;
        let entry = self.entry(self.entries.get(usize::try_from(place).ok()?)?);
        let by_alias = matched == Match::Name && !entry.name.eq_ignore_ascii_case(name);
        Some((if by_alias { Match::Alias } else { matched }, entry))
    }
}

/// The names in order. An entry may repeat its own name; two entries may not share one.
fn each_once(mut names: Vec<Name>, providers: &[ProviderNote]) -> Result<Vec<Name>, CatalogueFault> {
    names.sort_unstable();
    names.dedup();
    let shared =
        names.windows(2).find(|two| (two[0].provider, &two[0].name) == (two[1].provider, &two[1].name));
    if let Some([Name { provider, name, .. }, _]) = shared {
        return Err(CatalogueFault::Twice(format!("{}/{name}", providers[usize::from(*provider)].id)));
    }
    names.shrink_to_fit();
    Ok(names)
}

fn check(entry: &Entry) -> Result<(), CatalogueFault> {
    let dated = entry.dated.iter().map(|dated| &dated.rates);
    if std::iter::once(&entry.rates).chain(dated.clone()).any(Sheet::is_empty) {
        return Err(CatalogueFault::NoRates(entry.name.clone()));
    }
    let tiers = entry.tiers.iter().map(|sheet| &sheet.rates);
    for (unit, ladder) in std::iter::once(&entry.rates).chain(dated).chain(tiers).flatten() {
        if ladder.highest() > bound(*unit) {
            let (model, rate) = (entry.name.clone(), ladder.highest());
            let (unit, bound) = (*unit, bound(*unit));
            return Err(CatalogueFault::OutOfBounds { model, unit, rate, bound });
        }
    }
    Ok(())
}
