//! What becomes of CPU and start when teams, keys and rows become many: pairs of gateways, one small and one
//! grown, asked in turns.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::bar::{self, Measured};
use crate::figures::median;
use crate::gateways::{KEYS_OF_A_TEAM, Tollgate, key_of};
use crate::load::Load;
use crate::work::WORKS;
use crate::{Answered, Failure, Ground, rows};

/// How far it grows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Teams of the grown config, with ten keys each
    #[arg(long, default_value_t = 10_000)]
    teams: usize,
    /// Rows of the grown ledger [default: 10,000,000; 100,000 with --quick]
    #[arg(long)]
    rows: Option<u64>,
    /// Home of the gateway with the grown ledger: it is filled if there is none yet, and kept
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

/// Measures CPU per request and start. The load is the first work, by 100 callers from all over the config.
pub(crate) fn measure(ground: &Ground<'_>, args: &Args) -> Result<Answered, Failure> {
    let rows = args.rows.unwrap_or(if ground.args.quick { 100_000 } else { 10_000_000 });
    let path = |name: &str| ground.folder.path().join(name);
    let home = args.home.clone().unwrap_or_else(|| path("grown"));
    if !home.join("data").exists() {
        std::fs::create_dir_all(home.join("data"))?;
        rows::fill(&home.join("data"), rows, args.teams)?;
    }
    let load = Load::new()?;
    let (start, rows_gateway) = started(ground, args.teams, &home, &load)?;
    let small = Tollgate::start(&ground.setup(SMALL), &path("small"))?;
    let grown = Tollgate::start(&ground.setup(args.teams), &path("teams"))?;
    let stand = Stand { load, quick: ground.args.quick };
    let config = stand.pair((&small, SMALL), (&grown, args.teams))?;
    let ledger = stand.pair((&grown, args.teams), (&rows_gateway, args.teams))?;
    let text = format!(
        "{SMALL} teams: {:.1} µs of CPU per request, {} teams with {} keys: {:.1} µs ({:+.1} %). The ledger's writer, \
         empty ledger: {:.2} µs per request, {rows} rows: {:.2} µs ({:+.1} %). Start to the first answer with both: \
         {start:.0} ms. Medians; the difference is the median of those within a round.",
        config.small.all,
        args.teams,
        args.teams * KEYS_OF_A_TEAM,
        config.grown.all,
        config.more.all,
        ledger.small.writer,
        ledger.grown.writer,
        ledger.more.writer,
    );
    Ok(Answered {
        part: "growth",
        measured: vec![
            Measured::new(bar::GROWN_CONFIG, config.more.all),
            Measured::new(bar::GROWN_LEDGER, ledger.more.writer),
            Measured::new(bar::START, start),
        ],
        table: text.clone(),
        json: json!({
            "teams": args.teams,
            "rows": rows,
            "config_cpu_us": [config.small.all, config.grown.all],
            "config_more_percent": config.more.all,
            "ledger_writer_us": [ledger.small.writer, ledger.grown.writer],
            "ledger_cpu_us": [ledger.small.all, ledger.grown.all],
            "ledger_more_percent": ledger.more.writer,
            "start_ms": start,
        }),
        page: text,
    })
}

/// Milliseconds from the process's start to the first answer, and the last gateway that was started.
fn started(
    ground: &Ground<'_>,
    teams: usize,
    home: &std::path::Path,
    load: &Load,
) -> Result<(f64, Tollgate), Failure> {
    let mut times = Vec::new();
    let mut last: Option<Tollgate> = None;
    for _ in 0..if ground.args.quick { 1 } else { 5 } {
        if let Some(before) = last.take() {
            before.process.stop()?;
        }
        let tollgate = Tollgate::start(&ground.setup(teams), home)?;
        load.ask_once(&key_of(teams - 1, 0), &WORKS[0], tollgate.address)?;
        times.push(tollgate.spawned.elapsed().as_secs_f64() * 1e3);
        last = Some(tollgate);
    }
    let none = || "no gateway was started";
    Ok((median(times).ok_or_else(none)?, last.ok_or_else(none)?))
}

struct Stand {
    load: Load,
    quick: bool,
}

/// CPU per request in microseconds, or by how many percent it is more.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    all: f64,
    writer: f64,
}

struct Pair {
    small: Cpu,
    grown: Cpu,
    more: Cpu,
}

impl Stand {
    fn pair(&self, small: (&Tollgate, usize), grown: (&Tollgate, usize)) -> Result<Pair, Failure> {
        let (rounds, span) =
            if self.quick { (2, Duration::from_secs(1)) } else { (5, Duration::from_secs(3)) };
        // tables grow, accounts open and pages come in before anything counts
        self.round(small, Duration::from_secs(1))?;
        self.round(grown, Duration::from_secs(1))?;
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            pairs.push((self.round(small, span)?, self.round(grown, span)?));
        }
        let of = |figure: &dyn Fn(&(Cpu, Cpu)) -> Cpu| -> Result<Cpu, Failure> {
            let middle = |part: fn(Cpu) -> f64| median(pairs.iter().map(|pair| part(figure(pair))).collect());
            let none = || "no round was measured";
            Ok(Cpu {
                all: middle(|cpu| cpu.all).ok_or_else(none)?,
                writer: middle(|cpu| cpu.writer).ok_or_else(none)?,
            })
        };
        let percent = |small: f64, grown: f64| (grown / small - 1.0) * 100.0;
        let more = |(small, grown): &(Cpu, Cpu)| Cpu {
            all: percent(small.all, grown.all),
            writer: percent(small.writer, grown.writer),
        };
        Ok(Pair { small: of(&|pair| pair.0)?, grown: of(&|pair| pair.1)?, more: of(&more)? })
    }

    fn round(&self, (tollgate, teams): (&Tollgate, usize), span: Duration) -> Result<Cpu, Failure> {
        let cpu = || Ok::<_, Failure>((tollgate.process.cpu_at_rest()?, tollgate.process.cpu_of(WRITER)?));
        let before = cpu()?;
        let sample = self.load.run_by(&callers(teams), &WORKS[0], tollgate.address, span)?;
        let after = cpu()?;
        let micros = |before: Duration, after: Duration| {
            after.saturating_sub(before).as_secs_f64() * 1e6 / sample.requests.max(1) as f64
        };
        Ok(Cpu { all: micros(before.0, after.0), writer: micros(before.1, after.1) })
    }
}

/// As many callers in a small config as in a grown one, there from all over it.
fn callers(teams: usize) -> Vec<String> {
    let all = teams * KEYS_OF_A_TEAM;
    let at = |number: usize| number * all / CALLERS;
    (0..CALLERS).map(|number| key_of(at(number) / KEYS_OF_A_TEAM, at(number) % KEYS_OF_A_TEAM)).collect()
}

/// Teams of a small config.
const SMALL: usize = 10;

/// All keys of the small config.
const CALLERS: usize = SMALL * KEYS_OF_A_TEAM;

/// The thread of the ledger's writer.
const WRITER: &str = "ledger-writer";
