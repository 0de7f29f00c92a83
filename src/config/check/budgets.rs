//! Checks of budgets, whoever holds them.

use jiff::tz::TimeZone;

use super::Checker;
use super::roads::catalogue_of;
use crate::base::clock::Clock;
use crate::budget::section::{BudgetSection, Every, Per, Unpriced, WhenSpent};
use crate::budget::{BudgetFault, BudgetSpec, Scope};
use crate::config::report::KeyPath;
use crate::config::settings::{Settings, Unmetered};

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_>) {
    list(&KeyPath::top("budgets"), &settings.budgets, settings, checker);
    for (name, team) in &settings.teams {
        let path = KeyPath::top("teams").key(name);
        list(&path.key("budgets"), &team.budgets, settings, checker);
        for (index, key) in team.keys.iter().enumerate().filter(|(_, key)| !key.budgets.is_empty()) {
            list(&path.key("keys").item(index).key("budgets"), &key.budgets, settings, checker);
        }
    }
}

/// Paths that cannot be metered pass by what is meant to hold: that should be known.
pub(super) fn unmetered(settings: &Settings, checker: &mut Checker<'_>) {
    let path = KeyPath::top("unmetered");
    // who writes it down knows it, and who mends a fault first is told of it then
    let is_known = settings.unmetered != Unmetered::Forward || checker.root.has(&path);
    if is_known || checker.report.has_errors() {
        return;
    }
    let (teams, keys) = (settings.teams.values(), || settings.teams.values().flat_map(|team| &team.keys));
    let of_teams = teams.clone().flat_map(|team| &team.budgets);
    let budgets = settings.budgets.iter().chain(of_teams).chain(keys().flat_map(|key| &key.budgets));
    let is_held = |budget: &BudgetSection| !budget.shadow && budget.when_spent != WhenSpent::Warn;
    if budgets.into_iter().any(is_held) {
        let message = "budgets do not hold what nobody can bound beforehand, such as batches, nor what cannot be metered, such as WebRTC calls";
        checker.warning(&path, message, "write `unmetered: refuse` to refuse those to callers with a budget, or `unmetered: forward` if it is meant so");
    }
    if teams.clone().any(|team| team.models.is_some()) || keys().any(|key| key.models.is_some()) {
        let message =
            "lists of `models` do not hold requests that cannot be metered: those may ask for any model";
        checker.warning(&path, message, "write `unmetered: refuse` to refuse those to callers with a budget, or `unmetered: forward` if it is meant so");
    }
}

fn list(path: &KeyPath<'_>, sections: &[BudgetSection], settings: &Settings, checker: &mut Checker<'_>) {
    for (index, section) in sections.iter().enumerate() {
        let path = path.item(index);
        limit(&path, section, checker);
        window(&path, section, checker);
        counted(&path, section, checker);
        price_as(&path.key("unpriced"), section, settings, checker);
        let path = path.key("warn_at");
        if !section.warn_at.is_sorted_by(|a, b| a < b) && !checker.is_wrong(&path) {
            let message = "must rise, without repetition";
            checker.error(&path, message, "e.g. `[75%, 90%]`; `[]` to never warn");
        }
    }
}

fn limit(path: &KeyPath<'_>, section: &BudgetSection, checker: &mut Checker<'_>) {
    let limits = [
        ("limit_usd", section.limit_usd.map(|usd| usd.0.as_nanos() == 0)),
        ("limit_tokens", section.limit_tokens.map(|tokens| tokens == 0)),
        ("limit_requests", section.limit_requests.map(|requests| requests == 0)),
    ];
    let written: Vec<_> = limits.into_iter().filter_map(|(key, zero)| Some((key, zero?))).collect();
    match written[..] {
        [] if section.per == Some(Per::Run) => {}
        [] if checker.meant(path, &["limit_usd", "limit_tokens", "limit_requests", "per"]) => {}
        [] => checker.error(path, "has no limit", "add `limit_usd`, `limit_tokens` or `limit_requests`"),
        [(key, true)] => {
            let hint = "to shut someone out, remove the key or let it expire";
            checker.error(&path.key(key), "a limit of 0 refuses everything", hint);
        }
        [_] => {}
        [(first, _), (second, _), ..] => {
            let message = format!("there is `{second}` too");
            checker.error(&path.key(first), message, "write two budgets: each holds alone");
        }
    }
}

fn window(path: &KeyPath<'_>, section: &BudgetSection, checker: &mut Checker<'_>) {
    match (section.every, section.rolling) {
        (Some(_), Some(_)) => {
            let hint = "write two budgets: each holds alone";
            checker.error(&path.key("rolling"), "there is `every` too", hint);
        }
        (None, None) if section.per == Some(Per::Run) => {}
        (None, None) if checker.meant(path, &["every", "rolling", "per"]) => {}
        (None, None) => {
            let hint = "add `every: month`, or hour, day, week or total; or `rolling: 24h`";
            checker.error(path, "has no window", hint);
        }
        (Some(_), None) => {}
        (None, Some(_)) => {
            let spec =
                BudgetSpec::new(Scope::Everything, &BudgetSection { limit_tokens: Some(1), ..bare(section) });
            if spec == Err(BudgetFault::Rolling) {
                checker.error(&path.key("rolling"), "must be between 1m and 366d", "e.g. `24h`, `30d`");
            }
        }
    }
    if section.first_day.is_some() && section.every != Some(Every::Week) {
        checker.error(&path.key("first_day"), "there is no week to begin", "it goes with `every: week`");
    }
    if section.reset_day.is_some() && section.every != Some(Every::Month) {
        checker.error(&path.key("reset_day"), "there is no month to begin", "it goes with `every: month`");
    }
    if section.reset_day.is_some_and(|day| !(1..=31).contains(&day)) {
        let hint = "1 to 31; the last day in months that are shorter";
        checker.error(&path.key("reset_day"), "no month has this day", hint);
    }
    if TimeZone::get(&section.time_zone).is_err() {
        let hint = "an IANA name such as `UTC`, `Europe/Berlin`, `America/New_York`";
        checker.error(&path.key("time_zone"), "not a time zone known on this machine", hint);
    }
}

/// Only its rolling window.
fn bare(section: &BudgetSection) -> BudgetSection {
    BudgetSection { rolling: section.rolling, ..BudgetSection::default() }
}

fn counted(path: &KeyPath<'_>, section: &BudgetSection, checker: &mut Checker<'_>) {
    if let Some(models) = &section.models {
        checker.patterns(&path.key("models"), models);
    }
    for (name, value) in &section.tags {
        if name.trim().is_empty() || value.trim().is_empty() {
            let hint = "e.g. `tags: { feature: search }`";
            checker.error(&path.key("tags").key(name), "a tag has a name and a value", hint);
        }
    }
}

/// A budget that prices what it does not know by a model that nobody knows would hold nothing.
fn price_as(path: &KeyPath<'_>, section: &BudgetSection, settings: &Settings, checker: &mut Checker<'_>) {
    let Unpriced::PriceAs(model) = &section.unpriced else { return };
    // a catalogue that cannot be read has its own fault
    let Some(catalogue) = catalogue_of(settings) else { return };
    if catalogue.price(None, model, Clock::system().now()).is_none() && !checker.is_wrong(path) {
        let hint = "a model of the catalogue (`tollgate prices show`) or of `prices`";
        checker.error(&path.key("price_as"), "this model has no price itself", hint);
    }
}
