//! What was measured, as a table for people and as JSON for programs.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::round::{Plan, ROUNDS, Round, Run, Side};
use super::timing::{Kind, Timing};
use crate::cli::out::table;

/// Everything.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) gateway: String,
    pub(super) upstream: String,
    pub(super) plan: Plan,
    pub(super) run: Run,
}

/// A time that was taken of each answer, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    FirstEvent,
    Gap,
    Answer,
}

impl Figure {
    const fn all_of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::Json => &[Self::Answer],
            Kind::Stream => &[Self::FirstEvent, Self::Gap, Self::Answer],
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::FirstEvent => "first_event",
            Self::Gap => "gap",
            Self::Answer => "answer",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::FirstEvent => "first event",
            Self::Gap => "gap between events",
            Self::Answer => "whole answer",
        }
    }

    fn of(self, side: &Side) -> Vec<Duration> {
        let times = |timing: &Timing| match self {
            Self::FirstEvent => timing.first_event.into_iter().collect(),
            Self::Gap => timing.gaps.clone(),
            Self::Answer => vec![timing.whole],
        };
        let mut all: Vec<Duration> = side.timings.iter().flat_map(times).collect();
        all.sort_unstable();
        all
    }
}

/// One row: a percentile of a figure, both ways, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    directly: i64,
    through: i64,
    /// The median of the rounds' differences.
    added: i64,
}

impl Row {
    /// Medians over the rounds that have both; `None` if there is none.
    fn of(rounds: &[Round], figure: Figure, percent: usize) -> Option<Self> {
        let both = |round: &Round| {
            let directly = percentile(&figure.of(&round.directly), percent)?;
            let through = percentile(&figure.of(&round.through), percent)?;
            Some((directly, through))
        };
        let pairs: Vec<(i64, i64)> = rounds.iter().filter_map(both).collect();
        Some(Self {
            directly: median(pairs.iter().map(|pair| pair.0).collect())?,
            through: median(pairs.iter().map(|pair| pair.1).collect())?,
            added: median(pairs.iter().map(|pair| pair.1 - pair.0).collect())?,
        })
    }
}

impl Report {
    /// Requests that failed, either way.
    pub(super) fn failures(&self) -> u32 {
        let rounds = self.run.kinds.iter().flat_map(|(_, rounds)| rounds);
        rounds.map(|round| round.directly.failed + round.through.failed).sum()
    }

    /// Lines for people.
    pub(super) fn for_people(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for (kind, rounds) in &self.run.kinds {
            for figure in Figure::all_of(*kind) {
                for percent in PERCENTILES {
                    let name = format!("{} {} p{percent}", kind.word(), figure.title());
                    let row = Row::of(rounds, *figure, percent);
                    rows.push(match row {
                        Some(row) => vec![name, span(row.directly), span(row.through), added(row.added)],
                        None => vec![name, "-".into(), "-".into(), "-".into()],
                    });
                }
            }
            if let Some(cpu) = cpu_per_request(rounds) {
                let name = format!("{} CPU of the gateway per request", kind.word());
                rows.push(vec![name, String::new(), span(cpu), String::new()]);
            }
        }
        let mut lines = vec![table(&["", "DIRECT", "GATEWAY", "ADDED"], 1, rows).to_string()];
        lines.push(format!(
            "{} of each kind each way, {} at once; p50 and p99 are medians of {ROUNDS} rounds, ADDED is the median of \
             their differences",
            self.plan.requests, self.plan.connections,
        ));
        lines.extend(self.faults());
        lines
    }

    fn faults(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (kind, rounds) in &self.run.kinds {
            let directly: Vec<&Side> = rounds.iter().map(|round| &round.directly).collect();
            let through: Vec<&Side> = rounds.iter().map(|round| &round.through).collect();
            for (way, sides) in [("directly", directly), ("through the gateway", through)] {
                let failed: u32 = sides.iter().map(|side| side.failed).sum();
                if let Some(first) = sides.iter().find_map(|side| side.fault.as_deref()) {
                    let first: String = first.chars().filter(|c| !c.is_control()).collect();
                    lines.push(format!("{} {way}: {failed} failed, the first with: {first}", kind.word()));
                }
            }
        }
        lines
    }

