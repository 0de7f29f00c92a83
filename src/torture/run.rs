//! A run: sets the stand up for each scenario, plays it, asks the judge.

use std::time::Duration;

use serde_json::{Value, json};

use super::crowd::Crowd;
use super::folder::Folder;
use super::foreign::Theirs;
use super::gateway::Gateway;
use super::judge::books;
use super::judge::case::{Case, Rules};
use super::judge::counters::{self, Sums};
use super::netfault::Netfault;
use super::oracle::Oracle;
use super::own::{Own, Wants};
use super::process::{self, Look};
use super::report::{Report, ScenarioReport};
use super::scenario::Scenario;
use super::sheet::{Invariant, Sheet};
use super::watch::{self, Health, Watch};
use super::{Options, TortureFault};
use crate::base::chance::Chance;
use crate::base::clock::{Clock, Timestamp};
use crate::mock::Served;
use crate::store::record::Record;

/// All that a scenario works with.
pub(super) struct Stand<'a> {
    pub(super) options: &'a Options,
    pub(super) oracle: Oracle,
    /// Between gateway and oracle; only where the network is tortured.
    pub(super) network: Option<Netfault>,
    pub(super) gateway: Gateway,
    pub(super) chance: Chance,
    pub(super) clock: Clock,
    pub(super) sheet: Sheet,
    pub(super) sums: Sums,
    /// Told to people while it runs.
    pub(super) note: &'a dyn Fn(&str),
    figures: Vec<(&'static str, Value)>,
    /// Makes the marks of this scenario its own.
    salt: u64,
}

/// Plays the scenarios and reports what held; `note` hears how far it is.
///
/// # Errors
/// When the kit itself cannot go on. What the gateway does wrong is in the report.
pub fn run(options: &Options, note: &dyn Fn(&str)) -> Result<Report, TortureFault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TortureFault::io("start a runtime"))?;
    runtime.block_on(async {
        let from_outside = options.gateway.is_some();
        let mut report = Report { seed: options.seed, from_outside, scenarios: Vec::new() };
        let mut theirs = None;
        for scenario in &options.scenarios {
            let folder = Folder::make().map_err(TortureFault::io("make a folder"))?;
            let mut stand = match &options.gateway {
                None => Stand::of_our_own(options, *scenario, folder, note)?,
                Some(_) => Stand::of_theirs(options, *scenario, &folder, note, theirs.take())?,
            };
            note(&format!("{}: seed {}", scenario.name(), options.seed));
            let begun = stand.clock.tick();
            scenario.play(&mut stand).await?;
            let seconds = stand.clock.tick().since(begun).as_secs_f64();
            report.scenarios.push(ScenarioReport {
                name: scenario.name(),
                seconds,
                figures: std::mem::take(&mut stand.figures),
                verdicts: std::mem::take(&mut stand.sheet).verdicts(),
            });
            if options.gateway.is_some() {
                theirs = Some((stand.oracle, stand.network, stand.gateway));
            }
        }
        Ok(report)
    })
}

/// Sees one case, what was served for it, and its rows.
type Each<'e> = &'e mut dyn FnMut(&Case, &[Served], &[Record]);

type Standing = (Oracle, Option<Netfault>, Gateway);

impl<'a> Stand<'a> {
    /// A fresh oracle and a fresh gateway with a config for the scenario.
    fn of_our_own(
        options: &'a Options,
        scenario: Scenario,
        folder: Folder,
        note: &'a dyn Fn(&str),
    ) -> Result<Self, TortureFault> {
        let chance = Chance::seeded(options.seed);
        let oracle = Oracle::start(([127, 0, 0, 1], 0).into(), &folder.path().join("oracle.jsonl"))?;
        let network = match scenario {
            Scenario::Network => Some(Netfault::start(oracle.address(), Chance::seeded(options.seed))?),
            _ => None,
        };
        let upstream = network.as_ref().map_or(oracle.address(), |network| network.address);
        let wants: Wants = scenario.wants();
        let mut own = Own::settle(folder, upstream, &wants, &chance)?;
        own.start()?;
        Ok(Self::with((oracle, network, Gateway::Own(own)), options, chance, note))
    }

