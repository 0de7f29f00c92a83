//! `tollgate check FILE`: every fault of a config at once, or what it holds.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::out::{Exit, line, note};
use crate::config::settings::{Settings, TeamSection};
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
        line(&format!("{:#}", as_json(&args.file, &loaded)));
    } else {
        for_people(&args.file, &loaded).iter().for_each(|text| line(text));
    }
    if let Err(unreadable @ Faults::Unreadable { .. }) = &loaded {
        note(&unreadable.to_string());
    }
    match loaded {
        Ok(_) => Exit::Ok,
        Err(Faults::Found { .. }) => Exit::No,
        Err(Faults::Unreadable { .. }) => Exit::Failed,
    }
}

/// The answer for people: faults, hints, and a line that sums up.
fn for_people(file: &Path, loaded: &Result<Loaded, Faults>) -> Vec<String> {
    let file = file.display();
    let mut lines = Vec::new();
    for fault in found(loaded) {
        lines.push(format!("{file}:{fault}"));
        lines.extend(fault.hint.iter().map(|hint| format!("  hint: {hint}")));
    }
    let summary = counted(&tally(found(loaded)));
    match loaded {
        Ok(loaded) if summary.is_empty() => {
            lines.push(format!("{file}: good: {}", counted(&holds(&loaded.settings))));
        }
        Ok(loaded) => lines.push(format!("{file}: good, {summary}: {}", counted(&holds(&loaded.settings)))),
        Err(Faults::Found { .. }) => lines.push(format!("{file}: {summary}")),
        Err(Faults::Unreadable { .. }) => {}
    }
    lines
}

fn as_json(file: &Path, loaded: &Result<Loaded, Faults>) -> Json {
    let holds = |settings| holds(settings).into_iter().map(|(noun, n)| (format!("{noun}s"), Json::from(n)));
    json!({
        "file": file.display().to_string(),
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
    let of_keys = |team: &TeamSection| -> usize { team.keys.iter().map(|key| key.budgets.len()).sum() };
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file with this text, and its exit code.
    fn check(text: &str) -> (Vec<String>, Json, Exit) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.yaml");
        std::fs::write(&file, text).unwrap();
        let loaded = config::load(&file, &|_| Some("tg-0123456789abcdef0123456789abcdef".into()));
        let name = Path::new("c.yaml");
        let exit = run(&CheckArgs { file, json: true });
        (for_people(name, &loaded), as_json(name, &loaded), exit)
    }

    #[test]
    fn a_good_file_is_summed_up() {
        let text = "upstreams: { a: { base_url: \"https://a.test\" } }\nopen: true\nteams: { t: { budgets: \
                    [{ limit_usd: 1, every: day }] } }\nunmetered: refuse\n";
        let (lines, json, exit) = check(text);
        assert_eq!(lines, ["c.yaml: good: 1 upstream, 0 routes, 1 team, 0 keys, 1 budget, 0 prices"]);
        assert_eq!((exit, &json["ok"], &json["holds"]["budgets"]), (Exit::Ok, &json!(true), &json!(1)));
    }

    #[test]
    fn each_fault_has_its_line_and_hint() {
        let (lines, json, exit) = check("upstreams: { a: { base_url: \"https://a.test\" } }\nopn: true\n");
        let expected =
            ["c.yaml:2:1: error: opn: unknown key `opn`", "  hint: did you mean `open`?", "c.yaml: 1 error"];
        assert_eq!(lines, expected);
        assert_eq!((exit, &json["faults"][0]["line"], &json["holds"]), (Exit::No, &json!(2), &Json::Null));
    }

    #[test]
    fn a_file_that_is_not_there_cannot_be_checked() {
        let args = CheckArgs { file: "/nowhere/c.yaml".into(), json: true };
        assert_eq!(run(&args), Exit::Failed);
        let loaded = config::load(&args.file, &|_| None);
        assert!(as_json(&args.file, &loaded)["unreadable"].is_string());
    }
}
