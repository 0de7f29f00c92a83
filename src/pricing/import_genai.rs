//! Reads the genai-prices catalogue, `prices/new_data/v2/data.json`.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::file::{Dated, Day, Entry, Ladder, Minute, ProviderNote, Sheet, SourceNote, TierSheet};
use super::import::{Draft, Report, believable, picos};
use super::price::Tier;
use super::rates::Unit;

/// Reads the text; entries that cannot be used are counted.
pub(super) fn read(text: &str, version: &str) -> Result<Draft, String> {
    let providers: Vec<Provider> = serde_json::from_str(text).map_err(|fault| fault.to_string())?;
    let mut report = Report::default();
    let mut notes = Vec::new();
    let mut entries = Vec::new();
    let mut covers = HashSet::new();
    for provider in &providers {
        notes.push(ProviderNote {
            id: provider.id.clone(),
            hosts: hosts(provider),
            owner: false,
            serves: provider.fallback_model_providers.clone().unwrap_or_default(),
        });
        entries.extend(models(provider, &mut covers, &mut report));
    }
    let source = SourceNote {
        name: SOURCE.to_owned(),
        version: version.to_owned(),
        licence: "MIT".to_owned(),
        url: "https://github.com/pydantic/genai-prices".to_owned(),
    };
    Ok(Draft { source, providers: notes, entries, covers, report })
}

const SOURCE: &str = "genai-prices";

#[derive(Deserialize)]
struct Provider {
    id: String,
    api_pattern: String,
    #[serde(default)]
    fallback_model_providers: Option<Vec<String>>,
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    #[serde(rename = "match")]
    clause: Clause,
    #[serde(default)]
    context_window: Option<u64>,
    /// One set of prices, or a list of them with constraints.
    prices: Box<RawValue>,
    #[serde(default)]
    price_variants: Option<Vec<Variant>>,
}

/// A matching rule. Of its forms only names can be taken over; `contains` and most of `regex` would be
/// guesses.
#[derive(Deserialize, Default)]
struct Clause {
    #[serde(default)]
    equals: Option<String>,
    #[serde(default)]
    starts_with: Option<String>,
    #[serde(default)]
    regex: Option<String>,
    #[serde(default)]
    or: Vec<Clause>,
}

type RawPrices = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct Variant {
    when: BTreeMap<String, String>,
    prices: RawPrices,
    #[serde(default)]
    constraint: Option<Constraint>,
}

#[derive(Deserialize)]
struct Conditional {
    prices: RawPrices,
    #[serde(default)]
    constraint: Option<Constraint>,
}

#[derive(Deserialize, Default)]
struct Constraint {
    #[serde(default)]
    start_date: Option<String>,
    #[serde(default)]
    start_time: Option<String>,
    #[serde(default)]
    end_time: Option<String>,
}

#[derive(Deserialize)]
struct Tiered {
    base: Box<RawValue>,
    tiers: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    start: u64,
    price: Box<RawValue>,
}

/// The models of a provider. A name belongs to the model that is called so, else to the first that
/// lists it, else to the first whose names start with it.
fn models(provider: &Provider, covers: &mut HashSet<(String, String)>, report: &mut Report) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut taken: HashSet<String> = HashSet::new();
    let mut clauses = Vec::new();
    for model in &provider.models {
        match entry(provider, model, report) {
            Ok(entry) if taken.insert(entry.name.to_ascii_lowercase()) => {
                entries.push(entry);
                clauses.push(&model.clause);
            }
            Ok(_) => report.leave_out("listed twice"),
            Err(reason) => report.leave_out(reason),
        }
    }
    for sure in [true, false] {
        for (entry, clause) in entries.iter_mut().zip(&clauses) {
            let mut names = Vec::new();
            clause.names(sure, &mut names);
            if !sure {
                let lower = |name: &String| (provider.id.clone(), name.to_ascii_lowercase());
                covers.extend(names.iter().map(lower));
            }
            entry.aliases.extend(names.into_iter().filter(|name| taken.insert(name.to_ascii_lowercase())));
        }
    }
    entries
}

