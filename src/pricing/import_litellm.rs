//! Reads the LiteLLM catalogue, `model_prices_and_context_window.json`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::file::{Entry, Ladder, ProviderNote, Sheet, SourceNote, TierSheet};
use super::import::{Draft, Report, believable, picos};
use super::price::Tier;
use super::rates::Unit;

/// Reads the text; entries that cannot be used are counted.
pub(super) fn read(text: &str, version: &str) -> Result<Draft, String> {
    let models: IndexMap<String, Box<RawValue>> =
        serde_json::from_str(text).map_err(|fault| fault.to_string())?;
    let mut report = Report::default();
    let mut entries = Vec::new();
    let mut taken: HashSet<(String, String)> = HashSet::new();
    for (key, raw) in models.iter().filter(|(key, _)| *key != "sample_spec") {
        match entry(key, raw, &mut report) {
            Ok(entry) if taken.insert((entry.provider.clone(), entry.name.to_ascii_lowercase())) => {
                entries.push(entry);
            }
            Ok(_) => report.leave_out("listed twice"),
            Err(reason) => report.leave_out(reason),
        }
    }
    let ids: BTreeSet<&String> = entries.iter().map(|entry| &entry.provider).collect();
    let providers = ids.into_iter().map(|id| ProviderNote {
        id: id.clone(),
        hosts: hosts(id),
        owner: false,
        serves: Vec::new(),
    });
    let source = SourceNote {
        name: SOURCE.to_owned(),
        version: version.to_owned(),
        licence: "MIT".to_owned(),
        url: "https://github.com/BerriAI/litellm".to_owned(),
    };
    Ok(Draft { source, providers: providers.collect(), entries, covers: HashSet::new(), report })
}

const SOURCE: &str = "litellm";

type Fields = BTreeMap<String, Box<RawValue>>;

fn entry(key: &str, raw: &RawValue, report: &mut Report) -> Result<Entry, &'static str> {
    let fields: Fields = serde_json::from_str(raw.get()).map_err(|_| "not an object")?;
    let theirs = text(&fields, "litellm_provider").ok_or("no provider")?;
    let mode = text(&fields, "mode").unwrap_or_default();
    if mode == "video_generation" || key.contains("-x-") {
        return Err("priced by resolution");
    }
    let mut sheets = sheets(&fields, report)?;
    let mut rates = sheets.remove(&Tier::Standard).unwrap_or_default();
    if !mode.starts_with("audio_") || rates.contains_key(&Unit::Input) {
        // elsewhere it is the rent of a machine, or seconds of video; beside tokens it is a rule of thumb
        rates.remove(&Unit::Second);
    }
    if let (None, Some(image)) = (rates.get(&Unit::Output), rates.get(&Unit::OutputImage).cloned()) {
        rates.insert(Unit::Output, image);
    }
    if rates.is_empty() {
        return Err("no price in a unit that is counted here");
    }
    let free = rates.values().all(|ladder| ladder.base == 0);
    if free && mode != "moderation" {
        return Err("all rates 0, which there means unknown as often as free");
    }
    let tiers = sheets.into_iter().map(|(tier, rates)| TierSheet { tier, from: None, rates });
    Ok(Entry {
        provider: provider(theirs).to_owned(),
        name: bare_name(key, theirs).to_owned(),
        aliases: Vec::new(),
        context: whole(&fields, "max_input_tokens"),
        max_output: whole(&fields, "max_output_tokens"),
        rates,
        dated: Vec::new(),
        tiers: tiers.collect(),
        source: SOURCE.to_owned(),
    })
}

/// The sheet of every tier.
fn sheets(fields: &Fields, report: &mut Report) -> Result<BTreeMap<Tier, Sheet>, &'static str> {
    let mut bases: BTreeMap<(Tier, Unit), Ladder> = BTreeMap::new();
    let mut steps = Vec::new();
    for (field, raw) in fields {
        let Some(number) = price_of(field, raw) else { continue };
        let Some(meaning) = Meaning::of(field) else {
            *report.unknown_units.entry(field.clone()).or_default() += 1;
            continue;
        };
        let (rate, rounded) = picos(&number, 0, 1).map_err(|_| "a price of unknown shape")?;
        report.rounded += usize::from(rounded);
        let place = (meaning.tier, meaning.unit);
        match meaning.above {
            Some(above) => steps.push((place, above, rate)),
            None => {
                bases.entry(place).or_insert(Ladder::flat(rate));
            }
        }
    }
    steps.sort_unstable();
    for (place, above, rate) in steps {
        match bases.get_mut(&place) {
            Some(ladder) => ladder.steps.push((above, rate)),
            None => *report.unknown_units.entry("a step without a base".to_owned()).or_default() += 1,
        }
    }
    let mut sheets: BTreeMap<Tier, Sheet> = BTreeMap::new();
    for ((tier, unit), ladder) in bases {
        sheets.entry(tier).or_default().insert(unit, ladder);
    }
    if sheets.values().all(believable) { Ok(sheets) } else { Err("a rate beyond belief") }
}

