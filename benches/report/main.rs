//! What a long history costs: rows brought into a ledger, the sums of a start, and reports, each over all rows
//! of a ledger of so many. Wall and CPU time of one thread; no network.

#[path = "../samples/chat.rs"]
mod chat;
mod ledger;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tollgate::app::BudgetRows;
use tollgate::base::clock::{Clock, Timestamp};
use tollgate::budget::{BudgetSpec, Scope};
use tollgate::ledger::books::Books;
use tollgate::ledger::report::{self, Dimension, Query};
use tollgate::store::ledger::Filter;

/// Reports and a start's sums on a ledger of many rows
#[derive(Debug, Parser)]
#[command(name = "report")]
struct Args {
    /// Rows in the ledger, spread over the thirty days before the start
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Keys that they are of, ten to a team, each with a budget of its own
    #[arg(long, default_value_t = 100)]
    keys: u64,
    /// Where the ledger is made and kept; one that is there is used [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Stop when the ledger is filled
    #[arg(long)]
    only_fill: bool,
    /// A thousand rows: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// What cargo adds on its own
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    use std::io::Write as _;
    match run(&Args::parse()) {
        Ok(table) => {
            let written = std::io::stdout().write_all(table.as_bytes());
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "report: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String, Failure> {
    let rows = if args.quick { 1_000 } else { args.rows };
    let temporary = tempfile::tempdir()?;
    let dir = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    let mut table = Table::new(rows, args.keys);
    if ledger::is_empty(&dir)? {
        table.measure("append, 1,000 rows at a time, and sum up", rows, || {
            ledger::fill(&dir, rows, args.keys)
        })?;
    }
    if args.only_fill {
        return Ok(table.text);
    }
    let now = Timestamp::from_nanos(ledger::END + 1);
    let specs = specs(args.keys)?;
    for name in ["a start's sums, cold", "a start's sums"] {
        table.measure(name, rows, || {
            drop(BudgetRows::on_record(specs.clone(), &dir, now)?);
            Ok(())
        })?;
    }
    let ask = |by: &[Dimension], filter: Filter| -> Result<(), Failure> {
        report::run(&mut Books::open(&dir)?, &Query::new(by.to_vec(), filter))?;
        Ok(())
    };
    let (team_model, day) =
        ([Dimension::Team, Dimension::Model], Timestamp::from_nanos(ledger::END - ledger::DAY));
    table.measure("usage by team and model", rows, || ask(&team_model, Filter::default()))?;
    table.measure("usage by key", rows, || ask(&[Dimension::Key], Filter::default()))?;
    let last_day = Filter { since: Some(day), ..Filter::default() };
    table.measure("usage of the last day, by model", rows / 30, || {
        ask(&[Dimension::Model], last_day.clone())
    })?;
    let one_team = Filter { team: Some("team-1".into()), ..Filter::default() };
    table.measure("usage of one team, by day", rows, || ask(&[Dimension::Day], one_team.clone()))?;
    Ok(table.text)
}

/// A monthly budget per key and team, and a rolling one for everyone.
fn specs(keys: u64) -> Result<Vec<BudgetSpec>, Failure> {
    let monthly = serde_json::json!({ "limit_usd": "1000000", "every": "month" });
    let rolling = serde_json::json!({ "limit_usd": "1000000", "rolling": "24h" });
    let mut specs = Vec::new();
    let mut add = |scope: Scope, section: &serde_json::Value| -> Result<(), Failure> {
        let sections = [serde_json::from_value(section.clone())?];
        specs.extend(BudgetSpec::list(&scope, &sections).map_err(|(_, fault)| fault.to_string())?);
        Ok(())
    };
    add(Scope::Everything, &rolling)?;
    for key in 0..keys {
        let (team, name) = ledger::holder(key);
        if key % ledger::KEYS_PER_TEAM == 0 {
            add(Scope::Team(team.clone()), &monthly)?;
        }
        add(Scope::Key(team, name), &monthly)?;
    }
    Ok(specs)
}

/// What was measured, as Markdown.
struct Table {
    text: String,
    clock: Clock,
}

impl Table {
    fn new(rows: u64, keys: u64) -> Self {
        let text =
            format!("{rows} rows of {keys} keys.\n\n| | wall | CPU | CPU per row |\n|---|---:|---:|---:|\n");
        Self { text, clock: Clock::system() }
    }

    fn measure(
        &mut self,
        what: &str,
        rows: u64,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        use std::fmt::Write as _;
        let (began, cpu) = (self.clock.tick(), thread_cpu()?);
        work()?;
        let (wall, cpu) = (self.clock.tick().since(began), thread_cpu()?.saturating_sub(cpu));
        writeln!(
            self.text,
            "| {what} | {wall:.1?} | {cpu:.1?} | {} ns |",
            cpu.as_nanos() / u128::from(rows.max(1))
        )?;
        Ok(())
    }
}

/// How long this thread has been on a CPU.
fn thread_cpu() -> Result<Duration, Failure> {
    // the kernel brings the figure up to date when the thread gives way
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().ok_or("schedstat is empty")?;
    Ok(Duration::from_nanos(first.parse()?))
}
