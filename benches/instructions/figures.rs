//! The committed figures, and how what was measured stands beside them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// What is committed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The compiler and the machine's kind: with others the counts are others.
    built_with: String,
    /// Instructions by path.
    instructions: BTreeMap<String, u64>,
}

impl Figures {
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file).map_err(|fault| format!("{}: {fault}", file.display()))?;
        serde_json::from_str(&text).map_err(|fault| format!("{}: {fault}", file.display()).into())
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        Ok(std::fs::write(file, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// These, with what was measured in the place of what was known.
    pub(crate) fn with(&self, measured: &[(&'static str, u64)]) -> Result<Self, Failure> {
        let mut instructions = self.instructions.clone();
        instructions.extend(measured.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        Ok(Self { built_with: built_with()?, instructions })
    }
}

/// Measured beside known.
pub(crate) struct Comparison {
    lines: Vec<Line>,
    /// Another compiler: why nothing can be compared.
    elsewhere: Option<String>,
}

struct Line {
    name: &'static str,
    known: Option<u64>,
    measured: u64,
}

/// Whether the change may go in.
pub(crate) struct Verdict {
    pub(crate) is_fine: bool,
    pub(crate) text: String,
}

impl Comparison {
    pub(crate) fn of(known: &Figures, measured: &[(&'static str, u64)]) -> Result<Self, Failure> {
        let here = built_with()?;
        let elsewhere = (known.built_with != here).then(|| {
            format!("The figures are of {}, this is {here}: nothing is compared.", known.built_with)
        });
        let line = |(name, measured): &(&'static str, u64)| Line {
            name,
            known: known.instructions.get(*name).copied(),
            measured: *measured,
        };
        Ok(Self { lines: measured.iter().map(line).collect(), elsewhere })
    }

    pub(crate) fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["path", "instructions", "committed", "change"]);
        for line in &self.lines {
            let known = line.known.map_or_else(|| "none".to_owned(), |known| known.to_string());
            let change = line.percent().map_or_else(String::new, |percent| format!("{percent:+.2} %"));
            table.add_row([line.name.to_owned(), line.measured.to_string(), known, change]);
        }
        table.to_string()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        if let Some(text) = &self.elsewhere {
            return Verdict { is_fine: true, text: text.clone() };
        }
        let dearer = self.dearer().join(", ");
        if !dearer.is_empty() {
            let text = format!(
                "More than {MOST_PERCENT} % dearer than committed, or not committed yet: {dearer}.\nFind what costs: \
                 docs/PERFORMANCE.md#instructions. If it is worth it, accept it in the same commit:\n  {BLESS}"
            );
            return Verdict { is_fine: false, text };
        }
        let cheaper = self.names(|line| line.percent().is_some_and(|percent| percent < -MOST_PERCENT));
        let text = match cheaper.is_empty() {
            true => format!("All within {MOST_PERCENT} % of the committed figures."),
            false => format!("More than {MOST_PERCENT} % cheaper: {cheaper}. Keep it:\n  {BLESS}"),
        };
        Verdict { is_fine: true, text }
    }

    /// What costs more than it may.
    pub(crate) fn dearer(&self) -> Vec<&'static str> {
        let is_dearer = |line: &&Line| line.percent().is_none_or(|percent| percent > MOST_PERCENT);
        match self.elsewhere {
            Some(_) => Vec::new(),
            None => self.lines.iter().filter(is_dearer).map(|line| line.name).collect(),
        }
    }

    fn names(&self, wanted: impl Fn(&&Line) -> bool) -> String {
        self.lines.iter().filter(wanted).map(|line| line.name).collect::<Vec<_>>().join(", ")
    }
}

impl Line {
    /// By how much it changed.
    fn percent(&self) -> Option<f64> {
        let known = self.known?;
        Some((self.measured as f64 / known as f64 - 1.0) * 100.0)
    }
}

fn built_with() -> Result<String, Failure> {
    let output =
        Command::new("rustc").arg("--version").output().map_err(|fault| format!("rustc: {fault}"))?;
    let version = String::from_utf8(output.stdout)?;
    let (architecture, vectors) = (std::env::consts::ARCH, vectors());
    Ok(format!("{} on {architecture} {vectors}", version.trim()))
}

/// Searches and copies count as many instructions as their vectors are wide.
#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if std::arch::is_x86_feature_detected!("avx2") { "with avx2" } else { "without avx2" }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    ""
}

const MOST_PERCENT: f64 = 5.0;

const BLESS: &str = "cargo bench --profile quick --bench instructions -- --bless";
