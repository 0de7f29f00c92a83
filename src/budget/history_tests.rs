//! Random histories over key, user, team and everything, against the plainest possible budgets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::section::{BudgetSection, Every, Per, WhenSpent};
use super::*;
use crate::base::chance::Chance;
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::units::Span;

/// FAULTS B11: the same decisions as the model, all or nothing over the levels, in 100,000 histories.
#[test]
fn any_history_agrees_with_the_plain_model() {
    // fewer where the test itself is run hundreds of times: tests/mutants/run
    let histories = option_env!("TOLLGATE_HISTORIES").map_or(100_000, |count| count.parse().unwrap());
    let admitted: u64 = (0..histories).map(history).sum();
    assert!((histories..7 * histories).contains(&admitted), "{admitted}: it admits some and refuses some");
}

/// One account of the model.
#[derive(Debug)]
struct Plain {
    limit: i64,
    period: Period,
    refuses: bool,
}

/// What one request holds or has used.
#[derive(Debug)]
struct Entry {
    accounts: [usize; 4],
    charged_at: Timestamp,
    units: i64,
    is_open: bool,
}

#[derive(Debug)]
struct Model {
    accounts: Vec<Plain>,
    entries: Vec<Entry>,
}

impl Model {
    fn counts(&self, account: usize, entry: &Entry, now: Timestamp) -> bool {
        let window = window(self.accounts[account].period, &jiff::tz::TimeZone::UTC, now);
        let is_rolling = matches!(self.accounts[account].period, Period::Rolling(_));
        // what is under way has not been spent at any time yet
        let is_within = window.start <= entry.charged_at && (is_rolling || window.holds(entry.charged_at));
        entry.accounts.contains(&account) && (is_within || is_rolling && entry.is_open)
    }

    fn sum(&self, account: usize, is_open: bool, now: Timestamp) -> i64 {
        let entries = self.entries.iter().filter(|entry| entry.is_open == is_open);
        entries.filter(|entry| self.counts(account, entry, now)).map(|entry| entry.units).sum()
    }

    fn fits(&self, account: usize, units: i64, now: Timestamp) -> bool {
        let plain = &self.accounts[account];
        let used = self.sum(account, true, now) + self.sum(account, false, now);
        !plain.refuses || used + units <= plain.limit
    }
}

const USERS: [&str; 2] = ["alice", "bob"];
const KEYS: [&str; 2] = ["prod", "ci"];

/// Budgets and their model: 0 everything, 1 the team, 2 and 3 its users, 4 and 5 its keys.
fn open(chance: &Chance) -> (Vec<Arc<Budget>>, Model) {
    let book = Book::new();
    let team = || Scope::Team("search".into());
    let key = |name: &str| Scope::Key("search".into(), name.into());
    let holders = [
        (Scope::Everything, None),
        (team(), None),
        (team(), Some(Per::User)),
        (key(KEYS[0]), None),
        (key(KEYS[1]), None),
    ];
    let (mut budgets, mut accounts) = (Vec::new(), Vec::new());
    for (scope, per) in holders {
        let mut section = BudgetSection { per: per.clone(), ..BudgetSection::default() };
        match chance.below(4) {
            0 => section.every = Some(Every::Hour),
            1 => section.every = Some(Every::Day),
            2 => section.rolling = Some(Span(Duration::from_hours(1))),
            _ => section.every = Some(Every::Total),
        }
        let limit = 30 + chance.below(200);
        section.limit_tokens = Some(limit);
        section.when_spent = if chance.below(6) == 0 { WhenSpent::Warn } else { WhenSpent::Cut };
        let spec = BudgetSpec::new(scope, &section).unwrap();
        for _ in 0..per.map_or(1, |_| USERS.len()) {
            let limit = i64::try_from(limit).unwrap();
            accounts.push(Plain { limit, period: spec.period, refuses: spec.is_held() });
        }
        budgets.push(book.open(spec));
    }
    (budgets, Model { accounts, entries: Vec::new() })
}

