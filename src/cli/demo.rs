//! `tollgate demo`: the gateway at work without account, file or cost: a fake upstream, three teams and a
//! little traffic. Everything lies in a temporary folder that is gone afterwards.

mod client;
mod config;
mod script;
mod stage;

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use self::client::Client;
use self::script::SCRIPT;
use self::stage::{Stage, StageFault};
use super::out::{Exit, line, note};
use super::{budgets, budgets_print, usage};
use crate::app::BudgetRows;
use crate::base::clock::Clock;
use crate::config::settings::Settings;
use crate::ledger::report::Dimension;

/// Watch the gateway at work: a fake upstream, three teams, sample traffic; no account needed
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ctrl-C ends it at any time. Lines go to standard error, the tables to standard output."
)]
pub struct DemoArgs {
    /// How long the sample traffic goes on
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Go on listening after the traffic, for requests of your own, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Listen on any free ports instead of 4000 and 4001
    #[arg(long)]
    any_port: bool,
}

/// Runs the demo to its end or to Ctrl-C.
#[must_use]
pub fn run(args: &DemoArgs) -> Exit {
    match play(args) {
        Ok(()) => Exit::Ok,
        Err(fault) => {
            note(&format!("the demo cannot go on: {fault}"));
            Exit::Failed
        }
    }
}

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
enum DemoFault {
    #[error(transparent)]
    Stage(#[from] StageFault),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Books(String),
}

fn play(args: &DemoArgs) -> Result<(), DemoFault> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // before anything is set up, so that from here on a signal means an orderly end
    let mut stop = runtime.block_on(async { Stop::listen() })?;
    let stage = Stage::set(args.any_port)?;
    note(&stage.introduction());
    let interrupted = runtime.block_on(traffic(&stage, &mut stop, args.seconds));
    if args.keep && !interrupted {
        show_books(&stage.settings)?;
        note(&stage.invitation());
        runtime.block_on(stop.signalled());
    }
    end(runtime, stage, args.keep)
}

/// The client first, then the gateway and the mock; the books are shown when they are closed.
fn end(runtime: Runtime, mut stage: Stage, kept: bool) -> Result<(), DemoFault> {
    drop(runtime);
    stage.stop();
    show_books(&stage.settings)?;
    if !kept {
        note("\nTo send requests of your own:  tollgate demo --keep\nand in another terminal:");
        note(&stage.curl());
    }
    Ok(())
}

/// Sends the script, step by step, for `seconds`. True if it was interrupted.
async fn traffic(stage: &Stage, stop: &mut Stop, seconds: u64) -> bool {
    let client = Client::to(stage.data);
    let mut under_way = JoinSet::new();
    let mut steps = SCRIPT.iter().cycle().enumerate();
    let mut beat = tokio::time::interval(BEAT);
    let curtain = tokio::time::sleep(Duration::from_secs(seconds));
    tokio::pin!(curtain);
    loop {
        tokio::select! {
            () = stop.signalled() => return true,
            () = &mut curtain => break,
            _ = beat.tick() => {
                if let Some((number, step)) = steps.next() {
                    under_way.spawn(client.clone().send(step, number / SCRIPT.len()));
                }
            }
            Some(_) = under_way.join_next() => {}
        }
    }
    let rest = async { while under_way.join_next().await.is_some() {} };
    tokio::select! {
        () = stop.signalled() => true,
        // what is not over by then ends as a client that left
        _ = tokio::time::timeout(LAST_WORDS, rest) => false,
    }
}

/// A human can read along.
const BEAT: Duration = Duration::from_millis(280);
/// Longer than the longest answer of the script takes.
const LAST_WORDS: Duration = Duration::from_secs(4);

fn show_books(settings: &Settings) -> Result<(), DemoFault> {
    let by = vec![Dimension::Team, Dimension::Model];
    let spent = usage::overview(&settings.data_dir, by).map_err(DemoFault::Books)?;
    let rows = budgets::rows(settings, BudgetRows::default(), Clock::system().now());
    let left = budgets_print::as_table(&rows.map_err(DemoFault::Books)?.budgets);
    line(&format!("\ntollgate usage --by team,model\n{spent}\n\ntollgate budgets\n{left}"));
    Ok(())
}

/// Ctrl-C or SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn signalled(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
