//! The bar: what each row may be at most, what it was, and whether that is enough.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::Failure;

/// One row of the bar.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) row: &'static str,
    unit: Unit,
    /// What it may be at most.
    bar: f64,
    /// What it is to be one day.
    moonshot: Option<f64>,
    /// The question that measures it: arguments of this bench.
    question: &'static str,
}

/// How a figure is written.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// Beside nginx, in the same round.
    OfNginx,
    /// Later than through nginx.
    LaterUs,
    Ms,
    KiB,
    MiB,
    /// More than in the small case, in percent.
    MorePercent,
    Count,
}

/// A row's figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) row: &'static str,
    pub(crate) figure: f64,
}

impl Measured {
    pub(crate) const fn new(row: &'static str, figure: f64) -> Self {
        Self { row, figure }
    }

    fn bar(&self) -> &'static Bar {
        BARS.iter().find(|bar| bar.row == self.row).expect("a figure belongs to a row of the bar")
    }

    fn verdict(&self) -> &'static str {
        let bar = self.bar();
        match bar.moonshot {
            Some(moonshot) if self.figure <= moonshot => "met, moonshot too",
            _ if self.figure <= bar.bar => "met",
            _ => "not met",
        }
    }

    fn cells(&self, date: &str) -> [String; 7] {
        let bar = self.bar();
        let [row, limit, moonshot, _, _, _, command] = bar.cells();
        let measured = bar.unit.write(self.figure);
        [row, limit, moonshot, measured, self.verdict().to_owned(), date.to_owned(), command]
    }
}

impl Bar {
    /// As long as nobody has measured.
    fn cells(&self) -> [String; 7] {
        let command = format!("`{COMMAND}{}`", self.question);
        let moonshot = self.moonshot.map_or_else(String::new, |most| self.unit.write(most));
        [
            self.row.into(),
            self.unit.write(self.bar),
            moonshot,
            String::new(),
            "not measured".into(),
            String::new(),
            command,
        ]
    }
}

impl Unit {
    fn write(self, figure: f64) -> String {
        // -0.00 would be read as a finding
        let figure = if figure == 0.0 { 0.0 } else { figure };
        match self {
            Self::OfNginx => format!("{figure:.2} x nginx"),
            Self::LaterUs => format!("{figure:+.0} µs"),
            Self::Ms => format!("{figure:.0} ms"),
            Self::KiB => format!("{figure:.1} KiB"),
            Self::MiB => format!("{figure:.1} MiB"),
            Self::MorePercent => format!("{figure:+.1} %"),
            Self::Count => format!("{figure:.0}"),
        }
    }
}

/// For a terminal.
pub(crate) fn table(all: &[Measured]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_header(&HEADINGS[..5]);
    for measured in all {
        table.add_row(&measured.cells("")[..5]);
    }
    table.to_string()
}

/// For programs.
pub(crate) fn json(all: &[Measured]) -> Value {
    let one = |measured: &Measured| {
        let bar = measured.bar();
        json!({
            "row": bar.row,
            "bar": bar.bar,
            "moonshot": bar.moonshot,
            "measured": measured.figure,
            "unit": bar.unit.to_string(),
            "verdict": measured.verdict(),
        })
    };
    all.iter().map(one).collect()
}

/// Puts the figures into the page's table of the bar; what other questions wrote there stays.
pub(crate) fn write_into(page: &Path, all: &[Measured], date: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(page).map_err(|fault| format!("{}: {fault}", page.display()))?;
    let stands = between(&text, "bar").ok_or_else(|| format!("{} has no part `bar`", page.display()))?;
    let mut table = format!("| {} |\n|{}\n", HEADINGS.join(" | "), "---|".repeat(HEADINGS.len()));
    for bar in BARS {
        let begins = format!("| {} |", bar.row);
        let measured = all.iter().find(|measured| measured.row == bar.row);
        let before = stands.lines().find(|line| line.starts_with(&begins));
        let line = match (measured, before) {
            (Some(measured), _) => format!("| {} |", measured.cells(date).join(" | ")),
            (None, Some(before)) => before.to_owned(),
            (None, None) => format!("| {} |", bar.cells().join(" | ")),
        };
        table += &line;
        table.push('\n');
    }
    put(page, "bar", &table)
}

