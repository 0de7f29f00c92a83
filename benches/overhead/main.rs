//! What a request costs in the gateway, beside nginx as a plain reverse proxy, and what it costs as streams,
//! teams and rows become many. Each question is a subcommand; without one, the works are measured: the same
//! traffic goes straight to the upstream, through nginx and through Tollgate, in turns, so that a noisy machine
//! is noisy for all three. Only the ratios travel to other machines.

mod bar;
#[path = "../samples/chat.rs"]
mod chat;
mod figures;
mod gateways;
mod growth;
mod idle;
mod load;
mod machine;
mod paired;
mod process;
mod receiver;
mod report;
mod rows;
mod streams;
mod upstream;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;
use tempfile::TempDir;

use crate::bar::Measured;
use crate::gateways::Setup;
use crate::receiver::Receiver;
use crate::upstream::Upstream;

/// CPU, latency and memory of the gateway beside nginx
#[derive(Debug, Parser)]
#[command(name = "overhead")]
pub(crate) struct Args {
    #[command(subcommand)]
    question: Option<Question>,
    /// A look, not a measurement: fewer and shorter rounds, fewer streams and rows
    #[arg(long, global = true)]
    quick: bool,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// Write the figures into their places in this page, too: docs/BENCHMARKS.md
    #[arg(long, value_name = "FILE", global = true)]
    report: Option<PathBuf>,
    /// The gateway to measure [default: the one that cargo built for this bench]
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_tollgate"), global = true)]
    binary: PathBuf,
    /// Worker threads of the gateway; nginx has one
    #[arg(long, default_value_t = 1, global = true)]
    workers: usize,
    /// Where ledgers and journals are written [default: the system's temporary directory]
    #[arg(long, value_name = "DIR", global = true)]
    dir: Option<PathBuf>,
    /// Only works whose name contains this
    #[arg(long, value_name = "PART", default_value = "")]
    only: String,
    /// Only through Tollgate, for so many seconds per work: something to point a profiler at
    #[arg(long, value_name = "SECONDS")]
    profile: Option<u64>,
    /// What cargo adds on its own
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Many open streams: lost ones, memory of each, delay of events
    Streams(streams::Args),
    /// CPU and start as teams, keys and rows become many
    Growth(growth::Args),
    /// Memory of a gateway that nobody asks
    Idle,
}

type Failure = Box<dyn std::error::Error>;

/// What a question gave.
pub(crate) struct Answered {
    /// The part of the page that is the question's own.
    part: &'static str,
    /// Rows of the bar.
    measured: Vec<Measured>,
    /// For a terminal.
    table: String,
    /// For programs.
    json: Value,
    /// For the page.
    page: String,
}

/// What every question needs: an upstream, a receiver, a place on the disk.
pub(crate) struct Ground<'a> {
    args: &'a Args,
    folder: TempDir,
    upstream: Upstream,
    receiver: Receiver,
}

impl Ground<'_> {
    /// A gateway with so many teams.
    pub(crate) fn setup(&self, teams: usize) -> Setup<'_> {
        Setup {
            binary: &self.args.binary,
            workers: self.args.workers,
            upstream: self.upstream.address,
            receiver: self.receiver.address,
            teams,
        }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(&format!("overhead: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let folder = match &args.dir {
        Some(dir) => TempDir::new_in(dir)?,
        None => TempDir::new()?,
    };
    let ground = Ground { args, folder, upstream: Upstream::start()?, receiver: Receiver::start()? };
    let answered = match &args.question {
        None if args.profile.is_some() => return paired::profile(&ground),
        None => paired::measure(&ground)?,
        Some(Question::Streams(streams)) => streams::measure(&ground, streams)?,
        Some(Question::Growth(growth)) => growth::measure(&ground, growth)?,
        Some(Question::Idle) => idle::measure(&ground)?,
    };
    tell(args, &answered)
}

fn tell(args: &Args, answered: &Answered) -> Result<(), Failure> {
    let machine = machine::describe(args);
    if args.json {
        let bar = bar::json(&answered.measured);
        let all = serde_json::json!({ "machine": machine, "bar": bar, "figures": answered.json });
        say(&all.to_string());
    } else {
        say(&format!("{}\n{}\n{machine}", answered.table, bar::table(&answered.measured)));
    }
    if let Some(path) = &args.report {
        // cargo runs a bench in the package's own folder
        bar::write_into(path, &answered.measured, &machine::today())?;
        bar::put(path, answered.part, &format!("{machine}\n\n{}", answered.page))?;
    }
    Ok(())
}

fn complain(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the numbers are what this program is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
