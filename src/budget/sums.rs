//! Sums of the ledger's rows by name, for one budget: never more of them than a bound.

use std::collections::HashMap;
use std::sync::Arc;

use super::book::Budget;
use super::counted::{Member, Name};
use super::section::Per;
use super::spent::Spent;
use crate::base::clock::Timestamp;

/// Sums by name.
#[derive(Debug)]
pub(super) struct Sums {
    budget: Arc<Budget>,
    by_team: HashMap<Box<str>, OfTeam>,
    /// Names, of all teams.
    count: usize,
    most: usize,
}

#[derive(Debug, Default)]
struct OfTeam {
    by_name: HashMap<Box<str>, Sum>,
    /// Of names that came when there was no room.
    others: Option<Sum>,
}

/// What a name has spent.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    pub(super) spent: Spent,
    /// When it was first charged: the ledger's order of names.
    first: Timestamp,
    /// When it was last charged.
    pub(super) last: Timestamp,
}

impl Sums {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        let most = budget.accounts.most().saturating_mul(NAMES_PER_PLACE);
        Self { budget: Arc::clone(budget), by_team: HashMap::new(), count: 0, most }
    }

    pub(super) fn add(&mut self, name: &Name<'_>, charged_at: Timestamp, bucket: i64, count: i128) {
        let known =
            self.by_team.get_mut(name.team).and_then(|team| team.by_name.get_mut(name.value.as_ref()));
        if let Some(known) = known {
            known.add(charged_at, bucket, count);
            return;
        }
        if self.count >= self.most && self.is_per_run() {
            self.forget_half();
        }
        let has_room = self.count < self.most || self.budget.accounts.has(name);
        let of_team = self.by_team.entry(name.team.into()).or_default();
        let sum = if has_room {
            self.count += 1;
            of_team.by_name.entry(name.value.as_ref().into()).or_default()
        } else {
            of_team.others.get_or_insert_default()
        };
        sum.add(charged_at, bucket, count);
    }

    /// All sums, in the order in which their names take places: as they came, or the latest run first.
    pub(super) fn take(&mut self) -> Vec<(Member, Sum)> {
        let mut all = Vec::with_capacity(self.count);
        for (team, OfTeam { by_name, others }) in self.by_team.drain() {
            let member = |value| Member::Named { team: team.clone(), value };
            all.extend(by_name.into_iter().map(|(value, sum)| (member(value), sum)));
            all.extend(others.map(|sum| (Member::Others { team: team.clone() }, sum)));
        }
        self.count = 0;
        if self.is_per_run() {
            all.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.last));
        } else {
            all.sort_by_key(|(_, sum)| sum.first);
        }
        all
    }

    fn is_per_run(&self) -> bool {
        self.budget.counted().per == Some(Per::Run)
    }

    /// Only the latest runs will have places.
    fn forget_half(&mut self) {
        let sums = self.by_team.values().flat_map(|team| team.by_name.values());
        let mut last: Vec<Timestamp> = sums.map(|sum| sum.last).collect();
        let half = last.len() / 2;
        let (_, middle, _) = last.select_nth_unstable(half);
        for team in self.by_team.values_mut() {
            team.by_name.retain(|_, sum| sum.last > *middle);
        }
        self.count = self.by_team.values().map(|team| team.by_name.len()).sum();
    }
}

impl Sum {
    fn add(&mut self, charged_at: Timestamp, bucket: i64, count: i128) {
        self.spent.add(bucket, count);
        (self.first, self.last) = (self.first.min(charged_at), self.last.max(charged_at));
    }

    /// Adds those of another name that has the same account.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.spent.add_all(&other.spent);
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
    }
}

impl Default for Sum {
    fn default() -> Self {
        let (first, last) = (Timestamp::from_nanos(i64::MAX), Timestamp::from_nanos(i64::MIN));
        Self { spent: Spent::new(), first, last }
    }
}

/// Names that are told apart for each place that there is, so that those with an account are among them.
const NAMES_PER_PLACE: usize = 4;
