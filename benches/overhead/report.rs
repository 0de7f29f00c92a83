//! The rounds as a table, as JSON, and as a part of the page docs/BENCHMARKS.md.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::figures::{Figures, Quantiles, Row, Target};

/// For a terminal.
pub(crate) fn table(figures: &Figures) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(HEADINGS);
    for row in figures.rows() {
        table.add_row(cells(&row));
    }
    format!("{table}\n{}", memory(figures))
}

/// For programs.
pub(crate) fn json(figures: &Figures) -> Value {
    let quantiles = |of: Option<Quantiles>| of.map(|of| json!({ "p50_us": of.p50, "p99_us": of.p99 }));
    let rows: Vec<Value> = figures
        .rows()
        .iter()
        .map(|row| {
            json!({
                "work": row.work.name,
                "target": row.target.name(),
                "requests": row.requests,
                "cpu_us_per_request": row.cpu_per_request,
                "cpu_us_per_event": row.cpu_per_event.filter(|_| row.work.streams()),
                "cpu_of_nginx": row.of_nginx,
                "answer": quantiles(Some(row.answers)),
                "answer_added": quantiles(row.added),
                "delivery": quantiles(row.deliveries),
                "delivery_added": quantiles(row.added_to_deliveries),
            })
        })
        .collect();
    let peaks: Vec<Value> = figures
        .peaks()
        .iter()
        .map(|(target, kib)| json!({ "target": target.name(), "peak_rss_kib": kib }))
        .collect();
    json!({ "rows": rows, "memory": peaks })
}

/// The table of all rounds, for the page.
pub(crate) fn page(figures: &Figures) -> String {
    let mut page = format!("| {} |\n|{}\n", HEADINGS.join(" | "), "---|".repeat(HEADINGS.len()));
    for row in figures.rows() {
        // writing to a String cannot fail
        let _ = writeln!(page, "| {} |", cells(&row).join(" | "));
    }
    page + "\n" + &memory(figures)
}

const HEADINGS: [&str; 10] = [
    "work",
    "through",
    "requests",
    "CPU per request",
    "CPU per event",
    "of nginx",
    "answer p50",
    "p99 (added)",
    "event p50",
    "p99 (added)",
];

fn cells(row: &Row) -> [String; 10] {
    let micros = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1} µs"));
    let events = row.cpu_per_event.filter(|_| row.work.streams());
    let answers = spread(Some(row.answers), row.added);
    let deliveries = spread(row.deliveries, row.added_to_deliveries);
    let [answer_p50, answer_p99] = answers;
    let [delivery_p50, delivery_p99] = deliveries;
    [
        if row.target == Target::Direct { row.work.title.to_owned() } else { String::new() },
        row.target.name().to_owned(),
        row.requests.to_string(),
        micros(row.cpu_per_request),
        micros(events),
        row.of_nginx.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        answer_p50,
        answer_p99,
        delivery_p50,
        delivery_p99,
    ]
}

fn spread(all: Option<Quantiles>, added: Option<Quantiles>) -> [String; 2] {
    let Some(all) = all else { return [String::new(), String::new()] };
    let of = |all: f64, added: Option<f64>| match added {
        Some(added) => format!("{:.2} ms ({:+.2})", all / 1e3, added / 1e3),
        None => format!("{:.2} ms", all / 1e3),
    };
    [of(all.p50, added.map(|added| added.p50)), of(all.p99, added.map(|added| added.p99))]
}

fn memory(figures: &Figures) -> String {
    let each = figures.peaks().iter();
    let each: Vec<String> =
        each.map(|(target, kib)| format!("{} {:.1} MiB", target.name(), *kib as f64 / 1_024.0)).collect();
    format!("Peak resident memory: {}.", each.join(", "))
}
