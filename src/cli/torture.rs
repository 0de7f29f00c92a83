//! `tollgate torture`: the kit on the command line (docs/TORTURE.md).

use std::net::SocketAddr;

use super::out::{Exit, line, note, table};
use crate::base::chance::Chance;
use crate::torture::{self, Foreign, Options, Report, Scenario, Verdict};

/// Torture a gateway, this one or another, and see which promises hold
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --gateway it starts and kills a Tollgate of its own, on loopback, in a temporary \
                        folder. Exit codes: 0 all held, 1 something is broken, 2 it could not run."
)]
pub struct TortureArgs {
    /// What to play: mixed, kill, budget, disconnect, usage, network, retry; may be repeated [default: all]
    #[arg(long = "scenario", value_name = "NAME", value_parser = scenario)]
    scenarios: Vec<Scenario>,
    /// Repeats a run; printed by every run [default: by chance]
    #[arg(long)]
    seed: Option<u64>,
    /// Rounds of `kill`
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Requests of `mixed`
    #[arg(long, default_value_t = 2_000)]
    requests: u64,
    /// Streams at once in `kill` (and five times as many in `budget`)
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=2_000))]
    streams: u64,
    /// Base URL of the gateway to torture; http:// only [default: one of its own]
    #[arg(long, value_name = "URL", requires = "key")]
    gateway: Option<String>,
    /// The key to present to it
    #[arg(long, requires = "gateway")]
    key: Option<String>,
    /// The only model name to ask it for [default: three, which are printed with their prices]
    #[arg(long, value_name = "NAME", requires = "gateway")]
    model: Option<String>,
    /// Where the oracle listens: what that gateway must have as its upstream
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4010", requires = "gateway")]
    oracle_listen: SocketAddr,
    /// Command that starts that gateway, so that it can be killed; run by `sh -c "exec CMD"`
    #[arg(long, value_name = "CMD", requires = "gateway")]
    start: Option<String>,
    /// Its process id, to watch memory and descriptors
    #[arg(long, requires = "gateway")]
    pid: Option<u32>,
    /// Command that prints what it spent so far: USD, or JSON with `cost_nano_usd`, `usd`, `cost` or `spend`
    #[arg(long, value_name = "CMD", requires = "gateway")]
    spend: Option<String>,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
    /// All counter-examples that were kept, in full
    #[arg(short, long)]
    verbose: bool,
}

fn scenario(name: &str) -> Result<Scenario, String> {
    Scenario::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Scenario::ALL.into_iter().map(Scenario::name).collect();
        format!("no such scenario; there are: {}", names.join(", "))
    })
}

/// Runs the kit and prints what it found.
#[must_use]
pub fn run(args: &TortureArgs) -> Exit {
    let report = match torture::run(&options(args), &note) {
        Ok(report) => report,
        Err(fault) => {
            note(&format!("the torture cannot go on: {fault}"));
            return Exit::Failed;
        }
    };
    if args.json {
        line(&format!("{:#}", report.to_json()));
    } else {
        print(&report, args.verbose);
    }
    if report.holds() { Exit::Ok } else { Exit::No }
}

fn options(args: &TortureArgs) -> Options {
    let gateway = args.gateway.clone().map(|url| Foreign {
        url,
        key: args.key.clone().unwrap_or_default(),
        model: args.model.clone(),
        oracle: args.oracle_listen,
        start: args.start.clone(),
        pid: args.pid,
        spend: args.spend.clone(),
    });
    let scenarios = if args.scenarios.is_empty() { Scenario::ALL.to_vec() } else { args.scenarios.clone() };
    Options {
        gateway,
        scenarios,
        // short enough to type
        seed: args.seed.unwrap_or_else(|| Chance::from_system().below(1_000_000_000)),
        rounds: args.rounds,
        requests: args.requests,
        streams: args.streams,
    }
}

fn print(report: &Report, verbose: bool) {
    let mut rows = Vec::new();
    for scenario in &report.scenarios {
        for (invariant, verdict) in &scenario.verdicts {
            let (word, checked) = match verdict {
                Verdict::Held { checked } => ("held".to_owned(), checked.to_string()),
                Verdict::Broken { checked, broken, .. } => {
                    (format!("BROKEN {broken} times"), checked.to_string())
                }
                Verdict::NotJudged { why } => (format!("not judged: {why}"), String::new()),
            };
            let name = format!("{} {}", invariant.id(), report.promise(*invariant));
            rows.push(vec![scenario.name.to_owned(), name, word, checked]);
        }
    }
    line(&table(&["SCENARIO", "INVARIANT", "VERDICT", "CHECKED"], 3, rows).to_string());
    for scenario in &report.scenarios {
        let figures: Vec<String> =
            scenario.figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
        line(&format!("\n{} ({:.1} s): {}", scenario.name, scenario.seconds, figures.join(", ")));
        for (invariant, verdict) in &scenario.verdicts {
            let Verdict::Broken { examples, .. } = verdict else { continue };
            for example in examples {
                line(&format!("  {} {}", invariant.id(), shortened(example, verbose)));
            }
        }
    }
    let end = if report.holds() { "everything that was judged held" } else { "something is broken" };
    line(&format!("\n{end}; --seed {} repeats this run", report.seed));
}

fn shortened(example: &str, verbose: bool) -> String {
    if verbose || example.chars().count() <= MAX_EXAMPLE {
        return example.to_owned();
    }
    let head: String = example.chars().take(MAX_EXAMPLE).collect();
    format!("{head}... (-v shows all)")
}

/// Five lines of a terminal.
const MAX_EXAMPLE: usize = 400;
