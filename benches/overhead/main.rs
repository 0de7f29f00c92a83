//! What a request costs in the gateway, beside nginx as a plain reverse proxy: CPU of the process, added
//! latency, peak memory. The same work goes straight to the upstream, through nginx and through Tollgate, in
//! turns, so that a noisy machine is noisy for all three. Only the ratios travel to other machines.

mod figures;
mod gateways;
mod load;
mod process;
mod report;
mod upstream;
mod work;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::figures::{Figures, Target};
use crate::gateways::{Nginx, Tollgate};
use crate::load::Load;
use crate::process::Process;
use crate::upstream::Upstream;
use crate::work::{WORKS, Work};

/// CPU, latency and memory of the gateway beside nginx
#[derive(Debug, Parser)]
#[command(name = "overhead")]
struct Args {
    /// Two short rounds instead of five: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Write the page docs/BENCHMARKS.md to this file, too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The gateway to measure [default: the one that cargo built for this bench]
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_tollgate"))]
    binary: PathBuf,
    /// Worker threads of the gateway; nginx has one
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Only works whose name contains this
    #[arg(long, value_name = "PART", default_value = "")]
    only: String,
    /// Only through Tollgate, for so many seconds per work: something to point a profiler at
    #[arg(long, value_name = "SECONDS")]
    profile: Option<u64>,
    /// What cargo adds on its own
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn std::error::Error>;

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
    let folder = tempfile::tempdir()?;
    let upstream = Upstream::start()?;
    let tollgate = Tollgate::start(&args.binary, folder.path(), upstream.address, args.workers)?;
    let works: Vec<&Work> = WORKS.iter().filter(|work| work.name.contains(&args.only)).collect();
    if let Some(seconds) = args.profile {
        return profile(&works, &tollgate, Duration::from_secs(seconds));
    }
    let nginx = Nginx::start(folder.path(), upstream.address)?;
    let figures = measure(args, &works, &Stand { upstream: upstream.address, nginx, tollgate })?;
    figures.check()?;
    say(&if args.json { report::json(&figures).to_string() } else { report::table(&figures) });
    if let Some(path) = &args.report {
        write(path, &report::page(&figures, args.workers))?;
    }
    Ok(())
}

/// What is measured.
struct Stand {
    upstream: SocketAddr,
    nginx: Nginx,
    tollgate: Tollgate,
}

impl Stand {
    fn door(&self, target: Target, work: &Work) -> (SocketAddr, Option<&Process>) {
        match target {
            Target::Direct => (self.upstream, None),
            Target::Nginx if work.streams() => (self.nginx.unbuffered, Some(&self.nginx.process)),
            Target::Nginx => (self.nginx.buffered, Some(&self.nginx.process)),
            Target::Tollgate => (self.tollgate.address, Some(&self.tollgate.process)),
        }
    }
}

fn measure(args: &Args, works: &[&'static Work], stand: &Stand) -> Result<Figures, Failure> {
    let load = Load::new()?;
    let (rounds, span) =
        if args.quick { (2, Duration::from_millis(1_100)) } else { (5, Duration::from_secs(3)) };
    let mut figures = Figures::default();
    let mut asked = 0;
    for work in works {
        // connections are opened and code paths are warm before anything counts
        for target in Target::ALL {
            let sample = load.run(work, stand.door(target, work).0, WARM_UP)?;
            asked += if target == Target::Tollgate { sample.requests } else { 0 };
        }
        for _ in 0..rounds {
            for target in Target::ALL {
                let (address, process) = stand.door(target, work);
                let before = process.map(Process::cpu).transpose()?;
                let sample = load.run(work, address, span)?;
                let spent = match (process, before) {
                    (Some(process), Some(before)) => Some(process.cpu_at_rest()?.saturating_sub(before)),
                    _ => None,
                };
                asked += if target == Target::Tollgate { sample.requests } else { 0 };
                figures.add(work, target, sample, spent);
            }
        }
    }
    // what was not recorded was not measured either
    let recorded = stand.tollgate.recorded()?;
    if recorded != asked {
        return Err(format!("{asked} requests were asked, the ledger knows {recorded}").into());
    }
    figures.peak(Target::Nginx, stand.nginx.process.peak_kib()?);
    figures.peak(Target::Tollgate, stand.tollgate.process.peak_kib()?);
    Ok(figures)
}

fn profile(works: &[&'static Work], tollgate: &Tollgate, span: Duration) -> Result<(), Failure> {
    let load = Load::new()?;
    for work in works {
        say(&format!("{}: process {} for {} s", work.name, tollgate.process.id(), span.as_secs()));
        load.run(work, tollgate.address, span)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    // cargo runs a bench in the package's own folder
    std::fs::write(path, text).map_err(|fault| format!("{}: {fault}", path.display()).into())
}

fn complain(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "the numbers are what this program is for")]
fn say(text: &str) {
    println!("{text}");
}

const WARM_UP: Duration = Duration::from_millis(400);
