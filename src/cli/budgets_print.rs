//! How budgets are printed for people.

use comfy_table::{CellAlignment, Table};

use super::budgets::Standing;
use super::out;
use super::usage_print::{thousands, usd};
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::budget::{Limit, Unit};

/// A row per budget.
pub(super) fn as_table(standings: &[Standing]) -> Table {
    let mut table = out::table(&HEADINGS, LABELS, standings.iter().map(row).collect());
    for column in table.column_iter_mut().skip(LABELS + NUMBERS) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    table
}

const HEADINGS: [&str; 9] =
    ["scope", "window", "limit", "spent", "reserved", "left", "used", "resets at", "state"];
const LABELS: usize = 2;
const NUMBERS: usize = 5;

fn row(standing: &Standing) -> Vec<String> {
    let (spec, counts) = (&standing.spec, &standing.counts);
    let amount = |count: i64| match spec.limit.unit() {
        Unit::Usd => format!("{} USD", usd(NanoUsd::new(count))),
        Unit::Tokens if count < 0 => format!("-{} tokens", thousands(count.unsigned_abs())),
        Unit::Tokens => format!("{} tokens", thousands(count.unsigned_abs())),
    };
    let used = standing.used_per_mille();
    vec![
        spec.scope.to_string(),
        spec.every.as_str().to_owned(),
        limit(standing),
        amount(counts.spent),
        counts.reserved.map_or_else(|| "-".to_owned(), amount),
        amount(standing.left()),
        format!("{}.{}%", used / 10, used % 10),
        counts.resets_at.map_or_else(|| "never".to_owned(), |at| local(at, standing)),
        standing.state(),
    ]
}

/// As it was written, not to the millionth.
fn limit(standing: &Standing) -> String {
    match standing.spec.limit {
        Limit::Usd(_) => format!("{} USD", NanoUsd::new(standing.counts.limit)),
        Limit::Tokens(_) => format!("{} tokens", thousands(standing.counts.limit.unsigned_abs())),
    }
}

/// In the zone in which the budget's days begin.
fn local(at: Timestamp, standing: &Standing) -> String {
    let Ok(at) = jiff::Timestamp::from_second(at.as_secs()) else { return "never".to_owned() };
    at.to_zoned(standing.spec.time_zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::budgets::tests::standing;
    use super::*;

    #[test]
    fn a_budget_is_read_in_its_own_zone_and_unit() {
        let table = as_table(&[standing(499, None), standing(1_200, Some(0))]).to_string();
        for wanted in ["team search", "day", "2023-11-14 23:13 CET", "49.9%", " - ", "ok", "spent", "120.0%"]
        {
            assert!(table.contains(wanted), "{wanted} in {table}");
        }
    }
}