/// Replaces a part of a page: what stands between `<!-- NAME -->` and `<!-- /NAME -->`.
pub(crate) fn put(page: &Path, name: &str, part: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(page).map_err(|fault| format!("{}: {fault}", page.display()))?;
    let stands = between(&text, name).ok_or_else(|| format!("{} has no part `{name}`", page.display()))?;
    let begin = stands.as_ptr() as usize - text.as_ptr() as usize;
    let (before, after) = (&text[..begin], &text[begin + stands.len()..]);
    std::fs::write(page, format!("{before}\n\n{}\n\n{after}", part.trim()))?;
    Ok(())
}

fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("<!-- {name} -->"))?;
    Some(after.split_once(&format!("<!-- /{name} -->"))?.0)
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OfNginx => "of nginx",
            Self::LaterUs => "us later than through nginx",
            Self::Ms => "ms",
            Self::KiB => "KiB",
            Self::MiB => "MiB",
            Self::MorePercent => "percent more",
            Self::Count => "",
        })
    }
}

const HEADINGS: [&str; 7] = ["row", "bar, at most", "moonshot", "measured", "verdict", "date", "command"];

const COMMAND: &str = "cargo bench --profile dist --bench overhead -- ";

pub(crate) const JSON_FULL: &str = "JSON, 32 connections, 400-byte prompt";
pub(crate) const JSON_STEADY: &str = "JSON, steady 300/s";
pub(crate) const STREAM_BURST: &str = "stream burst, 20 chunks";
pub(crate) const STREAM_PACED: &str = "stream paced, 40 x 20 ms, 64 connections";
pub(crate) const ADDED_P50: &str = "JSON at 300/s: added p50, over what nginx adds";
pub(crate) const ADDED_P99: &str = "JSON at 300/s: added p99, over what nginx adds";
pub(crate) const CHUNK_P50: &str = "chunk delay at the client, paced: p50, over nginx's";
pub(crate) const CHUNK_P99: &str = "chunk delay at the client, paced: p99, over nginx's";
pub(crate) const JSON_LONG: &str = "JSON, 200 KB prompt";
pub(crate) const OPEN_LOST: &str = "10,000 open streams: lost";
pub(crate) const OPEN_RESIDENT: &str = "10,000 open streams: resident each";
pub(crate) const OPEN_P99: &str = "10,000 open streams: event p99";
pub(crate) const IDLE: &str = "resident idle, after start, without a tokenizer";
pub(crate) const GROWN_CONFIG: &str = "10 against 10,000 teams with 100,000 keys: CPU per request";
pub(crate) const GROWN_LEDGER: &str = "empty ledger against 10 million rows: the writer's CPU per request";
pub(crate) const START: &str = "start to first served request, with that config and ledger";
pub(crate) const CACHE_HIT: &str = "JSON from the cache, beside nginx's proxying";

const fn bar(row: &'static str, unit: Unit, most: f64, moonshot: Option<f64>, question: &'static str) -> Bar {
    Bar { row, unit, bar: most, moonshot, question }
}

const BARS: &[Bar] = &[
    bar(JSON_FULL, Unit::OfNginx, 1.5, Some(1.2), "--only json-full"),
    bar(JSON_STEADY, Unit::OfNginx, 1.3, Some(1.1), "--only json-steady"),
    bar(STREAM_BURST, Unit::OfNginx, 1.6, Some(1.1), "--only stream-burst"),
    bar(STREAM_PACED, Unit::OfNginx, 1.3, Some(1.1), "--only stream-paced"),
    bar(ADDED_P50, Unit::LaterUs, 40.0, Some(0.0), "--only json-steady"),
    bar(ADDED_P99, Unit::LaterUs, 200.0, Some(0.0), "--only json-steady"),
    bar(CHUNK_P50, Unit::LaterUs, 20.0, Some(0.0), "--only stream-paced"),
    bar(CHUNK_P99, Unit::LaterUs, 0.0, Some(0.0), "--only stream-paced"),
    bar(JSON_LONG, Unit::OfNginx, 1.5, Some(1.2), "--only json-long"),
    bar(OPEN_LOST, Unit::Count, 0.0, None, "streams"),
    bar(OPEN_RESIDENT, Unit::KiB, 40.0, Some(20.0), "streams"),
    bar(OPEN_P99, Unit::Ms, 50.0, None, "streams"),
    bar(IDLE, Unit::MiB, 25.0, Some(15.0), "idle"),
    bar(GROWN_CONFIG, Unit::MorePercent, 5.0, Some(1.0), "growth"),
    bar(GROWN_LEDGER, Unit::MorePercent, 10.0, Some(3.0), "growth"),
    bar(START, Unit::Ms, 1_000.0, Some(200.0), "growth"),
    bar(CACHE_HIT, Unit::OfNginx, 0.8, Some(0.5), "--only json-cached"),
];
