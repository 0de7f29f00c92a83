//! How budgets are printed for people.

use comfy_table::{CellAlignment, Table};
use jiff::tz::TimeZone;

use super::out;
use super::usage_print::{thousands, usd};
use crate::app::BudgetRow;
use crate::base::money::NanoUsd;

/// A row per account.
pub(super) fn as_table(rows: &[BudgetRow]) -> Table {
    let mut table = out::table(&HEADINGS, LABELS, rows.iter().map(cells).collect());
    for column in table.column_iter_mut().skip(LABELS + NUMBERS) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    table
}

const HEADINGS: [&str; 10] =
    ["scope", "window", "limit", "spent", "reserved", "left", "used", "resets at", "when spent", "state"];
const LABELS: usize = 2;
const NUMBERS: usize = 5;

fn cells(row: &BudgetRow) -> Vec<String> {
    vec![
        row.scope.clone(),
        row.window.clone(),
        // as it was written, not to the millionth
        amount(row, row.limit, |usd| usd.to_usd_string()),
        amount(row, row.spent, usd),
        row.reserved.map_or_else(|| "-".to_owned(), |reserved| amount(row, reserved, usd)),
        amount(row, row.left, usd),
        format!("{:.1}%", row.used_percent),
        row.resets_at.as_deref().map_or_else(|| "never".to_owned(), |at| local(at, &row.time_zone)),
        when_spent(row),
        row.state.clone(),
    ]
}

fn amount(row: &BudgetRow, count: i64, money: impl Fn(NanoUsd) -> String) -> String {
    let sign = if count < 0 { "-" } else { "" };
    match row.unit.as_str() {
        "nano_usd" => format!("{} USD", money(NanoUsd::new(count))),
        unit => format!("{sign}{} {unit}", thousands(count.unsigned_abs())),
    }
}

/// What it does, or what it would have done.
fn when_spent(row: &BudgetRow) -> String {
    let word = row.when_spent.as_str();
    match (row.shadow, row.would_have_refused, row.would_have_saved) {
        (true, Some(refused), Some(saved)) if refused > 0 => {
            format!("shadow: {} refused, {}", thousands(refused), amount(row, saved, usd))
        }
        (true, Some(_), _) => "shadow: none refused".to_owned(),
        (true, None, _) => "shadow".to_owned(),
        (false, ..) => word.to_owned(),
    }
}

/// In the zone in which the budget's days begin.
fn local(at: &str, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let Ok(at) = at.parse::<jiff::Timestamp>() else { return at.to_owned() };
    at.to_zoned(zone).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::budgets::tests::row;
    use super::*;

    #[test]
    fn a_budget_is_read_in_its_own_zone_and_unit() {
        let shadow = BudgetRow {
            unit: "requests".into(),
            shadow: true,
            would_have_refused: Some(3),
            would_have_saved: Some(3),
            ..row(1_200, Some(0))
        };
        let table = as_table(&[row(499, None), shadow]).to_string();
        for wanted in [
            "team search",
            "day",
            "2023-11-14 23:13 CET",
            "49.9%",
            " - ",
            "ok",
            "refuse",
            "-200 requests",
            "shadow: 3 refused, 3 requests",
        ] {
            assert!(table.contains(wanted), "{wanted} in {table}");
        }
    }
}
