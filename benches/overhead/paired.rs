//! The works, in turns and in rounds: straight to the upstream, through nginx, through Tollgate.

use std::net::SocketAddr;
use std::time::Duration;

use crate::figures::{Figures, Target};
use crate::gateways::{Nginx, Tollgate};
use crate::load::Load;
use crate::process::Process;
use crate::work::{CACHED, WORKS, Work};
use crate::{Answered, Failure, Ground, report, say};

/// Measures the works that were asked for.
pub(crate) fn measure(ground: &Ground<'_>) -> Result<Answered, Failure> {
    let stand = Stand {
        upstream: ground.upstream.address,
        nginx: Nginx::start(ground.folder.path(), ground.upstream.address)?,
        tollgate: Tollgate::start(&ground.setup(1), &ground.folder.path().join("tollgate"))?,
    };
    let figures = stand.measure(&asked(ground), ground.args.quick)?;
    figures.check()?;
    exported(ground)?;
    Ok(Answered {
        part: "works",
        measured: figures.measured(),
        table: report::table(&figures),
        json: report::json(&figures),
        page: report::page(&figures),
    })
}

/// Only through Tollgate, for a profiler.
pub(crate) fn profile(ground: &Ground<'_>) -> Result<(), Failure> {
    let tollgate = Tollgate::start(&ground.setup(1), &ground.folder.path().join("tollgate"))?;
    let span = Duration::from_secs(ground.args.profile.unwrap_or_default());
    let load = Load::new()?;
    for work in asked(ground) {
        say(&format!("{}: process {} for {} s", work.name, tollgate.process.id(), span.as_secs()));
        load.run(work, tollgate.address, span)?;
    }
    Ok(())
}

fn asked(ground: &Ground<'_>) -> Vec<&'static Work> {
    WORKS.iter().filter(|work| work.name.contains(&ground.args.only)).collect()
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

    fn measure(&self, works: &[&'static Work], quick: bool) -> Result<Figures, Failure> {
        let load = Load::new()?;
        let (rounds, span) =
            if quick { (2, Duration::from_millis(1_100)) } else { (5, Duration::from_secs(3)) };
        let mut figures = Figures::default();
        let mut asked = 0;
        for work in works {
            // connections are opened, code paths warm and answers in the cache before anything counts
            for target in Target::ALL {
                let (address, process) = self.door(target, work);
                let sample = load.run(work, address, WARM_UP)?;
                process.map(Process::rest).transpose()?;
                asked += if target == Target::Tollgate { sample.requests } else { 0 };
            }
            for _ in 0..rounds {
                for target in Target::ALL {
                    let (address, process) = self.door(target, work);
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
        let recorded = self.tollgate.recorded()?;
        if recorded.requests != asked {
            return Err(format!("{asked} requests were asked, the ledger knows {}", recorded.requests).into());
        }
        if recorded.hits == 0 && works.iter().any(|work| work.name == CACHED) {
            return Err("no answer came from the cache".into());
        }
        figures.peak(Target::Nginx, self.nginx.process.peak_kib()?);
        figures.peak(Target::Tollgate, self.tollgate.process.peak_kib()?);
        Ok(figures)
    }
}

/// What was not exported was not measured either. Batches of spans are sent every few seconds.
fn exported(ground: &Ground<'_>) -> Result<(), Failure> {
    for _ in 0..PATIENCE {
        if ground.receiver.traces() > 0 {
            return Ok(());
        }
        crate::load::pause(Duration::from_millis(100));
    }
    Err("no trace was exported".into())
}

const WARM_UP: Duration = Duration::from_millis(400);

/// Tenths of a second.
const PATIENCE: u32 = 150;
