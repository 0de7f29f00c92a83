//! The store is locked, slow or away: requests do not notice, and nothing is lost or doubled.

use std::collections::HashSet;

use rusqlite::Connection;
use serde_json::json;
use tollgate::store::ledger::{Filter, LedgerReader as _};
use tollgate::store::sqlite::{FILE_NAME, SqliteReader};

use crate::support::{Answer, Ask, House, Rates, Setup, Team, eventually};

const RATES: Rates = Rates::flat(150_000, 600_000);

fn house() -> House {
    Setup::default()
        .team(Team::new("search").with("budgets: [{ limit_usd: 1000, every: total }]"))
        .price("gpt", RATES)
        .start()
}

fn chat() -> Ask {
    let body = json!({"model": "gpt", "messages": [{"role": "user", "content": "hello"}]});
    Ask::post("/v1/chat/completions", &body).team("search")
}

fn ask(house: &House, times: usize) -> Vec<Answer> {
    let mut wire = house.connect();
    (0..times)
        .map(|_| {
            let answer = wire.ask(&chat());
            assert_eq!(answer.status(), 200, "{}", answer.text());
            answer
        })
        .collect()
}

/// Another program that does not let go of the ledger.
fn lock(house: &House) -> Connection {
    let other = Connection::open(house.data_dir().join(FILE_NAME)).unwrap();
    eventually("the lock is ours", || other.execute_batch("BEGIN IMMEDIATE").ok());
    other
}

/// Rows of the ledger alone, without what is in the journal.
fn settled(house: &House) -> usize {
    let mut rows = 0;
    let mut reader = SqliteReader::open(&house.data_dir()).unwrap().unwrap();
    reader.scan(&Filter::default(), &mut |_| rows += 1).unwrap();
    rows
}

// FAULTS L7
#[test]
fn a_ledger_that_somebody_holds_locked_holds_nobody_up() {
    let house = house();
    ask(&house, 1);
    eventually("it is settled", || (settled(&house) == 1).then_some(()));
    let lock = lock(&house);
    ask(&house, 300);
    assert_eq!(settled(&house), 1, "the lock holds");
    assert_eq!(house.rows().len(), 301, "reports are complete all the same");
    eventually("no reservation is open", || (house.budget("search")["reserved"] == 0).then_some(()));
    lock.execute_batch("ROLLBACK").unwrap();
    eventually("all is settled", || (settled(&house) == 301).then_some(()));
}

// FAULTS L14
#[test]
fn a_stop_while_the_store_is_away_leaves_its_rows_to_the_next_start() {
    let mut house = house();
    let lock = lock(&house);
    ask(&house, 100);
    let spent = house.budget("search")["spent"].clone();
    house.stop();
    assert_eq!(settled(&house), 0);
    drop(lock);
    house.restart();
    eventually("all is settled", || (settled(&house) == 100).then_some(()));
    let budget = house.budget("search");
    assert_eq!((&budget["spent"], &budget["reserved"]), (&spent, &json!(0)));
}

// FAULTS L10
#[test]
fn an_upstream_that_repeats_its_ids_gets_a_row_per_request() {
    let house = house();
    let answers = ask(&house, 1_000);
    let ids: HashSet<String> = answers.iter().map(|answer| answer.json()["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "the mock makes its id of the request: {ids:?}");
    eventually("all are settled", || (settled(&house) == 1_000).then_some(()));
    let ours: HashSet<u128> = house.rows().iter().map(|row| row.id).collect();
    assert_eq!(ours.len(), 1_000);
}