    /// The user's gateway: oracle and gateway are the same for all scenarios.
    fn of_theirs(
        options: &'a Options,
        scenario: Scenario,
        folder: &Folder,
        note: &'a dyn Fn(&str),
        standing: Option<Standing>,
    ) -> Result<Self, TortureFault> {
        let chance = Chance::seeded(options.seed.wrapping_add(scenario as u64));
        if let Some(standing) = standing {
            return Ok(Self::with(standing, options, chance, note));
        }
        let asked = options.gateway.clone().expect("only called for a gateway of theirs");
        let log = folder.path().join("oracle.jsonl");
        let is_tortured = options.scenarios.contains(&Scenario::Network);
        let (oracle, network) = if is_tortured {
            let oracle = Oracle::start(([127, 0, 0, 1], 0).into(), &log)?;
            let network = Netfault::start_at(asked.oracle, oracle.address(), Chance::seeded(options.seed))?;
            (oracle, Some(network))
        } else {
            (Oracle::start(asked.oracle, &log)?, None)
        };
        let mut theirs = Theirs::new(asked)?;
        note(&theirs.instructions());
        theirs.start()?;
        Ok(Self::with((oracle, network, Gateway::Theirs(theirs)), options, chance, note))
    }

    fn with(standing: Standing, options: &'a Options, chance: Chance, note: &'a dyn Fn(&str)) -> Self {
        let (oracle, network, gateway) = standing;
        let salt = Chance::from_system().next_u64() >> 32;
        Self {
            options,
            oracle,
            network,
            gateway,
            chance,
            clock: Clock::system(),
            sheet: Sheet::default(),
            sums: Sums::default(),
            note,
            figures: Vec::new(),
            salt,
        }
    }

    /// Clients of the gateway where it listens now.
    pub(super) fn crowd(&self, at_once: u64) -> Crowd {
        Crowd::new(self.gateway.door(), self.gateway.callers(), at_once)
    }