impl Clause {
    /// Its whole names, or the beginnings of names: those name a model whose snapshots they match.
    fn names(&self, whole: bool, into: &mut Vec<String>) {
        if whole {
            into.extend(self.equals.clone());
        } else {
            let start = self.starts_with.as_deref().map(|name| name.trim_end_matches(['-', '@', ':']));
            into.extend(start.map(str::to_owned));
            into.extend(self.regex.as_deref().and_then(dated_name));
        }
        for clause in &self.or {
            clause.names(whole, into);
        }
    }
}

/// The name in a `regex` that is a name and a date: `^gpt-6-astra-\d{4}-\d{2}-\d{2}$`.
fn dated_name(regex: &str) -> Option<String> {
    let rest = regex.strip_prefix('^')?;
    let dates = [r"-\d{8}$", r"[-@]\d{8}$", r"-\d{4}-\d{2}-\d{2}$", r"-\d{4}-\d{2}-\d{2}"];
    let name = dates.into_iter().find_map(|date| rest.strip_suffix(date))?.replace(r"\.", ".");
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/'));
    plain.then_some(name)
}

fn entry(provider: &Provider, model: &Model, report: &mut Report) -> Result<Entry, &'static str> {
    let mut entry = Entry {
        provider: provider.id.clone(),
        name: model.id.clone(),
        aliases: Vec::new(),
        context: model.context_window,
        max_output: None,
        rates: Sheet::new(),
        dated: Vec::new(),
        tiers: Vec::new(),
        source: SOURCE.to_owned(),
    };
    for (place, conditional) in conditionals(&model.prices)?.into_iter().enumerate() {
        let rates = sheet(&conditional.prices, report)?;
        if rates.is_empty() {
            return Err("no price in a unit that is counted here");
        }
        let constraint = conditional.constraint.unwrap_or_default();
        if place == 0 {
            // the first is also what applies when no other does
            entry.rates = rates;
        } else {
            entry.dated.push(Dated { from: constraint.day()?, hours: constraint.hours()?, rates });
        }
    }
    for variant in model.price_variants.iter().flatten() {
        let Some(tier) = variant.tier() else { continue };
        let rates = sheet(&variant.prices, report)?;
        let constraint = variant.constraint.as_ref();
        if constraint.is_some_and(|constraint| constraint.start_time.is_some()) {
            return Err("a tier with hours");
        }
        let from = constraint.map_or(Ok(None), Constraint::day)?;
        if !rates.is_empty() {
            entry.tiers.push(TierSheet { tier, from, rates });
        }
    }
    Ok(entry)
}

fn conditionals(raw: &RawValue) -> Result<Vec<Conditional>, &'static str> {
    let text = raw.get();
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|_| "a price of unknown shape");
    }
    let prices = serde_json::from_str(text).map_err(|_| "a price of unknown shape")?;
    Ok(vec![Conditional { prices, constraint: None }])
}

impl Constraint {
    fn day(&self) -> Result<Option<Day>, &'static str> {
        self.start_date.as_deref().map(Day::parse).transpose().map_err(|_| "a date of unknown shape")
    }

    fn hours(&self) -> Result<Option<(Minute, Minute)>, &'static str> {
        let (Some(start), Some(end)) = (&self.start_time, &self.end_time) else { return Ok(None) };
        let hours = Minute::parse(start).and_then(|start| Ok((start, Minute::parse(end)?)));
        hours.map(Some).map_err(|_| "an hour of unknown shape")
    }
}

impl Variant {
    /// The tier it prices; `None` for the standard one and for routes, which no answer names.
    fn tier(&self) -> Option<Tier> {
        let (key, value) = self.when.iter().next().filter(|_| self.when.len() == 1)?;
        let named = matches!(key.as_str(), "service_tier" | "processing" | "speed");
        Some(Tier::from_word(value)).filter(|tier| named && *tier != Tier::Standard)
    }
}

fn sheet(prices: &RawPrices, report: &mut Report) -> Result<Sheet, &'static str> {
    let mut sheet = Sheet::new();
    for (key, raw) in prices {
        let Some(scale) = Scale::of(key) else {
            *report.unknown_units.entry(key.clone()).or_default() += 1;
            continue;
        };
        let ladder = scale.ladder(raw.get(), report).map_err(|_| "a price of unknown shape")?;
        sheet.entry(scale.unit).or_insert(ladder);
    }
    if believable(&sheet) { Ok(sheet) } else { Err("a rate beyond belief") }
}

