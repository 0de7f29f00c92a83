//! `tollgate check FILE`: every fault of a config at once, or what it holds.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::out::{Exit, line, note};
use crate::config::settings::Settings;
use crate::config::{self, Fault, Faults, Loaded, Severity};

/// Check a config file: every fault at once, with its line and a hint.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code: 0 the file can be used, 1 it has faults, 2 it cannot be read.")]
pub struct CheckArgs {
    /// The config file.
    #[arg(env = "TOLLGATE_CONFIG", default_value = "config/tollgate.yaml")]
    pub file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Checks the file and prints what was found.
#[must_use]
pub fn run(args: &CheckArgs) -> Exit {
    let loaded = config::load(&args.file, &config::environment);
    if args.json {
        line(&format!("{:#}", as_json(args, &loaded)));
    } else {
        print(args, &loaded);
    }
    match loaded {
        Ok(_) => Exit::Ok,
        Err(Faults::Found { .. }) => Exit::No,
        Err(Faults::Unreadable { .. }) => Exit::Failed,
    }
}

fn print(args: &CheckArgs, loaded: &Result<Loaded, Faults>) {
    let file = args.file.display();
    for fault in found(loaded) {
        line(&format!("{file}:{fault}"));
        if let Some(hint) = &fault.hint {
            line(&format!("  hint: {hint}"));
        }
    }
    let summary = counted(&tally(found(loaded)));
    match loaded {
        Ok(loaded) if loaded.warnings.is_empty() => {
            line(&format!("{file}: good: {}", counted(&holds(&loaded.settings))));
        }
        Ok(loaded) => line(&format!("{file}: good, {summary}: {}", counted(&holds(&loaded.settings)))),
        Err(Faults::Found { .. }) => line(&format!("{file}: {summary}")),
        Err(unreadable @ Faults::Unreadable { .. }) => note(&unreadable.to_string()),
    }
}

fn as_json(args: &CheckArgs, loaded: &Result<Loaded, Faults>) -> Json {
    let holds = |settings| holds(settings).into_iter().map(|(noun, n)| (format!("{noun}s"), Json::from(n)));
    json!({
        "file": args.file.display().to_string(),
        "ok": loaded.is_ok(),
        "unreadable": match loaded {
            Err(Faults::Unreadable { reason, .. }) => Some(reason.to_string()),
            _ => None,
        },
        "faults": found(loaded),
        "holds": loaded.as_ref().ok().map(|loaded| holds(&loaded.settings).collect::<serde_json::Map<_, _>>()),
        "fingerprint": loaded.as_ref().ok().map(|loaded| &loaded.fingerprint),
    })
}

fn found(loaded: &Result<Loaded, Faults>) -> &[Fault] {
    match loaded {
        Ok(loaded) => &loaded.warnings,
        Err(faults) => faults.found(),
    }
}

fn tally(faults: &[Fault]) -> Vec<(&'static str, usize)> {
    let count = |severity| faults.iter().filter(|fault| fault.severity == severity).count();
    let counts = [("error", count(Severity::Error)), ("warning", count(Severity::Warning))];
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn holds(settings: &Settings) -> Vec<(&'static str, usize)> {
    let teams = settings.teams.values();
    let keys = teams.clone().map(|team| team.keys.len()).sum();
    let of_keys = |team: &crate::config::settings::TeamSection| -> usize {
        team.keys.iter().map(|key| key.budgets.len()).sum()
    };
    let budgets = teams.map(|team| team.budgets.len() + of_keys(team)).sum();
    vec![
        ("upstream", settings.upstreams.len()),
        ("route", settings.routes.len()),
        ("team", settings.teams.len()),
        ("key", keys),
        ("budget", budgets),
        ("price", settings.prices.len()),
    ]
}

/// "1 error, 2 warnings".
fn counted(counts: &[(&str, usize)]) -> String {
    let phrases: Vec<String> = counts
        .iter()
        .map(|(noun, count)| format!("{count} {noun}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    phrases.join(", ")
}
