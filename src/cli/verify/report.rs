//! What was found, as a table for people and as JSON for programs.

use serde_json::{Value as Json, json};

use super::super::out::table;
use super::case::Case;
use super::compare::{Difference, Part};
use super::usage::Finding;

/// One case, asked both ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) case: Case,
    pub(super) directly: u16,
    /// `None`: no answer.
    pub(super) through: Option<u16>,
    pub(super) differences: Vec<Difference>,
    /// What the upstream's own answers differ in, and so was not held against the gateway.
    pub(super) unstable: Vec<String>,
    pub(super) usage: Finding,
}

/// How a case came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Equal,
    /// The upstream does not offer it, and says so both ways in the same words.
    NotOffered,
    Different,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::NotOffered => "not_offered",
            Self::Different => "different",
        }
    }
}

impl Row {
    /// All differences, those in usage last.
    pub(super) fn found(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().chain(&self.usage.difference)
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.found().next().is_some() {
            Verdict::Different
        } else if self.directly >= 400 && self.case.most_output().is_some() {
            Verdict::NotOffered
        } else {
            Verdict::Equal
        }
    }

    fn part(&self, part: Part) -> &'static str {
        let differs = |wanted| self.found().any(|difference| difference.part == wanted);
        if differs(part) {
            "differs"
        } else if part != Part::Status && differs(Part::Status) {
            "-"
        } else {
            "same"
        }
    }

    fn status(&self) -> String {
        match self.through {
            Some(through) if through == self.directly => self.directly.to_string(),
            Some(through) => format!("{} -> {through}", self.directly),
            None => format!("{} -> none", self.directly),
        }
    }
}

/// Text of an answer without what a terminal would obey, and no longer than a few lines of it.
fn shown(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

const LONGEST_TEXT: usize = 400;

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) upstream: String,
    /// `None`: the command's own.
    pub(super) gateway: Option<String>,
    pub(super) model: String,
    pub(super) requests: u64,
    pub(super) rows: Vec<Row>,
}

impl Report {
    pub(super) fn is_equal(&self) -> bool {
        self.rows.iter().all(|row| row.verdict() != Verdict::Different)
    }

    /// Lines for people.
    pub(super) fn for_people(&self) -> Vec<String> {
        let line = |row: &Row| {
            let verdict = match row.verdict() {
                Verdict::Equal => "equal".into(),
                Verdict::NotOffered => format!("equal: not offered, {} both ways", row.directly),
                Verdict::Different => "DIFFERENT".to_owned(),
            };
            let (headers, body) = (row.part(Part::Headers).into(), row.part(Part::Body).into());
            vec![row.case.name().into(), row.status(), headers, body, row.usage.text.clone(), verdict]
        };
        let headings = ["CASE", "STATUS", "HEADERS", "BODY", "USAGE", "VERDICT"];
        let mut lines =
            vec![table(&headings, headings.len(), self.rows.iter().map(line).collect()).to_string()];
        for row in self.rows.iter().filter(|row| row.verdict() == Verdict::Different) {
            let count = row.found().count();
            let first = row.found().next().map(|difference| difference.text.as_str()).unwrap_or_default();
            let more = if count > 1 { format!(" (and {} more: --json)", count - 1) } else { String::new() };
            lines.push(format!("{}: {}{more}", row.case.name(), shown(first)));
        }
        for row in self.rows.iter().filter(|row| !row.unstable.is_empty()) {
            let unstable = shown(&row.unstable.join(", "));
            lines.push(format!("{}: the upstream's own answers differ in {unstable}", row.case.name()));
        }
        lines.push(self.summary());
        lines
    }

    fn summary(&self) -> String {
        let of = |verdict| self.rows.iter().filter(|row| row.verdict() == verdict).count();
        let (different, not_offered) = (of(Verdict::Different), of(Verdict::NotOffered));
        let cases = self.rows.len();
        if different > 0 {
            return format!("{different} of {cases} cases differ");
        }
        let but =
            if not_offered > 0 { format!(", {not_offered} of them not offered") } else { String::new() };
        format!("all {cases} cases are equal{but}")
    }

    pub(super) fn to_json(&self) -> Json {
        let difference = |found: &Difference| {
            let part = match found.part {
                Part::Status => "status",
                Part::Headers => "headers",
                Part::Body => "body",
                Part::Usage => "usage",
            };
            json!({"part": part, "about": found.about, "text": found.text})
        };
        let row = |row: &Row| {
            json!({
                "case": row.case.name(),
                "verdict": row.verdict().word(),
                "status": {"directly": row.directly, "gateway": row.through},
                "headers": row.part(Part::Headers),
                "body": row.part(Part::Body),
                "usage": {"text": row.usage.text, "compared": row.usage.is_compared},
                "differences": row.found().map(difference).collect::<Vec<_>>(),
                "unstable": row.unstable,
            })
        };
        json!({
            "upstream": self.upstream,
            "gateway": self.gateway,
            "model": self.model,
            "equal": self.is_equal(),
            "requests": self.requests,
            "cases": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}
