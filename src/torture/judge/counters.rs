//! Counters against records: invariant I5, for the gateway of the kit's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::books::Rows;
use crate::store::record::Record;
use crate::torture::sheet::{Invariant, Sheet};
use crate::torture::watch;

/// What rows add up to, by team.
#[derive(Debug, Clone, Default)]
pub(in crate::torture) struct Sums {
    by_team: BTreeMap<String, (i64, i64)>,
}

impl Sums {
    pub(in crate::torture) fn add(&mut self, rows: &Rows) {
        for row in rows.values().flatten() {
            let (cost, tokens) = self.by_team.entry(row.team.clone()).or_default();
            *cost += row.cost.unwrap_or_default().as_nanos();
            *tokens += tokens_of(row);
        }
    }

    fn of(&self, budget: &Value) -> Option<i64> {
        // further words name an account within the team's
        let team = budget["scope"].as_str()?.strip_prefix("team ").filter(|team| !team.contains(' '))?;
        let (cost, tokens) = self.by_team.get(team).copied().unwrap_or_default();
        match budget["unit"].as_str()? {
            "nano_usd" => Some(cost),
            "tokens" => Some(tokens),
            _ => None,
        }
    }
}

/// Waits until the gateway is at rest, then holds every counter against the rows.
pub(in crate::torture) async fn agree(sheet: &mut Sheet, admin: SocketAddr, sums: &Sums) {
    let mut shown = Value::Null;
    for _ in 0..MAX_LOOKS {
        let answer = watch::get(admin, "/api/v1/budgets");
        shown = answer.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
        let is_at_rest = watch::rows(&shown).all(|budget| budget["reserved"] == 0);
        if !shown.is_null() && is_at_rest {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    for budget in watch::rows(&shown) {
        sheet.check(Invariant::I5, budget["reserved"] == 0, || format!("reserved at rest: {budget}"));
        if let Some(sum) = sums.of(budget) {
            sheet.check(Invariant::I5, budget["spent"] == sum, || {
                format!("the rows add up to {sum}, not to the counter: {budget}")
            });
        }
    }
}

fn tokens_of(row: &Record) -> i64 {
    i64::try_from(row.usage.total_tokens()).unwrap_or(i64::MAX)
}

const MAX_LOOKS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(50);