/// What a price key counts, and in which measure: USD per `10^exponent * divisor` units.
struct Scale {
    unit: Unit,
    exponent: i32,
    divisor: i128,
}

impl Scale {
    fn of(key: &str) -> Option<Self> {
        let (unit, exponent, divisor) = match key {
            "input_mtok" => (Unit::Input, 6, 1),
            "cache_read_mtok" => (Unit::CachedInput, 6, 1),
            "cache_write_mtok" | "cache_write_5m_mtok" => (Unit::CacheWrite, 6, 1),
            "cache_write_1h_mtok" => (Unit::CacheWriteLong, 6, 1),
            "input_audio_mtok" => (Unit::InputAudio, 6, 1),
            "input_image_mtok" => (Unit::InputImage, 6, 1),
            "output_mtok" => (Unit::Output, 6, 1),
            "output_reasoning_mtok" => (Unit::Reasoning, 6, 1),
            "output_audio_mtok" => (Unit::OutputAudio, 6, 1),
            "output_image_mtok" => (Unit::OutputImage, 6, 1),
            "audio_hours" | "input_audio_hours" => (Unit::Second, 0, 3_600),
            "input_mchars" => (Unit::Character, 6, 1),
            "web_searches_kcount" => (Unit::WebSearch, 3, 1),
            "requests_kcount" => (Unit::Request, 3, 1),
            _ => return None,
        };
        Some(Self { unit, exponent, divisor })
    }

    fn ladder(&self, text: &str, report: &mut Report) -> Result<Ladder, String> {
        if !text.starts_with('{') {
            return Ok(Ladder::flat(self.rate(text, report)?));
        }
        let tiered: Tiered = serde_json::from_str(text).map_err(|fault| fault.to_string())?;
        let mut ladder = Ladder::flat(self.rate(tiered.base.get(), report)?);
        for step in &tiered.tiers {
            ladder.steps.push((step.start, self.rate(step.price.get(), report)?));
        }
        ladder.steps.sort_unstable();
        Ok(ladder)
    }

    fn rate(&self, number: &str, report: &mut Report) -> Result<u64, String> {
        let (rate, rounded) = picos(number, self.exponent, self.divisor)?;
        report.rounded += usize::from(rounded);
        Ok(rate)
    }
}

/// Host names of an `api_pattern`: of the provider's own, where the pattern is more than a host.
fn hosts(provider: &Provider) -> Vec<String> {
    let known: &[&str] = match provider.id.as_str() {
        // the decisions API shares the host of the models that are asked for by everyone
        "openai-decisions" => return Vec::new(),
        "azure" => {
            &[".openai.azure.com", ".azure-api.net", ".cognitiveservices.azure.com", ".services.ai.azure.com"]
        }
        "aws" => &[".amazonaws.com"],
        "cohere" => &["api.cohere.ai", "api.cohere.com"],
        "databricks" => &[".cloud.databricks.com", ".azuredatabricks.net", ".gcp.databricks.com"],
        "elevenlabs" => &["api.elevenlabs.io", ".elevenlabs.io"],
        "google" => &[".googleapis.com"],
        "minimax" => &["api.minimax.io", "api.minimax.com", "api.minimaxi.com", "api.minimaxi.io"],
        "modal" => &[".modal.run", ".modal.direct"],
        "moonshotai" => &["api.moonshot.ai", "api.moonshot.cn"],
        "openai" => &["api.openai.com", "us.api.openai.com", "eu.api.openai.com"],
        "openrouter" => &["openrouter.ai", "api.openrouter.ai"],
        "together" => &["api.together.xyz", "api.together.ai"],
        _ => return plain_host(&provider.api_pattern).into_iter().collect(),
    };
    known.iter().map(|host| (*host).to_owned()).collect()
}

/// The host of a pattern that is nothing but one: `https://api\.groq\.com`, perhaps with an end mark.
fn plain_host(pattern: &str) -> Option<String> {
    let pattern = pattern.strip_prefix("https://")?;
    let pattern = pattern.trim_end_matches("(?:/|$)").trim_end_matches("(/|$)");
    let host = pattern.replace("\\.", ".");
    let plain = host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-');
    (plain && !pattern.replace("\\.", "").contains('.')).then_some(host)
}
