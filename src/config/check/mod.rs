//! What a form cannot say: names that must exist, numbers that must agree, addresses that must be addresses.

mod budgets;
mod callers;
mod doors;
mod roads;
mod signals;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::base::units::Span;

use super::fault::Severity;
use super::report::{KeyPath, Report, Spot};
use super::settings::Settings;
use super::suggest::did_you_mean;
use super::tree::Node;

/// Checks settings that fit their form; `root` knows the lines.
pub(super) fn check(settings: &Settings, root: &Node<'_>, report: &mut Report) {
    let mut checker = Checker { root, report };
    doors::check(settings, &mut checker);
    roads::check(settings, &mut checker);
    callers::check(settings, &mut checker);
    budgets::check(settings, &mut checker);
    signals::check(settings, &mut checker);
    retention(settings, &mut checker);
    late_bills(settings, &mut checker);
    budgets::unmetered(settings, &mut checker);
}

/// Rows must stay as long as a budget that ends counts them: it is counted from them at every start.
fn retention(settings: &Settings, checker: &mut Checker<'_>) {
    let Some(Span(keep)) = settings.ledger.keep else { return };
    let teams = settings.teams.values();
    let in_teams =
        teams.flat_map(|team| team.budgets.iter().chain(team.keys.iter().flat_map(|key| &key.budgets)));
    let rolling = settings.budgets.iter().chain(in_teams).filter_map(|budget| budget.rolling);
    let longest =
        rolling.map(|span| span.0 + span.0 / 60 + SLACK).max().unwrap_or_default().max(LONGEST_MONTH);
    if keep < longest {
        let path = KeyPath::top("ledger").key("keep");
        let days = longest.as_secs().div_ceil(86_400);
        let hint = format!("at least `{days}d`, so that the longest window finds its rows");
        checker.error(&path, "rows would go before the windows of budgets end", &hint);
    }
}

/// A bill must come while upstream and ledger still know what it is of.
fn late_bills(settings: &Settings, checker: &mut Checker<'_>) {
    let path = KeyPath::top("ledger").key("deferred_for");
    let within = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
    if !within.contains(&settings.ledger.deferred_for.0) && !checker.is_wrong(&path) {
        checker.error(&path, "must be between 1s and 30d", "e.g. `24h`");
    }
}

/// A clock change, and time for requests that began before the window.
const SLACK: Duration = Duration::from_hours(48);
const LONGEST_MONTH: Duration = Duration::from_hours(32 * 24);

struct Checker<'a> {
    root: &'a Node<'a>,
    report: &'a mut Report,
}

impl Checker<'_> {
    fn error(&mut self, path: &KeyPath<'_>, message: impl Into<String>, hint: &str) {
        self.report.error(self.spot_of(Severity::Error, path), path, message, hint);
    }

    fn warning(&mut self, path: &KeyPath<'_>, message: impl Into<String>, hint: &str) {
        self.report.warning(self.spot_of(Severity::Warning, path), path, message, hint);
    }

    /// Where a fault lies. Looking among forty thousand teams takes a while: not for those that are only counted.
    fn spot_of(&self, severity: Severity, path: &KeyPath<'_>) -> Spot {
        if self.report.is_full(severity) { Spot::START } else { self.root.spot_of(path) }
    }

    /// Whether the value at `path`, or part of it, has a fault already.
    fn is_wrong(&self, path: &KeyPath<'_>) -> bool {
        self.report.blames(path)
    }

    /// Whether one of `keys` was meant to be below `path`, with a value or a name that is at fault.
    fn meant(&self, path: &KeyPath<'_>, keys: &[&str]) -> bool {
        self.report.blamed_keys(path).any(|wrong| did_you_mean(wrong, keys).is_some())
    }

    /// A name that becomes a label, a header and an argument: 1 to 64 of letters, digits, `.`, `_`, `-`.
    fn name(&mut self, path: &KeyPath<'_>, name: &str) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            self.error(path, "this name cannot be used", "1 to 64 of letters, digits, `.`, `_` and `-`");
        }
    }

    /// Patterns of model names: some, and none empty.
    fn patterns(&mut self, path: &KeyPath<'_>, patterns: &[String]) {
        if patterns.is_empty() {
            self.error(path, "no model is named", "name models or patterns, e.g. `[gpt-4o, \"gpt-4*\"]`");
        }
        for (index, _) in patterns.iter().enumerate().filter(|(_, pattern)| pattern.trim().is_empty()) {
            self.error(&path.item(index), "an empty model name fits nothing", "`*` fits every model");
        }
    }

    /// A number or size that must not be nothing.
    fn not_zero(&mut self, path: &KeyPath<'_>, is_zero: bool) {
        if is_zero {
            self.error(path, "must be more than 0", "remove the key to get its default");
        }
    }
}

/// A hint that lists what exists, or the one that was meant.
fn known(written: &str, names: &[&str]) -> String {
    match did_you_mean(written, names) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if names.len() <= 12 => format!("there are {}", super::suggest::one_of(names)),
        None => format!("none of the {} names here is like it", names.len()),
    }
}