    pub(super) fn to_json(&self) -> Json {
        let kinds = self.run.kinds.iter().map(|(kind, rounds)| {
            let figures = Figure::all_of(*kind).iter().map(|figure| {
                let percentiles = PERCENTILES.iter().map(|percent| {
                    let row = Row::of(rounds, *figure, *percent).map(|row| {
                        json!({"direct_us": row.directly, "gateway_us": row.through, "added_us": row.added})
                    });
                    (format!("p{percent}"), row.into())
                });
                (figure.word().to_owned(), Json::Object(percentiles.collect()))
            });
            let of = |side: fn(&Round) -> &Side| {
                let answered: usize = rounds.iter().map(|round| side(round).timings.len()).sum();
                let failed: u32 = rounds.iter().map(|round| side(round).failed).sum();
                let fault = rounds.iter().find_map(|round| side(round).fault.clone());
                json!({"answered": answered, "failed": failed, "first_fault": fault})
            };
            let measured = json!({
                "direct": of(|round| &round.directly),
                "gateway": of(|round| &round.through),
                "times": Json::Object(figures.collect()),
                "cpu_us_per_request": cpu_per_request(rounds),
            });
            (kind.word().to_owned(), measured)
        });
        json!({
            "gateway": self.gateway,
            "upstream": self.upstream,
            "model": self.plan.model,
            "requests": self.plan.requests,
            "connections": self.plan.connections,
            "rounds": ROUNDS,
            "kinds": Json::Object(kinds.collect()),
        })
    }
}

/// The median over the rounds of CPU time by request; `None` if the process could not be seen.
fn cpu_per_request(rounds: &[Round]) -> Option<i64> {
    let per_request = |round: &Round| {
        let asked = i64::try_from(round.through.timings.len()).ok().filter(|count| *count > 0)?;
        Some(micros(round.through.cpu?) / asked)
    };
    median(rounds.iter().filter_map(per_request).collect())
}

/// The nearest rank; `None` of nothing.
fn percentile(sorted: &[Duration], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().map(micros)
}

fn median(mut values: Vec<i64>) -> Option<i64> {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// `840 µs`, `12.34 ms`, `1.20 s`
fn span(micros: i64) -> String {
    match micros.abs() {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{:02} ms", micros / 1_000, micros.abs() % 1_000 / 10),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros.abs() % 1_000_000 / 10_000),
    }
}

fn added(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "+" };
    format!("{sign}{}", span(micros.abs()))
}

const PERCENTILES: [usize; 2] = [50, 99];

#[cfg(test)]
mod tests {
    use super::*;

    fn side(wholes: &[u64]) -> Side {
        let timing = |whole: &u64| Timing {
            first_event: None,
            gaps: Vec::new(),
            whole: Duration::from_micros(*whole),
        };
        Side { timings: wholes.iter().map(timing).collect(), ..Side::default() }
    }

    #[test]
    fn what_is_added_is_the_median_of_the_rounds_differences() {
        let round =
            |directly: &[u64], through: &[u64]| Round { directly: side(directly), through: side(through) };
        let rounds = [round(&[10], &[30]), round(&[500], &[510]), round(&[20], &[1_000])];
        let row = Row::of(&rounds, Figure::Answer, 50);
        assert_eq!(row, Some(Row { directly: 20, through: 510, added: 20 }));
        assert_eq!(Row::of(&rounds, Figure::Gap, 50), None);
    }

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_micros).collect();
        assert_eq!((percentile(&times, 50), percentile(&times, 99)), (Some(50), Some(99)));
        assert_eq!((percentile(&times[..1], 99), percentile(&[], 50)), (Some(1), None));
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        assert_eq!([span(840), span(12_345), span(1_204_000)], ["840 µs", "12.34 ms", "1.20 s"]);
        assert_eq!([added(40), added(-1_500)], ["+40 µs", "-1.50 ms"]);
    }
}