/// The number of a field that is a price.
fn price_of(field: &str, raw: &RawValue) -> Option<String> {
    if field == SEARCH {
        #[derive(Deserialize)]
        struct BySize {
            search_context_size_medium: Option<Box<RawValue>>,
        }
        let sizes: BySize = serde_json::from_str(raw.get()).ok()?;
        return sizes.search_context_size_medium.map(|number| number.get().to_owned());
    }
    let is_number = raw.get().starts_with(|first: char| first.is_ascii_digit());
    (field.contains("cost") && is_number).then(|| raw.get().to_owned())
}

const SEARCH: &str = "search_context_cost_per_query";

/// What a field's name says: names compose of base, threshold and tier.
struct Meaning {
    unit: Unit,
    above: Option<u64>,
    tier: Tier,
}

impl Meaning {
    fn of(field: &str) -> Option<Self> {
        let tiers = [
            ("_batches", Tier::Batch),
            ("_flex", Tier::Flex),
            ("_priority", Tier::Priority),
            ("_ultrafast", Tier::Ultrafast),
        ];
        let special = tiers.into_iter().find_map(|(end, tier)| Some((field.strip_suffix(end)?, tier)));
        let (rest, tier) = special.unwrap_or((field, Tier::Standard));
        let (base, above) = match rest.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_")) {
            Some((base, thousands)) => (base, Some(thousands.parse::<u64>().ok()?.checked_mul(1_000)?)),
            None => (rest, None),
        };
        let unit = match base {
            "input_cost_per_token" => Unit::Input,
            "cache_read_input_token_cost" => Unit::CachedInput,
            "cache_creation_input_token_cost" => Unit::CacheWrite,
            "cache_creation_input_token_cost_above_1hr" | "cache_creation_input_token_cost_above_12hr" => {
                Unit::CacheWriteLong
            }
            "input_cost_per_audio_token" => Unit::InputAudio,
            "input_cost_per_image_token" => Unit::InputImage,
            "output_cost_per_token" => Unit::Output,
            "output_cost_per_reasoning_token" => Unit::Reasoning,
            "output_cost_per_audio_token" => Unit::OutputAudio,
            "output_cost_per_image_token" => Unit::OutputImage,
            "input_cost_per_second" | "output_cost_per_second" => Unit::Second,
            "input_cost_per_character" => Unit::Character,
            "output_cost_per_image" => Unit::Image,
            "input_cost_per_request" => Unit::Request,
            SEARCH => Unit::WebSearch,
            _ => return None,
        };
        Some(Self { unit, above, tier })
    }
}

fn text<'a>(fields: &'a Fields, key: &str) -> Option<&'a str> {
    fields.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn whole(fields: &Fields, key: &str) -> Option<u64> {
    let number: Option<u64> = fields.get(key).and_then(|raw| serde_json::from_str(raw.get()).ok());
    number.filter(|tokens| *tokens > 0)
}

/// Our name of their provider: that of the other catalogue where it has one.
fn provider(theirs: &str) -> &str {
    match theirs {
        "text-completion-openai" => "openai",
        "gemini" => "google",
        "text-completion-codestral" | "codestral" => "mistral",
        "xai" => "x-ai",
        "cohere_chat" => "cohere",
        "together_ai" => "together",
        "fireworks_ai" | "fireworks_ai-embedding-models" => "fireworks",
        "azure_text" | "azure_ai" => "azure",
        "bedrock" | "bedrock_converse" => "aws",
        "moonshot" => "moonshotai",
        "voyage" => "voyageai",
        "meta_llama" => "meta",
        other => other,
    }
}

/// Their key less the provider in front of it: what the provider itself calls the model.
fn bare_name<'a>(key: &'a str, theirs: &str) -> &'a str {
    key.strip_prefix(theirs).and_then(|rest| rest.strip_prefix('/')).unwrap_or(key)
}

/// Hosts of providers that only this catalogue has.
fn hosts(provider: &str) -> Vec<String> {
    let host = match provider {
        "openai" => "api.openai.com",
        "anthropic" => "api.anthropic.com",
        "google" => ".googleapis.com",
        "mistral" => "api.mistral.ai",
        "x-ai" => "api.x.ai",
        "deepseek" => "api.deepseek.com",
        "groq" => "api.groq.com",
        "azure" => ".openai.azure.com",
        "deepinfra" => "api.deepinfra.com",
        "dashscope" => "dashscope-intl.aliyuncs.com",
        "nebius" => "api.studio.nebius.com",
        "sambanova" => "api.sambanova.ai",
        "hyperbolic" => "api.hyperbolic.xyz",
        _ => return Vec::new(),
    };
    vec![host.to_owned()]
}
