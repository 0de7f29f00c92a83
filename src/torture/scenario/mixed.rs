//! `mixed`: requests of every operation, by all callers, for all models, JSON and streams, most of them well
//! and some of them broken off. Then every report must equal the oracle's log, to the token and the nano-USD:
//! per team, key, model and day. So that there is more than one day, midnight is put into the middle of the
//! run, by the choice of a time zone.

use std::collections::BTreeMap;

use jiff::tz::{Offset, TimeZone};
use serde_json::Value;

use super::lots::{Lots, one_of};
use crate::base::clock::Timestamp;
use crate::ledger::books::Books;
use crate::ledger::report::{self, Dimension, Query};
use crate::mock::Served;
use crate::store::ledger::Filter;
use crate::store::record::Record;
use crate::torture::TortureFault;
use crate::torture::ask::Operation;
use crate::torture::client::Leave;
use crate::torture::crowd::Planned;
use crate::torture::judge::case::{Case, Rules};
use crate::torture::rates::Rates;
use crate::torture::run::Stand;
use crate::torture::sheet::Invariant;

pub(super) async fn play(stand: &mut Stand<'_>) -> Result<(), TortureFault> {
    let requests = stand.options.requests;
    let (begun, tick) = (stand.clock.now(), stand.clock.tick());
    let spent_before = stand.gateway.spent()?;
    let plan = Plan::of(stand);
    let crowd = stand.crowd(AT_ONCE);
    let probe = stand.probe();
    let work = crowd.ask_all(move |number| (number < requests).then(|| plan.planned(number)));
    let cases = stand.crowd_of(&crowd, requests, work).await;
    stand.probed(probe);
    let seconds = stand.clock.tick().since(tick).as_secs().max(1);
    let midnight = begun.as_nanos().midpoint(stand.clock.now().as_nanos());
    // zones know whole seconds
    let mut log = Log::new(Timestamp::from_secs(Timestamp::from_nanos(midnight).as_secs()));
    let callers = stand.gateway.callers().to_vec();
    let judged = stand
        .judge(&cases, Rules::default(), begun, &mut |case, served, rows| {
            let caller = &callers[case.ask.caller % callers.len()];
            log.enter((&caller.team, &caller.key), case, served, rows);
        })
        .await?;
    stand.figure("requests", cases.len());
    stand.figure("body_bytes", cases.iter().map(|case| case.bytes).sum::<u64>());
    stand.count(&judged);
    stand.figure("requests_per_second", requests / seconds);
    stand.figure("told_nano_usd", log.cost);
    if stand.gateway.is_ours() {
        totals_agree(stand, &log, begun)?;
    }
    if let (Some(before), Some(after)) = (spent_before, stand.gateway.spent()?) {
        let (spent, told) = (after - before, log.cost);
        stand.sheet.check(Invariant::I2, log.holds(spent), || {
            format!("the oracle told usage of {told} nano-USD, the gateway says {spent}")
        });
    }
    Ok(())
}

/// The mix, the same for the same seed.
#[derive(Debug)]
struct Plan {
    lots: Lots,
    /// Whether there is only what a sum of spending can be told for: answers that report their usage.
    only_exact: bool,
}

impl Plan {
    fn of(stand: &Stand<'_>) -> Self {
        Self {
            lots: Lots::of(stand, 0),
            only_exact: stand.options.gateway.as_ref().is_some_and(|gateway| gateway.spend.is_some()),
        }
    }

    fn planned(&self, number: u64) -> Planned {
        let (mut ask, chance) = self.lots.draw(number, (1, 2));
        ask.wants_usage = chance.below(3) == 0;
        ask.run = EXACT;
        let mut leave = Leave::Never;
        let embeds = ask.operation == Operation::Embeddings;
        let (knobs, is_exact) = match chance.below(100) {
            0..3 => ("status=500", true),
            3..6 => ("status=429+retry-after=3", true),
            6..20 if self.only_exact => ("", true),
            6..10 if !embeds => ("out=60+cut=3000", false),
            10..13 if ask.stream => ("out=20+error-frame=9", false),
            13..16 if ask.stream => {
                leave = Leave::AfterBody(one_of(&chance, 4_000));
                ("out=60+pace=1ms", false)
            }
            16..20 if !embeds => ("no-usage", false),
            _ => (WELL[one_of(&chance, WELL.len())], true),
        };
        if !is_exact {
            ask.run = BROKEN;
        }
        Planned { leave, ..ask.with(knobs).into() }
    }
}

