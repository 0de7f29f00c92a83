//! `tollgate prices show`: which entry prices a model, why, and what that comes to.

use serde_json::{Value, json};

use super::out::{Exit, line, note, table};
use crate::base::clock::{Clock, Timestamp};
use crate::base::money::PicoUsd;
use crate::base::usage::Usage;
use crate::pricing::catalogue::Catalogue;
use crate::pricing::cost::{Terms, cost};
use crate::pricing::file::{Day, Entry};
use crate::pricing::price::{Price, Tier};
use crate::pricing::rates::{Rates, Tariff, Unit};

/// Explain the price of a model.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The model, as a request or an answer names it; `provider/model` to name the provider too.
    model: String,
    /// The upstream's host, e.g. `api.openai.com`.
    #[arg(long)]
    host: Option<String>,
    /// The price of that day (UTC), e.g. `2026-08-21`. Default: now.
    #[arg(long, value_parser = Day::parse)]
    at: Option<Day>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &ShowArgs, catalogue: &Catalogue) -> Exit {
    let at = args.at.map_or_else(|| Clock::system().now(), |day| day.0);
    let host = args.host.as_deref();
    let Some(price) = catalogue.price(host, &args.model, at) else {
        note(&format!(
            "no price for `{}`{} in catalogue {}: it is unpriced, which is not free; add it under `prices:` in the config",
            args.model,
            host.map(|host| format!(" at {host}")).unwrap_or_default(),
            catalogue.version()
        ));
        return Exit::No;
    };
    let entry = catalogue.find(host, &args.model).map(|(_, entry)| entry);
    if args.json {
        let mut whole = price_json(&price);
        whole["asked"] = json!(args.model);
        whole["catalogue"] = json!(catalogue.version());
        whole["example"] = example_json(&price);
        line(&whole.to_string());
    } else {
        explain(&args.model, &price, entry.as_ref(), catalogue, at);
    }
    Exit::Ok
}

fn explain(asked: &str, price: &Price, entry: Option<&Entry>, catalogue: &Catalogue, at: Timestamp) {
    let source = catalogue.sources().iter().find(|note| note.name == price.source);
    let source = source.map_or_else(
        || price.source.clone(),
        |note| format!("{} {} ({}, {})", note.name, note.version, note.licence, note.url),
    );
    line(&format!("{asked} is priced as {} by {}", price.name, price.matched.as_str()));
    line(&format!("catalogue  {}", catalogue.version()));
    line(&format!("source     {source}"));
    line(&format!("at         {}", Day(at)));
    line(&format!("max output {}", limit(price.max_output_tokens)));
    line(&format!("context    {}", limit(price.context_window)));
    line(&rate_table(price));
    line("A kind of token without a rate of its own costs what plain input or output does.");
    if let Some(entry) = entry.filter(|entry| price.name == format!("{}/{}", entry.provider, entry.name)) {
        for text in history(entry) {
            line(&text);
        }
    }
    if let Some(until) = price.valid_until {
        line(&format!("The next change is on {}.", Day(until)));
    }
    let (usage, bill) = (example(), cost(price, &example(), &Terms::default()));
    if let Some(amount) = bill.amount {
        line(&format!(
            "Example: {} tokens in, of them {} cached, and {} out cost {amount} USD.",
            usage.input_tokens, usage.cached_input_tokens, usage.output_tokens
        ));
    }
}

/// A price for programs: rates in pico-USD per unit.
pub(super) fn price_json(price: &Price) -> Value {
    let tiers: serde_json::Map<String, Value> =
        price.tiers.iter().map(|(tier, tariff)| (tier.as_str().to_owned(), tariff_json(tariff))).collect();
    json!({
        "model": price.name,
        "matched": price.matched,
        "standard": tariff_json(&price.standard),
        "tiers": tiers,
        "max_output_tokens": price.max_output_tokens,
        "context_window": price.context_window,
        "valid_until": price.valid_until.map(|until| Day(until).to_string()),
        "source": price.source,
    })
}

/// A rate for people: USD per million where the unit is small, else per unit.
pub(super) fn usd(unit: Unit, rate: PicoUsd) -> String {
    let (places, picos) = if per_million(unit) { (6, rate.as_picos()) } else { (12, rate.as_picos()) };
    let one = 10_u64.pow(places);
    let fraction = format!("{:0width$}", picos % one, width = usize::try_from(places).unwrap_or(12));
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{}.{}", picos / one, &fraction[..kept])
}