    /// Drives a crowd and says now and then how far it is.
    pub(super) async fn crowd_of<T>(&self, crowd: &Crowd, of: u64, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut beat = tokio::time::interval(BEAT);
        beat.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = beat.tick() => (self.note)(&format!("  {} of {of}", crowd.answered())),
            }
        }
    }

    /// Begins to ask once a second whether the gateway lives.
    pub(super) fn probe(&self) -> Watch<Health> {
        match self.gateway.admin() {
            Some(admin) => watch::health(admin, "/healthz"),
            None => watch::health(self.gateway.door().address, "/v1/models"),
        }
    }

    /// Ends the probe; it must never have missed twice in a row.
    pub(super) fn probed(&mut self, probe: Watch<Health>) {
        let health = probe.end();
        self.sheet
            .check(Invariant::I13, health.missed_twice == 0, || format!("the health probe: {health:?}"));
    }

    /// Looks at the process before it is burdened; `None` where nobody may look.
    pub(super) fn at_rest(&mut self) -> Option<Look> {
        let look = self.look();
        if look.is_none() {
            self.sheet.cannot(Invariant::I8, "needs the gateway's process id; give --pid");
        }
        look
    }

    fn look(&self) -> Option<Look> {
        process::look(self.gateway.pid()?, self.oracle.address().port())
    }

    /// Invariant I8: after `streams` at once, the process is as it was, and was never large.
    pub(super) async fn is_at_rest_again(&mut self, before: Option<Look>, streams: u64) {
        let Some(before) = before else { return };
        let mut now = Look::default();
        for _ in 0..REST_LOOKS {
            now = self.look().unwrap_or_default();
            if now.descriptors <= before.descriptors + DESCRIPTORS {
                break;
            }
            tokio::time::sleep(REST_PAUSE).await;
        }
        let bound = before.peak_kib + BASE_KIB + streams * STREAM_KIB;
        self.sheet.check(Invariant::I8, now.peak_kib <= bound, || {
            format!("at most {} KiB, more than {bound}", now.peak_kib)
        });
        let is_back = now.descriptors <= before.descriptors + DESCRIPTORS;
        let threads = now.threads <= before.threads + THREADS;
        self.sheet.check(Invariant::I8, is_back && threads, || format!("before {before:?}, after {now:?}"));
        self.figure("peak_kib", now.peak_kib);
        self.figure("descriptors_before_and_after", vec![before.descriptors, now.descriptors]);
    }

    /// What the marks of `part` begin with: no two questions of any two runs are the same.
    pub(super) fn marks(&self, part: u64) -> String {
        format!("{:08x}-{part}", self.salt)
    }

    /// Notes a figure for the report.
    pub(super) fn figure(&mut self, name: &'static str, value: impl Into<Value>) {
        self.figures.push((name, json!(value.into())));
    }

    /// Notes what the judge counted in the books, if it could read them.
    pub(super) fn count(&mut self, judged: &Judged) {
        if self.gateway.is_ours() {
            self.figure("rows", judged.rows);
            self.figure("interrupted", judged.interrupted);
            self.figure("lost", judged.lost);
            self.figure("doubled", judged.doubled);
        }
    }

    /// Holds all cases since the last call against oracle, books and counters; `each` sees them with what
    /// belongs to them. `since` is before the first.
    pub(super) async fn judge(
        &mut self,
        cases: &[Case],
        rules: Rules,
        since: Timestamp,
        each: Each<'_>,
    ) -> Result<Judged, TortureFault> {
        let mut judged = Judged::default();
        let mut served = self.oracle.served().await;
        let data_dir = self.gateway.data_dir();
        let mut rows = books::Rows::new();
        if let Some(data_dir) = &data_dir {
            let closed = books::are_closed(data_dir).await?;
            self.sheet.check(Invariant::I1, closed, || "requests without an end at rest".into());
            rows = books::rows(data_dir, since)?;
            self.sums.add(&rows);
        } else {
            self.not_seen_from_outside();
        }
        judged.rows = rows.values().map(|rows| rows.len() as u64).sum();
        for case in cases {
            let served = served.remove(&case.ask.mark).unwrap_or_default();
            judged.served += served.len() as u64;
            case.judge_outside(&mut self.sheet, &served, rules);
            let rows = rows.remove(&case.ask.mark).unwrap_or_default();
            each(case, &served, &rows);
            if data_dir.is_some() {
                judged.lost +=
                    u64::from(rows.is_empty() && (!served.is_empty() || case.request_id.is_some()));
                judged.doubled += (rows.len() as u64).saturating_sub(1);
                case.judge_rows(&mut self.sheet, &rows, &served, rules);
                judged.interrupted +=
                    rows.iter().filter(|row| row.outcome.as_str() == "interrupted").count() as u64;
            }
        }
        let nobodys = |mark: &String| format!("nobody asked {mark}");
        for mark in served.keys() {
            self.sheet.check(Invariant::I1, false, || format!("served, but {}", nobodys(mark)));
        }
        for mark in rows.keys() {
            judged.invented += 1;
            self.sheet.check(Invariant::I1, false, || format!("recorded, but {}", nobodys(mark)));
        }
        if let Some(admin) = self.gateway.admin() {
            let sums = self.sums.clone();
            counters::agree(&mut self.sheet, admin, &sums).await;
        }
        self.is_alive();
        Ok(judged)
    }

    /// Invariant I13, of the process itself.
    fn is_alive(&mut self) {
        if let Gateway::Own(own) = &mut self.gateway {
            let (alive, panics) = (own.is_alive(), own.panics());
            let words = own.last_words();
            self.sheet.check(Invariant::I13, alive && panics == 0, || {
                format!("alive: {alive}, panics: {panics}: {words}")
            });
        }
    }

    fn not_seen_from_outside(&mut self) {
        for (invariant, why) in [
            (Invariant::I2, "needs the gateway's books; give --spend"),
            (Invariant::I3, "needs the gateway's books"),
            (Invariant::I4, "needs the gateway's budgets"),
            (Invariant::I5, "needs the gateway's books and counters"),
        ] {
            self.sheet.cannot(invariant, why);
        }
    }
}

const BEAT: Duration = Duration::from_secs(5);

/// Five seconds to get back to rest.
const REST_LOOKS: u32 = 100;
const REST_PAUSE: Duration = Duration::from_millis(50);
/// Descriptors that may come and go: files of the journal, one for each thread.
const DESCRIPTORS: u64 = 24;
/// Threads that may come and go: those that count tokens, for one.
const THREADS: u64 = 8;
/// What load may cost in any case, and for each stream: generous, so that only a leak passes it.
const BASE_KIB: u64 = 64 << 10;
const STREAM_KIB: u64 = 256;

/// What the judge counted on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Judged {
    pub(super) rows: u64,
    pub(super) served: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) invented: u64,
    pub(super) interrupted: u64,
}
