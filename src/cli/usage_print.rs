//! How a usage report is printed: a table for people, CSV for spreadsheets.

use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use crate::base::money::NanoUsd;
use crate::ledger::report::{FIGURE_NAMES, Figures, Report};

use super::out;

/// The report as a table with a total. Columns of rare things appear where there are any.
pub(super) fn as_table(report: &Report) -> Table {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| (column.shown)(&report.total)).collect();
    let mut headings: Vec<String> = report.by.iter().map(ToString::to_string).collect();
    let labels = headings.len().max(1);
    if headings.is_empty() {
        headings.push(String::new());
    }
    headings.extend(columns.iter().map(|column| column.heading.to_owned()));
    let line = |values: &[String], figures: &Figures| {
        let mut cells = vec![String::new(); labels];
        for (cell, value) in cells.iter_mut().zip(values) {
            *cell = if value.is_empty() { "-".to_owned() } else { printable(value) };
        }
        cells.extend(columns.iter().map(|column| (column.cell)(figures)));
        cells
    };
    let mut rows: Vec<Vec<String>> = report.rows.iter().map(|row| line(&row.values, &row.figures)).collect();
    rows.push(line(&["total".to_owned()], &report.total));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut table = out::table(&headings, labels, rows);
    for column in table.column_iter_mut().take(labels) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    table
}

/// The report as CSV (RFC 4180, LF), a line per row. No total: who sums up a column would count it twice.
pub(super) fn as_csv(report: &Report) -> String {
    let dimensions = report.by.iter().map(|dimension| csv_text(&dimension.to_string()));
    let headings: Vec<String> = dimensions.chain(FIGURE_NAMES.map(String::from)).collect();
    let mut csv = headings.join(",") + "\n";
    for row in &report.rows {
        let values = row.values.iter().map(|value| csv_text(value));
        let figures = row.figures.as_json().into_iter().map(|figure| match figure {
            Value::Null => String::new(),
            number => number.to_string(),
        });
        csv += &values.chain(figures).collect::<Vec<_>>().join(",");
        csv.push('\n');
    }
    csv
}

struct Column {
    heading: &'static str,
    shown: fn(&Figures) -> bool,
    cell: fn(&Figures) -> String,
}

const COLUMNS: [Column; 15] = [
    Column { heading: "requests", shown: |_| true, cell: |f| thousands(f.requests) },
    Column { heading: "input", shown: |_| true, cell: |f| thousands(f.input_tokens) },
    Column { heading: "cached", shown: |f| f.cached_input_tokens > 0, cell: |f| rare(f.cached_input_tokens) },
    Column { heading: "output", shown: |_| true, cell: |f| thousands(f.output_tokens) },
    Column { heading: "reasoning", shown: |f| f.reasoning_tokens > 0, cell: |f| rare(f.reasoning_tokens) },
    Column { heading: "cost USD", shown: |_| true, cell: cost },
    Column {
        heading: "repriced USD",
        shown: |f| f.repriced.is_some(),
        cell: |f| f.repriced.map_or_else(|| "-".to_owned(), |repriced| usd(repriced.cost)),
    },
    Column {
        heading: "not repriced",
        shown: |f| f.repriced.is_some_and(|repriced| repriced.unpriced_requests > 0),
        cell: |f| rare(f.repriced.map_or(0, |repriced| repriced.unpriced_requests)),
    },
    Column {
        heading: "saved USD",
        shown: |f| f.saved > NanoUsd::ZERO,
        cell: |f| some(usd(f.saved), f.saved != NanoUsd::ZERO),
    },
    Column { heading: "unpriced", shown: |f| f.unpriced_requests > 0, cell: |f| rare(f.unpriced_requests) },
    Column { heading: "errors", shown: |f| f.errors > 0, cell: |f| rare(f.errors) },
    Column { heading: "refused", shown: |f| f.refused > 0, cell: |f| rare(f.refused) },
    Column { heading: "cache hits", shown: |f| f.cache_hits > 0, cell: |f| rare(f.cache_hits) },
    Column {
        heading: "p50/p95 ms",
        shown: |f| f.duration_p50_us.is_some(),
        cell: |f| millis(f.duration_p50_us, f.duration_p95_us),
    },
    Column {
        heading: "ttft ms",
        shown: |f| f.first_token_p50_us.is_some(),
        cell: |f| millis(f.first_token_p50_us, f.first_token_p95_us),
    },
];