fn per_million(unit: Unit) -> bool {
    unit.is_token() || unit == Unit::Character
}

fn tariff_json(tariff: &Tariff) -> Value {
    let rates = |rates: &Rates| -> Value {
        rates.iter().map(|(unit, rate)| (unit.as_str().to_owned(), json!(rate))).collect()
    };
    let steps = tariff.steps().iter().map(|(above, own)| json!({ "above": above, "rates": rates(own) }));
    json!({ "rates": rates(tariff.rates(0)), "long_context": steps.collect::<Vec<_>>() })
}

/// One row per tier and input size, one column per unit that has a rate in any of them.
fn rate_table(price: &Price) -> String {
    let standard = (Tier::Standard, price.standard.clone());
    let mut sets: Vec<(&str, String, Rates)> = Vec::new();
    for (tier, tariff) in std::iter::once(&standard).chain(&price.tiers) {
        sets.push((tier.as_str(), "any".to_owned(), *tariff.rates(0)));
        let steps = tariff.steps().iter();
        sets.extend(steps.map(|(above, rates)| (tier.as_str(), format!("> {above}"), *rates)));
    }
    let priced = |unit: &Unit| sets.iter().any(|(_, _, rates)| rates.own(*unit).is_some());
    let units: Vec<Unit> = Unit::ALL.into_iter().filter(priced).collect();
    let headings: Vec<String> = units
        .iter()
        .map(|unit| format!("{} {}", unit.as_str(), if per_million(*unit) { "$/M" } else { "$" }))
        .collect();
    let headings: Vec<&str> =
        ["tier", "input tokens"].into_iter().chain(headings.iter().map(String::as_str)).collect();
    let rows = sets.iter().map(|(tier, size, rates)| {
        let cells =
            units.iter().map(|unit| rates.own(*unit).map_or_else(String::new, |rate| usd(*unit, rate)));
        [(*tier).to_owned(), size.clone()].into_iter().chain(cells).collect()
    });
    table(&headings, 2, rows.collect()).to_string()
}

/// The changes of an entry over time, one line each.
fn history(entry: &Entry) -> Vec<String> {
    let days = entry.dated.iter().filter_map(|dated| Some(format!("Other rates from {}.", dated.from?)));
    let hours = entry.dated.iter().filter_map(|dated| {
        let (from, to) = dated.hours?;
        Some(format!("Other rates each day from {from} to {to} UTC."))
    });
    let tiers = entry.tiers.iter().filter_map(|sheet| {
        Some(format!("The {} tier is priced from {}.", sheet.tier.as_str(), sheet.from?))
    });
    days.chain(hours).chain(tiers).collect()
}

fn example() -> Usage {
    Usage { input_tokens: 10_000, cached_input_tokens: 4_000, output_tokens: 1_000, ..Usage::default() }
}

fn example_json(price: &Price) -> Value {
    let bill = cost(price, &example(), &Terms::default());
    json!({ "usage": example(), "cost_nano_usd": bill.amount })
}

fn limit(tokens: Option<u64>) -> String {
    tokens.map_or_else(|| "unknown".to_owned(), |tokens| format!("{tokens} tokens"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_shown_in_dollars_to_the_last_digit() {
        assert_eq!(usd(Unit::Input, PicoUsd::new(2_500_000)), "2.50");
        assert_eq!(usd(Unit::CachedInput, PicoUsd::new(3_625)), "0.003625");
        assert_eq!(usd(Unit::WebSearch, PicoUsd::new(10_000_000_000)), "0.01");
        assert_eq!(usd(Unit::Second, PicoUsd::new(100_000_000)), "0.0001");
    }

    #[test]
    fn the_table_shows_each_tier_and_each_step_once() {
        let at = Day::parse("2026-11-20").unwrap().0;
        let price = Catalogue::shipped().price(None, "gpt-6-astra", at).unwrap();
        let shown = rate_table(&price);
        for tier in ["standard", "batch", "flex", "priority", "fast", "ultrafast"] {
            let rows = shown.lines().filter(|row| row.split_whitespace().next() == Some(tier)).count();
            assert_eq!(rows, 2, "{tier}");
        }
        assert_eq!(shown.matches("> 272000").count(), 6);
    }
}
