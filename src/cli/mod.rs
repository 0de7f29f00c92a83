//! Top of the house: the command line. One file per command.

pub mod bench;
pub mod budgets;
mod budgets_print;
pub mod check;
mod compose;
pub mod demo;
pub mod document;
pub mod health;
pub mod keys;
pub mod mock;
pub mod out;
pub mod place;
pub mod prices;
mod prices_import;
mod prices_show;
pub mod serve;
pub mod torture;
pub mod usage;
mod usage_print;
pub mod verify;

use clap::{Parser, Subcommand};

use crate::app;
use out::{Exit, note};
use place::{ConfigArg, load, load_without_secrets};

/// A transparent LLM API gateway: exact usage, budgets that hold, bytes untouched.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 the answer is no (faults found, nothing there), 2 it could not run."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Keys(keys::KeysArgs),
    Usage(UsageCommand),
    Budgets(budgets::BudgetsArgs),
    Prices(PricesCommand),
    Demo(demo::DemoArgs),
    Mock(mock::MockArgs),
    Torture(torture::TortureArgs),
    Verify(verify::VerifyArgs),
    Bench(bench::BenchArgs),
    Health(health::HealthArgs),
}

/// Who spent what: requests, tokens, cost, errors and latency.
#[derive(Debug, clap::Args)]
struct UsageCommand {
    #[command(flatten)]
    place: ConfigArg,
    #[command(flatten)]
    args: usage::UsageArgs,
}

/// What models cost, and why.
#[derive(Debug, clap::Args)]
struct PricesCommand {
    /// The config file, for its overrides. Default: the shipped catalogue alone.
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    args: prices::PricesArgs,
}

/// Parses the command line and runs what it asks for.
#[must_use]
pub fn run() -> Exit {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Keys(args) => run_keys(&args),
        Command::Usage(command) => run_usage(&command),
        Command::Budgets(args) => budgets::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Prices(command) => run_prices(&command),
        Command::Mock(args) => mock::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Health(args) => health::run(&args),
    }
}

fn run_usage(command: &UsageCommand) -> Exit {
    match load_without_secrets(&command.place.config) {
        Ok(loaded) => usage::run_in(&loaded.settings, &command.args),
        Err(exit) => exit,
    }
}

fn run_prices(command: &PricesCommand) -> Exit {
    let Some(path) = &command.config else { return prices::run(&command.args) };
    let loaded = match load_without_secrets(path) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match app::catalogue(&loaded.settings) {
        Ok(catalogue) => prices::run_with(&command.args, &catalogue),
        Err(fault) => {
            note(&fault.to_string());
            Exit::Failed
        }
    }
}

/// Keys can be made before there is a config: then the pepper lies in the default data directory.
fn run_keys(args: &keys::KeysArgs) -> Exit {
    let path = args.config.clone().unwrap_or_else(|| place::DEFAULT_CONFIG.into());
    if args.config.is_none() && !path.exists() {
        return keys::run(args, &app::pepper_path(std::path::Path::new("./data")), &[]);
    }
    let loaded =
        if matches!(args.verb, keys::KeysVerb::Check) { load(&path) } else { load_without_secrets(&path) };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let mut listed = Vec::new();
    for (team, section) in &loaded.settings.teams {
        for key in &section.keys {
            let owner = keys::Owner { team: team.clone(), name: key.name.clone() };
            listed.push(keys::ListedKey { owner, proof: key.proof() });
        }
    }
    keys::run(args, &app::pepper_path(&loaded.settings.data_dir), &listed)
}
