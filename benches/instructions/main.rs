//! Instructions of single paths and of whole requests, under valgrind, compared with committed figures. Counts do
//! not depend on what else the machine does, so a change that costs shows on the day it is made.
//!
//! A path runs `n` times in one process and `2n` times in another; the difference, divided by `n`, is what once
//! costs. What happens before and after the path is in both, and falls out.

mod callgrind;
#[path = "../samples/chat.rs"]
mod chat;
mod figures;
mod gateway;
#[path = "../admit/house.rs"]
mod house;
mod paths;
mod samples;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;

use crate::figures::{Comparison, Figures};
use crate::gateway::Requests;
use crate::paths::PATHS;

/// As the gateway has it: what allocation costs is part of every path
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Instructions of paths, compared with committed figures
#[derive(Debug, Parser)]
#[command(name = "instructions")]
struct Args {
    /// Accept what is measured as the figures to compare with from now on
    #[arg(long)]
    bless: bool,
    /// Only paths whose name contains this
    #[arg(long, value_name = "PART", default_value = "")]
    only: String,
    /// Run this path and count nothing: what valgrind is given
    #[arg(long, hide = true)]
    path: Option<String>,
    /// How often
    #[arg(long, hide = true, default_value_t = 1)]
    times: u64,
    /// What cargo adds on its own
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.path {
        Some(name) => run(name, args.times).map(|()| true),
        None => compare(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            complain(&format!("instructions: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, times: u64) -> Result<(), Failure> {
    let path = PATHS.iter().find(|path| path.name == name).ok_or("there is no such path")?;
    let mut work = (path.prepare)()?;
    for _ in 0..times {
        work();
    }
    Ok(())
}

/// Measures, says what changed, and whether that is fine.
fn compare(args: &Args) -> Result<bool, Failure> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/figures.json");
    let known = Figures::read(&file)?;
    let mut measured = measure(|name| name.contains(&args.only))?;
    for _ in 0..SECOND_LOOKS {
        let dearer = Comparison::of(&known, &measured)?.dearer();
        if dearer.is_empty() {
            break;
        }
        for (name, again) in measure(|name| dearer.contains(&name))? {
            let found = measured.iter_mut().find(|(known, _)| *known == name);
            if let Some((_, least)) = found {
                *least = again.min(*least);
            }
        }
    }
    if args.bless {
        known.with(&measured)?.write(&file)?;
    }
    let comparison = Comparison::of(&known, &measured)?;
    say(&comparison.table());
    if args.bless {
        say(&format!("accepted: {}", file.display()));
        return Ok(true);
    }
    let verdict = comparison.verdict();
    say(&verdict.text);
    Ok(verdict.is_fine)
}

/// Instructions of each path, by name, in the order of the tables. As many at once as there are cores.
fn measure(wanted: impl Fn(&'static str) -> bool) -> Result<Vec<(&'static str, u64)>, Failure> {
    let requests = Requests::ALL.iter().map(|requests| Job::Gateway(*requests));
    let paths = PATHS.iter().map(Job::Path);
    let jobs: Vec<Job> = requests.chain(paths).filter(|job| wanted(job.name())).collect();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<u64, Failure>)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((place, job)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, jobs.get(n)?)))
                {
                    let result = job.count();
                    results.lock().expect("no thread panics with the lock").push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panics with the lock");
    results.sort_by_key(|(place, _)| *place);
    results
        .into_iter()
        .map(|(place, result)| {
            let name = jobs[place].name();
            Ok((name, result.map_err(|fault| format!("{name}: {fault}"))?))
        })
        .collect()
}

/// One thing to count.
enum Job {
    Path(&'static paths::Path),
    Gateway(Requests),
}

impl Job {
    const fn name(&self) -> &'static str {
        match self {
            Self::Path(path) => path.name,
            Self::Gateway(requests) => requests.name(),
        }
    }

    fn count(&self) -> Result<u64, Failure> {
        match self {
            Self::Path(path) => {
                let itself = std::env::current_exe()?;
                callgrind::once(path.times, 1, |times| {
                    let times = times.to_string();
                    callgrind::count(&itself, &["--path", path.name, "--times", &times], |child| {
                        if child.wait()?.success() { Ok(()) } else { Err("it failed".into()) }
                    })
                })
            }
            Self::Gateway(requests) => {
                callgrind::once(REQUESTS, TRIES, |times| gateway::count(*requests, times))
            }
        }
    }
}

/// How many requests: under valgrind one takes milliseconds.
const REQUESTS: u64 = 400;

/// Threads that look at the clock are no part of a single path, but of a gateway.
const TRIES: u32 = 2;

/// A path that seems dearer is looked at again: what disturbs a count only ever adds.
const SECOND_LOOKS: u32 = 3;

fn complain(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the numbers are what this program is for")]
fn say(text: &str) {
    println!("{text}");
}
