//! Collects faults while a file is read, and keeps consequences of a fault from being reported as faults.

use std::borrow::Cow;
use std::fmt;

use super::fault::{Fault, Severity, may_show};

/// A place in the file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Spot {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// A way from the top of the file to a value, e.g. `teams.search.budgets[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyPath<'a>(pub(super) Vec<Step<'a>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(Cow<'a, str>),
    Item(usize),
}

impl<'a> KeyPath<'a> {
    /// The path of a top-level key.
    pub(super) fn top(key: &'a str) -> Self {
        Self::default().key(key)
    }

    /// The path of `key` below this one.
    pub(super) fn key<'b>(&self, key: &'b str) -> KeyPath<'b>
    where
        'a: 'b,
    {
        self.then(Step::Key(key.into()))
    }

    /// The path of the item at `index` below this one.
    pub(super) fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    fn then<'b>(&self, step: Step<'b>) -> KeyPath<'b>
    where
        'a: 'b,
    {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        KeyPath(steps)
    }

    /// This path on its own: it outlives the file.
    fn kept(&self) -> KeyPath<'static> {
        let kept = |step: &Step<'_>| match step {
            Step::Key(key) => Step::Key(key.clone().into_owned().into()),
            Step::Item(index) => Step::Item(*index),
        };
        KeyPath(self.0.iter().map(kept).collect())
    }

    /// This path, less a last key that is long enough to be a credential in the wrong place.
    pub(super) fn showable(&self) -> Self {
        match self.0.split_last() {
            Some((Step::Key(key), before)) if !may_show(key) => Self(before.to_vec()),
            _ => self.clone(),
        }
    }

    /// The last key of a path that is one key longer than `parent`.
    fn child_of(&self, parent: &KeyPath<'_>) -> Option<&str> {
        let is_below = self.0.starts_with(&parent.0) && self.0.len() == parent.0.len() + 1;
        match self.0.last() {
            Some(Step::Key(key)) if is_below => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    if place > 0 {
                        f.write_str(".")?;
                    }
                    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                    if !key.is_empty() && key.chars().all(plain) {
                        f.write_str(key)?;
                    } else {
                        write!(f, "{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    faults: Vec<Fault>,
    wrong: Vec<KeyPath<'static>>,
    blamed: Vec<KeyPath<'static>>,
    left_out: usize,
    /// Whether an error is among them.
    left_out_errors: bool,
    errors: bool,
}

impl Report {
    /// Records an error at `spot`.
    pub(super) fn error(&mut self, spot: Spot, path: &KeyPath<'_>, message: impl Into<String>, hint: &str) {
        self.record(Severity::Error, (spot, path), message.into(), hint);
    }

    /// Records a warning at `spot`.
    pub(super) fn warning(&mut self, spot: Spot, path: &KeyPath<'_>, message: impl Into<String>, hint: &str) {
        self.record(Severity::Warning, (spot, path), message.into(), hint);
    }

    fn record(
        &mut self,
        severity: Severity,
        (spot, path): (Spot, &KeyPath<'_>),
        message: String,
        hint: &str,
    ) {
        if self.blamed.iter().any(|wrong| path.0.starts_with(&wrong.0)) {
            return;
        }
        self.errors |= severity == Severity::Error;
        if self.is_full(severity) {
            self.left_out += 1;
            self.left_out_errors |= severity == Severity::Error;
            return;
        }
        if severity == Severity::Error {
            self.wrong.push(path.kept());
        }
        self.faults.push(Fault {
            severity,
            line: spot.line,
            column: spot.column,
            path: path.to_string(),
            message,
            hint: (!hint.is_empty()).then(|| hint.to_owned()),
        });
    }

    /// From here on, a fault at or below a value already at fault is its consequence: not recorded.
    pub(super) fn blame_what_is_wrong(&mut self) {
        self.blamed.clone_from(&self.wrong);
    }

    /// Whether the value at `path`, or part of it, is blamed already.
    pub(super) fn blames(&self, path: &KeyPath<'_>) -> bool {
        self.blamed.iter().any(|wrong| path.0.starts_with(&wrong.0) || wrong.0.starts_with(&path.0))
    }

    /// Keys directly below `parent` that are blamed already.
    pub(super) fn blamed_keys<'a>(&'a self, parent: &'a KeyPath<'_>) -> impl Iterator<Item = &'a str> {
        self.blamed.iter().filter_map(|wrong| wrong.child_of(parent))
    }

    /// Whether any error was recorded.
    pub(super) fn has_errors(&self) -> bool {
        self.errors
    }

    /// Whether further faults of this kind are counted only, and a hint for them is wasted.
    pub(super) fn is_full(&self, severity: Severity) -> bool {
        self.faults.iter().filter(|fault| fault.severity == severity).count() >= MOST_FAULTS
    }

    /// All that was recorded, in the order of the file.
    pub(super) fn into_faults(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| (fault.line, fault.column));
        if self.left_out > 0 {
            self.faults.push(Fault {
                severity: if self.left_out_errors { Severity::Error } else { Severity::Warning },
                line: self.faults.last().map_or(1, |last| last.line),
                column: 1,
                path: String::new(),
                message: format!("and {} more", self.left_out),
                hint: None,
            });
        }
        self.faults
    }
}

/// More errors than this, or warnings, are counted only: nobody reads on, and a broken generator can make millions.
const MOST_FAULTS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_quote_names_with_dots() {
        let path = KeyPath::top("prices").key("gpt-4.1").key("input");
        assert_eq!(path.to_string(), "prices.\"gpt-4.1\".input");
        assert_eq!(KeyPath::top("routes").item(2).key("to").item(0).to_string(), "routes[2].to[0]");
    }

    #[test]
    fn a_consequence_of_a_fault_is_not_a_fault() {
        let budget = KeyPath::top("budgets").item(0);
        let mut report = Report::default();
        report.error(Spot::START, &budget.key("limit_usd"), "not a number", "");
        report.blame_what_is_wrong();
        report.error(Spot::START, &budget.key("limit_usd"), "is zero", "");
        report.error(Spot::START, &budget.key("every"), "something else", "");
        assert!(report.blames(&budget) && !report.blames(&budget.key("every")));
        assert_eq!(report.blamed_keys(&budget).collect::<Vec<_>>(), ["limit_usd"]);
        let messages: Vec<_> = report.into_faults().into_iter().map(|f| f.message).collect();
        assert_eq!(messages, ["not a number", "something else"]);
    }

    #[test]
    fn the_list_of_faults_is_bounded() {
        let mut report = Report::default();
        for _ in 0..MOST_FAULTS + 5 {
            report.error(Spot::START, &KeyPath::default(), "x", "");
        }
        let faults = report.into_faults();
        assert_eq!(faults.len(), MOST_FAULTS + 1);
        assert_eq!(faults.last().unwrap().message, "and 5 more");
    }

    #[test]
    fn however_many_warnings_there_are_an_error_is_told_and_they_are_none() {
        let mut report = Report::default();
        for _ in 0..MOST_FAULTS + 5 {
            report.warning(Spot::START, &KeyPath::default(), "x", "");
        }
        assert!(!report.has_errors());
        report.error(Spot { line: 2, column: 1 }, &KeyPath::default(), "wrong", "");
        let faults = report.into_faults();
        let errors: Vec<_> = faults.iter().filter(|fault| fault.severity == Severity::Error).collect();
        assert_eq!(errors.iter().map(|fault| &*fault.message).collect::<Vec<_>>(), ["wrong"]);
        assert_eq!(faults.last().unwrap().message, "and 5 more");
    }
}
