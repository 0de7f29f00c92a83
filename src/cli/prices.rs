//! `tollgate prices`: what models cost, why, and keeping that current.

use clap::Subcommand;

use super::out::{Exit, line, note, table};
use super::prices_import::{self, ImportArgs};
use super::prices_show::{self, ShowArgs};
use crate::pricing::catalogue::{Catalogue, resolve};
use crate::pricing::price::Match;
use crate::pricing::rates::Unit;

/// What models cost.
#[derive(Debug, clap::Args)]
pub struct PricesArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Explain the price of a model.
    Show(ShowArgs),
    /// List the catalogue.
    List(ListArgs),
    /// Make a catalogue of LiteLLM's or genai-prices' JSON.
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only this provider.
    #[arg(long)]
    provider: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command on the shipped catalogue.
pub fn run(args: &PricesArgs) -> Exit {
    run_with(args, &Catalogue::shipped())
}

/// Runs the command on a catalogue: the shipped one with a config's overrides.
pub fn run_with(args: &PricesArgs, catalogue: &Catalogue) -> Exit {
    match &args.verb {
        Verb::Show(args) => prices_show::run(args, catalogue),
        Verb::List(args) => list(args, catalogue),
        Verb::Import(args) => prices_import::run(args),
    }
}

fn list(args: &ListArgs, catalogue: &Catalogue) -> Exit {
    let now = crate::base::clock::Clock::system().now();
    let asked = |provider: &str| args.provider.as_deref().is_none_or(|only| only == provider);
    let entries = catalogue.entries().filter(|entry| asked(&entry.provider));
    let listed = entries.map(|entry| resolve(&entry, Match::Name, now));
    let own = catalogue.overridden().filter(|_| args.provider.is_none()).map(|price| price.as_ref().clone());
    let prices: Vec<_> = own.chain(listed).collect();
    if prices.is_empty() {
        note("no such provider in the catalogue; `tollgate prices list` shows all");
        return Exit::No;
    }
    if args.json {
        let rows: Vec<_> = prices.iter().map(prices_show::price_json).collect();
        let whole = serde_json::json!({ "catalogue": catalogue.version(), "models": rows });
        line(&whole.to_string());
        return Exit::Ok;
    }
    let rows = prices.iter().map(|price| {
        let rates = price.standard.rates(0);
        let usd = |unit| rates.of(unit).map_or_else(|| "-".to_owned(), |rate| prices_show::usd(unit, rate));
        let limit = price.max_output_tokens.map_or_else(|| "-".to_owned(), |tokens| tokens.to_string());
        vec![price.name.clone(), usd(Unit::Input), usd(Unit::CachedInput), usd(Unit::Output), limit]
    });
    let headings = ["model", "input $/M", "cached $/M", "output $/M", "max output"];
    line(&table(&headings, 1, rows.collect()).to_string());
    line(&format!("catalogue {}", catalogue.version()));
    Exit::Ok
}
