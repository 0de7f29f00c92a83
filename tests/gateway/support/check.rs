//! What must hold after every test, whatever it did: invariants I1 and I5 of the design.

use std::collections::HashSet;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tollgate::base::usage::UsageSource;
use tollgate::ledger::books::Books;
use tollgate::store::record::{Outcome, Record};

use super::setup::UPSTREAM_KEY;
use super::{House, eventually};

/// While the gateway still runs: no reservation is open, and every counter is the sum of its rows.
pub(super) fn at_rest(house: &House) {
    if house.process.is_none() {
        return;
    }
    eventually("no reservation is open", || {
        let shown = house.admin("/api/v1/budgets");
        let held = |row: &Value| row["reserved"].as_i64().unwrap() != 0;
        (!shown["budgets"].as_array().unwrap().iter().any(held)).then_some(())
    });
    let rows = house.rows();
    for budget in house.admin("/api/v1/budgets")["budgets"].as_array().unwrap() {
        let scope = budget["scope"].as_str().unwrap();
        let Some(team) = scope.strip_prefix("team ") else { continue };
        let sum: i64 = rows.iter().filter(|row| row.team == team).map(|row| spent(row, budget)).sum();
        assert_eq!(budget["spent"], sum, "the counter of {scope} is the sum of its rows: {budget}");
    }
}

/// After it stopped: one row per request, and one request per row.
pub(super) fn the_books(house: &House) {
    let rows = house.rows();
    let ids: HashSet<u128> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), rows.len(), "no request has two rows");
    let open = Books::open(&house.data_dir()).unwrap().open_intents().unwrap();
    assert_eq!(open, 0, "no request is without an end");
    let sent: usize = rows.iter().map(attempts_that_arrived).sum();
    let served = house.served().len();
    if house.was_killed {
        assert!(sent >= served, "every request that the mock served has its row: {sent}, {served}");
    } else {
        assert_eq!(sent, served, "every request that the mock served has its row");
    }
}

/// The beginning of the SHA-256 of the upstream's key, by which the mock tells who asked.
pub(super) fn credential() -> String {
    sha256_hex(UPSTREAM_KEY.as_bytes())[..8].into()
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn spent(row: &Record, budget: &Value) -> i64 {
    match budget["unit"].as_str().unwrap() {
        "tokens" => i64::try_from(row.usage.total_tokens()).unwrap(),
        "requests" => i64::from(row.admitted_at > 0),
        _ => row.cost.unwrap_or_default().as_nanos(),
    }
}

/// Attempts of a row that the mock must have seen. A process that is killed between an intent and its
/// outcome leaves one that it may have seen.
fn attempts_that_arrived(row: &Record) -> usize {
    match row.outcome {
        // an estimate is of what an upstream may have read
        Outcome::UpstreamUnreachable if row.usage_source == UsageSource::None => 0,
        Outcome::Interrupted => 1,
        _ => usize::try_from(row.attempts).unwrap(),
    }
}
