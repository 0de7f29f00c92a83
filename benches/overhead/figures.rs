//! What was measured, and the figures made of it: medians over rounds, and ratios within a round.

use std::time::Duration;

use crate::bar::Measured;
use crate::load::Sample;
use crate::work::{Figure, Work};

/// Where a work goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Direct,
    Nginx,
    Tollgate,
}

impl Target {
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::Nginx, Self::Tollgate];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Tollgate => "tollgate",
        }
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    rounds: Vec<Round>,
    peaks: Vec<(Target, u64)>,
}

/// One work, once, at one target.
#[derive(Debug)]
struct Round {
    work: &'static Work,
    target: Target,
    requests: u64,
    cpu_per_request: Option<f64>,
    cpu_per_event: Option<f64>,
    answers: Quantiles,
    deliveries: Option<Quantiles>,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// One line of the report.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) work: &'static Work,
    pub(crate) target: Target,
    pub(crate) requests: u64,
    /// Microseconds.
    pub(crate) cpu_per_request: Option<f64>,
    /// Microseconds, the request's share included.
    pub(crate) cpu_per_event: Option<f64>,
    /// CPU beside nginx's in the same round.
    pub(crate) of_nginx: Option<f64>,
    pub(crate) answers: Quantiles,
    pub(crate) added: Option<Quantiles>,
    pub(crate) deliveries: Option<Quantiles>,
    pub(crate) added_to_deliveries: Option<Quantiles>,
}

impl Figures {
    pub(crate) fn add(&mut self, work: &'static Work, target: Target, sample: Sample, cpu: Option<Duration>) {
        let per = |count: u64| cpu.filter(|_| count > 0).map(|cpu| cpu.as_secs_f64() * 1e6 / as_float(count));
        self.rounds.push(Round {
            work,
            target,
            requests: sample.requests,
            cpu_per_request: per(sample.requests),
            cpu_per_event: per(sample.events),
            answers: Quantiles::of(sample.answers),
            deliveries: (!sample.deliveries.is_empty()).then(|| Quantiles::of(sample.deliveries)),
        });
    }

    pub(crate) fn peak(&mut self, target: Target, kib: u64) {
        self.peaks.push((target, kib));
    }

    /// Peak resident memory by target, in KiB.
    pub(crate) fn peaks(&self) -> &[(Target, u64)] {
        &self.peaks
    }

    /// A round without requests says nothing, and must not look like a fast one.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.rounds.iter().find(|round| round.requests == 0) {
            Some(round) => Err(format!("{} {}: no requests", round.work.name, round.target.name())),
            None => Ok(()),
        }
    }

    /// One row per work and target, in the order of measurement.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for round in &self.rounds {
            let known = rows.iter().any(|row| row.work.name == round.work.name && row.target == round.target);
            if !known {
                rows.push(self.row(round.work, round.target));
            }
        }
        rows
    }

    fn row(&self, work: &'static Work, target: Target) -> Row {
        let own = self.of(work, target);
        let direct = self.of(work, Target::Direct);
        let nginx = self.of(work, Target::Nginx);
        let ratios = own.iter().zip(&nginx);
        let ratios = ratios.filter_map(|(own, nginx)| Some(own.cpu_per_request? / nginx.cpu_per_request?));
        let away = target != Target::Direct;
        let added = |of: fn(&Round) -> Option<Quantiles>| {
            let pairs = own.iter().zip(&direct).filter_map(|(own, direct)| Some(of(own)?.minus(of(direct)?)));
            Quantiles::median(pairs.filter(|_| away).collect())
        };
        let all: Vec<Quantiles> = own.iter().map(|round| round.answers).collect();
        Row {
            work,
            target,
            requests: own.iter().map(|round| round.requests).sum(),
            cpu_per_request: median(own.iter().filter_map(|round| round.cpu_per_request).collect()),
            cpu_per_event: median(own.iter().filter_map(|round| round.cpu_per_event).collect()),
            of_nginx: median(ratios.collect()),
            answers: Quantiles::median(all).unwrap_or(Quantiles { p50: 0.0, p99: 0.0 }),
            added: added(|round| Some(round.answers)),
            deliveries: Quantiles::median(own.iter().filter_map(|round| round.deliveries).collect()),
            added_to_deliveries: added(|round| round.deliveries),
        }
    }

    /// The rows of the bar that these rounds tell: medians of what was put beside nginx within a round.
    pub(crate) fn measured(&self) -> Vec<Measured> {
        let mut all = Vec::new();
        for row in self.rows().iter().filter(|row| row.target == Target::Tollgate) {
            let figures = row.work.rows.iter().filter_map(|(name, figure)| {
                let later = |of: fn(&Round) -> Option<Quantiles>| self.later_than_nginx(row.work, of);
                let answers = || later(|round| Some(round.answers));
                let deliveries = || later(|round| round.deliveries);
                let figure = match figure {
                    Figure::OfNginx => row.of_nginx,
                    Figure::AnswerP50 => answers().map(|later| later.p50),
                    Figure::AnswerP99 => answers().map(|later| later.p99),
                    Figure::EventP50 => deliveries().map(|later| later.p50),
                    Figure::EventP99 => deliveries().map(|later| later.p99),
                };
                Some(Measured::new(name, figure?))
            });
            all.extend(figures);
        }
        all
    }

    /// How much later than through nginx: medians over the rounds, each beside its own.
    fn later_than_nginx(&self, work: &Work, of: fn(&Round) -> Option<Quantiles>) -> Option<Quantiles> {
        let pairs = self.of(work, Target::Tollgate).into_iter().zip(self.of(work, Target::Nginx));
        Quantiles::median(pairs.filter_map(|(own, nginx)| Some(of(own)?.minus(of(nginx)?))).collect())
    }

    fn of(&self, work: &Work, target: Target) -> Vec<&Round> {
        let wanted = |round: &&Round| round.work.name == work.name && round.target == target;
        self.rounds.iter().filter(wanted).collect()
    }
}

impl Quantiles {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        let micros = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e6);
        Self { p50: micros(at(50)), p99: micros(at(99)) }
    }

    fn minus(self, other: Self) -> Self {
        Self { p50: self.p50 - other.p50, p99: self.p99 - other.p99 }
    }

    fn median(all: Vec<Self>) -> Option<Self> {
        let p50 = median(all.iter().map(|one| one.p50).collect())?;
        Some(Self { p50, p99: median(all.into_iter().map(|one| one.p99).collect())? })
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, values[middle])),
        _ => Some(values[middle]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}