/// Answers that report what they used.
const WELL: [&str; 9] = [
    "",
    "",
    "out=33+cached=4+cache-write=3",
    "burst+reasoning=9",
    "slice=13",
    "usage=every-chunk",
    "crlf",
    "cached=5",
    "usage=finish-chunk",
];
/// The runs that the requests say they are of, so that a report can be about those alone that end well.
const EXACT: &str = "exact";
const BROKEN: &str = "broken";
const AT_ONCE: u64 = 64;

/// What the oracle's log adds up to, by team, key, model and day.
#[derive(Debug)]
struct Log {
    midnight: Timestamp,
    cells: BTreeMap<Cell, Figures>,
    cost: i64,
    answers: i64,
}

type Cell = (String, String, String, bool);
/// Requests, input, cached input, cache writes, output, cost.
type Figures = [u64; 6];

impl Log {
    fn new(midnight: Timestamp) -> Self {
        Self { midnight, cells: BTreeMap::new(), cost: 0, answers: 0 }
    }

    fn enter(&mut self, who: (&str, &str), case: &Case, served: &[Served], rows: &[Record]) {
        if case.ask.run != EXACT {
            return;
        }
        let Some(told) = served.last().filter(|one| one.status < 400) else { return };
        let usage = case.told(told);
        let cost = Rates::of(&case.ask.model).cost(&usage);
        self.cost += cost;
        self.answers += 1;
        // when a request began is for the gateway to say
        let Some(row) = rows.first() else { return };
        let is_later = row.started_at >= self.midnight.as_nanos();
        let cell = (who.0.to_owned(), who.1.to_owned(), case.ask.model.clone(), is_later);
        let figures = [
            1,
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
            u64::try_from(cost).unwrap_or(0),
        ];
        for (sum, figure) in self.cells.entry(cell).or_default().iter_mut().zip(figures) {
            *sum += figure;
        }
    }

    /// Others round each request in their own way: half a nano-USD for each is theirs.
    fn holds(&self, spent: i64) -> bool {
        (spent - self.cost).abs() <= self.answers / 2 + 1
    }
}

/// The gateway's own report against the oracle's log: invariant I2 for sums.
fn totals_agree(stand: &mut Stand<'_>, log: &Log, begun: Timestamp) -> Result<(), TortureFault> {
    let Some(data_dir) = stand.gateway.data_dir() else { return Ok(()) };
    let time_zone = midnight_at(log.midnight);
    let day = |at: Timestamp| {
        let at = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default();
        at.to_zoned(time_zone.clone()).date().to_string()
    };
    let first_day = day(begun);
    let by = vec![Dimension::Team, Dimension::Key, Dimension::Model, Dimension::Day, Dimension::Outcome];
    let filter = Filter { run: Some(EXACT.into()), ..Filter::default() };
    let mut books = Books::open(&data_dir)?;
    let report = report::run(&mut books, &Query { time_zone: time_zone.clone(), ..Query::new(by, filter) })?;
    let report = report.to_json();
    let mut reported: BTreeMap<Cell, Figures> = BTreeMap::new();
    for row in report["rows"].as_array().into_iter().flatten().filter(|row| row["outcome"] == "completed") {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        reported.insert((text("team"), text("key"), text("model"), text("day") != first_day), figures(row));
    }
    let days = reported.keys().map(|cell| cell.3).collect::<std::collections::BTreeSet<_>>().len();
    for cell in log.cells.keys().chain(reported.keys().filter(|cell| !log.cells.contains_key(*cell))) {
        let (told, said) = (log.cells.get(cell), reported.get(cell));
        stand.sheet.check(Invariant::I2, told == said, || {
            format!("{cell:?}: the oracle's log adds up to {told:?}, the report says {said:?}")
        });
    }
    stand.figure("cells_of_team_key_model_day", reported.len());
    stand.figure("days", days);
    stand.figure("reported_nano_usd", reported.values().map(|figures| figures[5]).sum::<u64>());
    Ok(())
}

fn figures(row: &Value) -> Figures {
    let figure = |name: &str| row[name].as_u64().unwrap_or(0);
    [
        figure("requests"),
        figure("input_tokens"),
        figure("cached_input_tokens"),
        figure("cache_write_tokens"),
        figure("output_tokens"),
        figure("cost_nano_usd"),
    ]
}

/// A time zone in which `instant` is midnight, to the second.
fn midnight_at(instant: Timestamp) -> TimeZone {
    let into_the_day = i32::try_from(instant.as_secs().rem_euclid(86_400)).unwrap_or(0);
    // zones reach from 12 hours behind to 14 ahead of UTC; midnight is the nearer one
    let offset = if into_the_day <= 43_200 { -into_the_day } else { 86_400 - into_the_day };
    TimeZone::fixed(Offset::from_seconds(offset).unwrap_or(Offset::UTC))
}
