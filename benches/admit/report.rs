//! The table of figures, and its place in a page.

use std::fmt::Write as _;
use std::path::Path;

use tollgate::ledger::section::Durability;

use crate::Failure;

/// Nanoseconds per request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// CPU of a whole request's books, one request after the other.
    pub(crate) all: u64,
    /// CPU of reserve, intend, close, settle, each for many requests at a time.
    pub(crate) parts: [u64; 4],
    /// Wall time of one thread per request.
    pub(crate) wall: u64,
}

/// One row of the table.
pub(crate) struct Line {
    pub(crate) durability: Durability,
    pub(crate) threads: usize,
    pub(crate) figures: Figures,
}

impl Figures {
    /// What threads that worked side by side needed on average.
    pub(crate) fn mean(each: &[Self]) -> Self {
        let count = each.len().max(1) as u64;
        Self::by(each, |values| values.iter().sum::<u64>() / count)
    }

    /// The median of several rounds, figure by figure.
    pub(crate) fn medians(rounds: &[Self]) -> Self {
        Self::by(rounds, |values| {
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        })
    }

    fn by(all: &[Self], of: impl Fn(&mut Vec<u64>) -> u64) -> Self {
        let pick = |figure: &dyn Fn(&Self) -> u64| of(&mut all.iter().map(figure).collect());
        Self {
            all: pick(&|figures| figures.all),
            parts: [0, 1, 2, 3].map(|part| pick(&|figures| figures.parts[part])),
            wall: pick(&|figures| figures.wall),
        }
    }
}

/// The figures as a table in Markdown.
pub(crate) fn table(lines: &[Line], rounds: u32, requests: u64) -> String {
    let mut text = format!(
        "Nanoseconds of CPU per request; medians of {rounds} rounds of {requests} requests in one run.\n\n\
         | durability | threads on one key | in all | reserve | intend | close | settle | wall per request and thread |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for Line { durability, threads, figures } in lines {
        let durability = match durability {
            Durability::Process => "process",
            Durability::Power => "power",
        };
        let Figures { all, parts: [reserve, intend, close, settle], wall } = figures;
        // writing to a String cannot fail
        let _ = writeln!(
            text,
            "| {durability} | {threads} | {all} | {reserve} | {intend} | {close} | {settle} | {wall} |"
        );
    }
    text
}

/// Replaces what stands between the markers in `page`.
pub(crate) fn write_into(page: &Path, table: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(page)?;
    let missing = || format!("{} has no `{BEGIN}` and `{END}`", page.display());
    let begin = text.find(BEGIN).ok_or_else(missing)? + BEGIN.len();
    let end = text[begin..].find(END).ok_or_else(missing)? + begin;
    std::fs::write(page, format!("{}\n{table}{}", &text[..begin], &text[end..]))?;
    Ok(())
}

const BEGIN: &str = "<!-- admit: cargo bench --bench admit -- --report docs/RELIABILITY.md -->";
const END: &str = "<!-- /admit -->";