/// An unknown price is never shown as 0.
fn cost(figures: &Figures) -> String {
    if figures.cost == NanoUsd::ZERO && figures.unpriced_requests > 0 {
        "unknown".to_owned()
    } else {
        usd(figures.cost)
    }
}

/// A count of rare things, that stands out among the rows that have none.
fn rare(count: u64) -> String {
    some(thousands(count), count > 0)
}

fn some(cell: String, is_any: bool) -> String {
    if is_any { cell } else { "-".to_owned() }
}

/// USD to the millionth, half up; a trifle is not nothing. JSON has it to the nano-USD.
pub(super) fn usd(amount: NanoUsd) -> String {
    if (1..500).contains(&amount.as_nanos()) {
        return "<0.000001".to_owned();
    }
    let micros = (i128::from(amount.as_nanos()) + 500).div_euclid(1_000);
    let sign = if micros < 0 { "-" } else { "" };
    let micros = u64::try_from(micros.unsigned_abs()).unwrap_or(u64::MAX);
    format!("{sign}{}.{:06}", thousands(micros / 1_000_000), micros % 1_000_000)
}

pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn millis(p50: Option<u64>, p95: Option<u64>) -> String {
    let (Some(p50), Some(p95)) = (p50, p95) else { return "-".to_owned() };
    let whole = |micros: u64| thousands(micros.saturating_add(500) / 1_000);
    format!("{} / {}", whole(p50), whole(p95))
}

/// What callers sent must not steer a terminal.
fn printable(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A text cell: quoted where needed, and never taken for a formula by a spreadsheet.
fn csv_text(value: &str) -> String {
    let formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let value = if formula { format!("'{value}") } else { value.to_owned() };
    if formula || value.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use crate::ledger::report::{Dimension, Row};

    use super::*;

    fn report(values: &[&str]) -> Report {
        let figures = Figures {
            requests: 1_234_567,
            cost: NanoUsd::new(1_234_000_000_499),
            duration_p50_us: Some(1_499),
            duration_p95_us: Some(2_500_000),
            ..Figures::default()
        };
        let rows = values.iter().map(|value| Row { values: vec![(*value).into()], figures }).collect();
        Report { by: vec![Dimension::Team], rows, total: figures }
    }

    #[test]
    fn a_table_can_be_read() {
        let table = as_table(&report(&["search", ""])).to_string();
        for wanted in ["search", "1,234,567", "1,234.000000", "1 / 2,500", "total", " - "] {
            assert!(table.contains(wanted), "{wanted} in {table}");
        }
        assert!(!table.contains("refused") && !table.contains("saved"), "{table}");
    }

    #[test]
    fn an_unknown_price_is_not_zero() {
        let figures = Figures { requests: 2, unpriced_requests: 2, ..Figures::default() };
        assert_eq!(cost(&figures), "unknown");
        assert_eq!(usd(NanoUsd::new(-1_500)), "-0.000001");
        assert_eq!(
            [0, 1, 499, 500].map(|n| usd(NanoUsd::new(n))),
            ["0.000000", "<0.000001", "<0.000001", "0.000001"]
        );
    }

    #[test]
    fn what_callers_sent_does_not_run_in_a_spreadsheet_or_terminal() {
        assert_eq!(csv_text("=cmd|'/c calc'!A1"), "\"'=cmd|'/c calc'!A1\"");
        for formula in ["+1", "-1", "@x", "\tx"] {
            assert!(csv_text(formula).starts_with("\"'"), "{formula}");
        }
        assert_eq!(csv_text("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_text("plain"), "plain");
        let csv = as_csv(&report(&["a\nb"]));
        assert!(csv.starts_with("team,requests,") && csv.contains("\n\"a\nb\",1234567,"), "{csv}");
        assert!(!as_table(&report(&["\u{1b}[2J"])).to_string().contains('\u{1b}'));
    }
}