/// Plays one history; tells how many requests were admitted.
#[expect(clippy::too_many_lines, reason = "one arm per step")]
fn history(seed: u64) -> u64 {
    let chance = Chance::seeded(seed);
    let (budgets, mut model) = open(&chance);
    let pick = |below: usize| usize::try_from(chance.below(below as u64)).unwrap();
    let need = |units: i64| Need { cost: NanoUsd::ZERO, tokens: units.unsigned_abs(), requests: 1 };
    let tags = BTreeMap::new();
    let mut now = Timestamp::from_secs(1_700_000_000);
    let mut held: Vec<(usize, Reservation)> = Vec::new();
    let mut admitted = 0;
    for _ in 0..=chance.below(16) {
        let units = i64::try_from(chance.below(70)).unwrap();
        match chance.below(10) {
            0..4 => {
                let (user, key) = (pick(USERS.len()), pick(KEYS.len()));
                let spender = Spender {
                    team: "search",
                    key: KEYS[key],
                    user: USERS[user],
                    run: "",
                    model: "gpt-4o",
                    tags: &tags,
                };
                let accounts = [0, 1, 2 + user, 4 + key];
                let list = [0, 1, 2, 3 + key].map(|budget: usize| Arc::clone(&budgets[budget]));
                let got = reserve(&list, &spender, need(units), now);
                let fits = accounts.iter().all(|account| model.fits(*account, units, now));
                assert_eq!(got.is_ok(), fits, "seed {seed}: {units} at {now:?}");
                if let Ok(reservation) = got {
                    admitted += 1;
                    assert_eq!(reservation.charged_at(), now, "seed {seed}");
                    held.push((model.entries.len(), reservation));
                    model.entries.push(Entry { accounts, charged_at: now, units, is_open: true });
                }
            }
            4 | 5 if !held.is_empty() => {
                let (entry, reservation) = &mut held[0];
                let entry = &model.entries[*entry];
                // by the window that admitted it
                let objects = |account: &usize| {
                    let is_rolling = matches!(model.accounts[*account].period, Period::Rolling(_));
                    let at = if is_rolling { now } else { entry.charged_at };
                    units > 0 && !model.fits(*account, units, at)
                };
                let fits = !entry.accounts.iter().any(objects);
                assert_eq!(reservation.top_up(need(units)).is_ok(), fits, "seed {seed}: {units} more");
                if fits {
                    let place = held[0].0;
                    model.entries[place].units += units;
                }
            }
            6 if !held.is_empty() => {
                let (entry, reservation) = &mut held[0];
                reservation.lower_to(need(units));
                let entry = &mut model.entries[*entry];
                entry.units = entry.units.min(units);
                assert_eq!(i64::try_from(reservation.held().tokens), Ok(entry.units), "seed {seed}");
            }
            7 if !held.is_empty() => {
                let (entry, reservation) = held.swap_remove(pick(held.len()));
                reservation.settle(need(units));
                (model.entries[entry].units, model.entries[entry].is_open) = (units, false);
            }
            8 if !held.is_empty() => {
                let (entry, reservation) = held.swap_remove(pick(held.len()));
                drop(reservation);
                (model.entries[entry].units, model.entries[entry].is_open) = (0, false);
            }
            _ => {
                now = now.plus(Duration::from_mins(chance.below(90)));
                // a window turns when it is next looked at
                agree(&budgets, &model, now, seed);
            }
        }
    }
    agree(&budgets, &model, now, seed);
    admitted
}

fn agree(budgets: &[Arc<Budget>], model: &Model, now: Timestamp, seed: u64) {
    let tags = BTreeMap::new();
    for (account, (budget, user)) in [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (4, 0)].into_iter().enumerate()
    {
        let spender = Spender {
            team: "search",
            key: KEYS[budget.max(3) - 3],
            user: USERS[user],
            run: "",
            model: "gpt-4o",
            tags: &tags,
        };
        let watched = watch(&budgets[budget..=budget], &spender);
        let (spent, reserved) =
            watched.standings(now).next().map_or((0, 0), |s| (s.state.spent.count, s.state.reserved.count));
        let plain = &model.accounts[account];
        assert_eq!(spent, model.sum(account, false, now), "seed {seed}, account {account} {plain:?}");
        assert_eq!(reserved, model.sum(account, true, now), "seed {seed}, account {account} {plain:?}");
    }
}
