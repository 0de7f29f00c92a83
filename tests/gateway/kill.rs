//! `kill -9` in the middle of everything: what was begun has one row each, in a final state, and what was
//! spent stays spent.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use tollgate::base::usage::UsageSource;
use tollgate::store::record::{Outcome, Record};

use crate::support::{Answer, Ask, BodyEnd, House, Rates, Setup, Team, Wire, eventually, signal};

/// A stream that says three events and then nothing for longer than any test takes.
const STALLED: &str = "gpt@out=30+stall=3:10m";
const RATES: Rates = Rates::flat(150_000, 600_000);

fn house() -> House {
    Setup::default()
        .team(Team::new("search").with("budgets: [{ limit_usd: 1000, every: total }]"))
        .price("gpt", RATES)
        .price(STALLED, RATES)
        .start()
}

fn chat(model: &str, stream: bool) -> Ask {
    let body = json!({"model": model, "stream": stream, "max_tokens": 50,
        "messages": [{"role": "user", "content": "hello"}]});
    Ask::post("/v1/chat/completions", &body).team("search")
}

/// Begins a stream and reads its first events.
fn begin(house: &House) -> (Wire, String) {
    let mut wire = house.connect();
    let head = wire.begin(&chat(STALLED, true));
    assert_eq!(head.status, 200, "{head:?}");
    assert!(!wire.one_chunk().is_empty());
    (wire, head.get("x-tollgate-request-id").unwrap().to_owned())
}

#[test]
fn a_killed_gateway_leaves_one_row_per_request_in_a_final_state() {
    let mut house = house();
    for stream in [false, true] {
        assert_eq!(house.ask(&chat("gpt", stream)).status(), 200);
    }
    eventually("both are settled", || (house.rows().len() == 2).then_some(()));
    let spent = house.budget("search")["spent"].as_i64().unwrap();
    let open: Vec<(Wire, String)> = (0..20).map(|_| begin(&house)).collect();
    let reserved = house.budget("search")["reserved"].as_i64().unwrap();
    assert!(reserved > 0);

    house.kill();
    house.restart();

    let rows = house.rows();
    assert_eq!(rows.len(), 22, "one row per request");
    for (_, id) in &open {
        let row = rows.iter().find(|row| row.request_id().to_string() == *id).unwrap();
        assert_eq!((row.outcome, row.usage_source), (Outcome::Interrupted, UsageSource::Estimated));
        assert_eq!(row.cost, Some(row.reserved), "charged at its reservation");
    }
    assert_eq!(rows.iter().filter(|row| row.outcome == Outcome::Completed).count(), 2);
    let budget = house.budget("search");
    assert_eq!(budget["spent"], spent + reserved, "what was reserved is spent: {budget}");
    assert_eq!(budget["reserved"], 0);
    let usage = house.usage("outcome");
    assert_eq!(
        (&usage["total"]["requests"], &usage["total"]["cost_nano_usd"]),
        (&json!(22), &budget["spent"])
    );
}

#[test]
fn a_kill_under_load_loses_no_request_and_doubles_none() {
    let mut house = house();
    let (address, pid) = (house.address(), house.pid());
    let answered = AtomicUsize::new(0);
    let seen: Mutex<Vec<(bool, Answer)>> = Mutex::default();
    thread::scope(|scope| {
        for place in 0..32_u32 {
            let (answered, seen) = (&answered, &seen);
            scope.spawn(move || {
                let stream = place % 2 == 0;
                // ends when the gateway is gone
                while let Some(answer) = Wire::try_ask(address, &chat("gpt", stream)) {
                    assert_eq!(answer.status(), 200, "{}", answer.text());
                    seen.lock().unwrap().push((stream, answer));
                    if answered.fetch_add(1, Ordering::Relaxed) == 300 {
                        signal("KILL", pid);
                    }
                }
            });
        }
    });
    house.kill();
    house.restart();

    let rows = house.rows();
    let by_id: HashMap<String, &Record> =
        rows.iter().map(|row| (row.request_id().to_string(), row)).collect();
    assert_eq!(by_id.len(), rows.len(), "no request has two rows");
    for (stream, answer) in seen.into_inner().unwrap() {
        let row = by_id[answer.head.get("x-tollgate-request-id").unwrap()];
        if answer.end == BodyEnd::Whole {
            let end = (row.outcome, row.usage_source);
            assert_eq!(end, (Outcome::Completed, UsageSource::Reported), "what was told is kept: {row:?}");
        } else {
            assert!(stream, "an answer that is whole before its head goes out is whole or not there");
        }
    }
}

#[test]
fn a_second_kill_charges_nothing_twice() {
    let mut house = house();
    let _first = begin(&house);
    house.kill();
    house.restart();
    let once = house.budget("search");
    let _second = begin(&house);
    let reserved = house.budget("search")["reserved"].as_i64().unwrap();
    house.kill();
    house.restart();
    assert_eq!(house.rows().len(), 2);
    assert_eq!(house.budget("search")["spent"], once["spent"].as_i64().unwrap() + reserved);
}

#[test]
fn a_counter_is_the_same_after_an_orderly_restart() {
    let mut house = house();
    for stream in [false, true, true, false] {
        assert_eq!(house.ask(&chat("gpt", stream)).status(), 200);
    }
    eventually("all are settled", || (house.budget("search")["reserved"] == 0).then_some(()));
    let before = house.budget("search");
    house.stop();
    house.restart();
    assert!(before["spent"].as_i64().unwrap() > 0);
    assert_eq!(house.budget("search"), before);
}
