//! `tollgate bench`: what a running gateway adds to what its upstream takes, measured side by side.

mod process;
mod report;
mod round;
mod timing;

use std::io;

use self::process::Process;
use self::report::Report;
use self::round::{Fault, Plan, Run};
use self::timing::{Kind, Way};
use super::compose::gateway_at;
use super::out::{Exit, agreed, line, note};
use super::place::{ConfigArg, UpstreamChoice, load, reachable, upstream_named};
use crate::base::secret::Secret;
use crate::config::{self, Loaded};
use crate::upstream::client::{TlsFault, tls_config};
use crate::upstream::endpoint::{Upstream, UpstreamFault};

/// Measure what a running gateway adds: latency, time to the first event, gaps between events, CPU
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Half of the requests go straight to the upstream, half through the gateway, in turns. They are \
                  small, and real: a provider bills them. Exit codes: 0 measured, 1 some requests failed, 2 it could \
                  not run, 3 the upstream or the gateway cannot be reached or refuses the credential."
)]
pub struct BenchArgs {
    #[command(flatten)]
    place: ConfigArg,
    /// The model to ask
    #[arg(long, value_name = "NAME")]
    model: String,
    /// The upstream that the gateway asks for this model [default: the only one of the config]
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Base URL of the running gateway [default: the config's data listener on this machine]
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// The environment variable that holds a key of the gateway
    #[arg(long, value_name = "VAR", default_value = "TOLLGATE_KEY")]
    key_env: String,
    /// Requests of each kind, each way
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(5..=100_000))]
    requests: u32,
    /// Requests under way at once
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    connections: u32,
    /// Only answers of this kind
    #[arg(long, value_name = "KIND")]
    only: Option<Kind>,
    /// Characters of each prompt
    #[arg(long, value_name = "COUNT", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    prompt: u32,
    /// Output cap of each request, tokens
    #[arg(long, value_name = "TOKENS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_tokens: u32,
    /// The gateway's process, for its CPU time [default: who listens at its address on this machine]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Send the requests without asking first
    #[arg(short, long)]
    yes: bool,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
enum BenchFault {
    #[error(transparent)]
    Choice(#[from] UpstreamChoice),
    #[error("{0} is not set; it should hold a key of the gateway (or name another variable: --key-env)")]
    NoKey(String),
    #[error("this sends requests to a real account: say --yes where nobody can be asked")]
    NotAgreed,
    #[error("nothing was sent")]
    Declined,
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Asking(#[from] Fault),
    #[error(transparent)]
    Upstream(#[from] UpstreamFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Measures and prints.
#[must_use]
pub fn run(args: &BenchArgs) -> Exit {
    let loaded = match load(&args.place.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let report = match measure(args, &loaded) {
        Ok(report) => report,
        Err(fault) => {
            note(&format!("tollgate bench: {fault}"));
            return if matches!(fault, BenchFault::Asking(_)) { Exit::Unreached } else { Exit::Failed };
        }
    };
    if args.json {
        line(&format!("{:#}", report.to_json()));
    } else {
        report.for_people().iter().for_each(|text| line(text));
    }
    if report.failures() == 0 { Exit::Ok } else { Exit::No }
}

fn measure(args: &BenchArgs, loaded: &Loaded) -> Result<Report, BenchFault> {
    let key = config::environment(&args.key_env).filter(|key| !key.is_empty());
    let key = Secret::new(key.ok_or_else(|| BenchFault::NoKey(args.key_env.clone()))?);
    let name = upstream_named(args.upstream.as_deref(), loaded)?;
    let upstream = Upstream::build(&name, &loaded.settings.upstreams[&name])?;
    let url = args.gateway.clone().unwrap_or_else(|| own_listener(loaded));
    let gateway = gateway_at(&url, key, upstream.kind)?;
    let process = match args.pid {
        Some(pid) => Some(Process::of(pid)),
        None => Process::listening_at(gateway.authority.host(), gateway.port()),
    };
    let plan = Plan {
        kinds: args.only.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]),
        requests: args.requests,
        connections: args.connections,
        prompt: args.prompt,
        max_tokens: args.max_tokens,
        model: args.model.clone(),
        speaks: upstream.kind,
    };
    announce(&plan, upstream.authority.host(), &url, process.as_ref());
    if !args.yes && !agreed().ok_or(BenchFault::NotAgreed)? {
        return Err(BenchFault::Declined);
    }
    let tls = tls_config()?;
    let (directly, through) = (Way::directly(upstream, &tls), Way::through(gateway, &tls));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = runtime.block_on(async {
        tokio::select! {
            run = Run::of(&plan, directly, through, process) => Ok(run?),
            _ = tokio::signal::ctrl_c() => Err(BenchFault::Interrupted),
        }
    })?;
    Ok(Report { gateway: url, upstream: name, plan, run })
}

/// Where the config's gateway is reached from this machine.
fn own_listener(loaded: &Loaded) -> String {
    let scheme = if loaded.settings.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}/v1", reachable(&loaded.settings.listen))
}

fn announce(plan: &Plan, host: &str, gateway: &str, process: Option<&Process>) {
    let cpu = match process {
        Some(process) => format!("its process is {}", process.id()),
        None => "its process is not on this machine, or not ours to see: no CPU time (--pid)".into(),
    };
    note(&format!(
        "{} requests with {}, half of them straight to {host}, half through {gateway}; {cpu}",
        plan.total(),
        plan.model,
    ));
}
