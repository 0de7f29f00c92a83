//! What the books of one request cost: limits and budgets reserved, the intent written, the outcome written,
//! all of it settled. CPU time of the thread as the kernel counts it; no network, no dialect, no upstream.

mod books;
#[path = "../samples/chat.rs"]
mod chat;
mod house;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tollgate::ledger::section::Durability;

use crate::house::House;
use crate::report::{Figures, Line};

/// CPU of reserve, intend, close and settle per request
#[derive(Debug, Parser)]
#[command(name = "admit")]
struct Args {
    /// Two short rounds instead of nine: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Put the table between its markers in this file, too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Where the journal is written [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What cargo adds on its own
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(table) => {
            use std::io::Write as _;
            let written = std::io::stdout().write_all(table.as_bytes());
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "admit: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// What is measured: how durable, by how many threads that share one key.
const CASES: [(Durability, usize); 6] = [
    (Durability::Process, 1),
    (Durability::Process, 2),
    (Durability::Process, 8),
    (Durability::Power, 1),
    (Durability::Power, 2),
    (Durability::Power, 8),
];

fn run(args: &Args) -> Result<String, Failure> {
    let (rounds, requests) = if args.quick { (2, 8_000) } else { (9, 40_000) };
    let mut lines = Vec::new();
    for (durability, threads) in CASES {
        let mut figures = Vec::new();
        // the first round warms up: it grows tables, faults pages in and opens files
        for round in 0..=rounds {
            let house = House::open(args.dir.as_deref(), durability)?;
            let measured = house.measure(threads, requests)?;
            if round > 0 {
                figures.push(measured);
            }
        }
        lines.push(Line { durability, threads, figures: Figures::medians(&figures) });
    }
    let table = report::table(&lines, rounds, requests);
    if let Some(file) = &args.report {
        report::write_into(file, &table)?;
    }
    Ok(table)
}
