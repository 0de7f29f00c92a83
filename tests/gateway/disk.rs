//! A data folder whose disk fills up: what is at work is recorded, nothing unrecorded is begun, and when
//! there is room again everything is as it should be.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::thread;

use serde_json::json;
use tollgate::base::usage::UsageSource;
use tollgate::store::record::Outcome;

use crate::support::{Answer, Ask, BodyEnd, House, Rates, Setup, Team, Wire, eventually, fill, may_mount};

/// Two seconds of stream: the disk is full long before its end.
const SLOW: &str = "gpt@out=100+pace=20ms";
const RATES: Rates = Rates::flat(150_000, 600_000);
const STREAMS: usize = 20;

fn house(when_full: &str) -> House {
    Setup::default()
        .team(Team::new("search").with("budgets: [{ limit_usd: 1000, every: total }]"))
        .price("gpt", RATES)
        .price(SLOW, RATES)
        .with(&format!("ledger: {{ reserve: 1MiB, when_full: {when_full} }}"))
        .disk("3m")
        .start()
}

fn chat(model: &str, stream: bool) -> Ask {
    let body = json!({"model": model, "stream": stream, "max_tokens": 200,
        "messages": [{"role": "user", "content": "hello"}]});
    Ask::post("/v1/chat/completions", &body).team("search")
}

/// Begins streams, has `meanwhile` happen, and reads the streams to their end.
fn streams_around(house: &House, meanwhile: impl FnOnce()) -> Vec<Answer> {
    let begun: Vec<(Wire, _)> = (0..STREAMS)
        .map(|_| {
            let mut wire = house.connect();
            let head = wire.begin(&chat(SLOW, true));
            assert_eq!(head.status, 200);
            (wire, head)
        })
        .collect();
    meanwhile();
    let readers = begun.into_iter().map(|(mut wire, head)| thread::spawn(move || wire.rest(head)));
    readers.collect::<Vec<_>>().into_iter().map(|reader| reader.join().unwrap()).collect()
}

/// Every stream has its row, at what the upstream reported.
fn are_settled(house: &House, answers: &[Answer]) {
    let rows = house.rows();
    for answer in answers {
        assert_eq!(answer.end, BodyEnd::Whole);
        let id = answer.head.get("x-tollgate-request-id").unwrap();
        let row = rows.iter().find(|row| row.request_id().to_string() == id).unwrap();
        assert_eq!((row.outcome, row.usage_source), (Outcome::Completed, UsageSource::Reported));
        assert_eq!(row.cost.unwrap().as_nanos(), RATES.cost(&row.usage));
    }
}

fn reserve_blocks(house: &House) -> u64 {
    fs::metadata(house.data_dir().join("reserve")).map_or(0, |file| file.blocks() * 512)
}

// FAULTS L5
#[test]
fn on_a_full_disk_what_is_at_work_settles_and_nothing_new_is_begun() {
    if !may_mount() {
        return;
    }
    let house = house("strict");
    assert!(reserve_blocks(&house) >= 1 << 20, "the reserve is really there");
    let mut filler = None;
    let answers = streams_around(&house, || {
        let next = || house.ask(&chat("gpt", false));
        // the journal's last page may still take a few, and a transaction that fails gives its pages back
        let first = (0..100)
            .map(|_| {
                filler = Some(fill(&house.data_dir()));
                next()
            })
            .find(|answer| answer.status() != 200)
            .unwrap();
        let served = house.served().len();
        for refused in [first, next(), next()] {
            let code = refused.json()["error"]["code"].clone();
            assert_eq!((refused.status(), code), (503, json!("ledger_unavailable")));
        }
        assert_eq!(house.served().len(), served, "refused before dispatch");
    });
    // on the disk, not in memory: read from the files by another process
    are_settled(&house, &answers);
    fs::remove_file(filler.unwrap()).unwrap();
    eventually("requests are served again", || {
        (house.ask(&chat("gpt", false)).status() == 200).then_some(())
    });
    assert!(reserve_blocks(&house) >= 1 << 20, "the reserve is back before anything new is begun");
    eventually("refusals that waited are written", || {
        (house.rows().iter().filter(|row| row.error == "ledger_unavailable").count() > 0).then_some(())
    });
}

// FAULTS L5
#[test]
fn what_settled_on_a_full_disk_survives_a_kill() {
    if !may_mount() {
        return;
    }
    let mut house = house("strict");
    let mut filler = None;
    let answers = streams_around(&house, || filler = Some(fill(&house.data_dir())));
    are_settled(&house, &answers);
    house.kill();
    fs::remove_file(filler.unwrap()).unwrap();
    house.restart();
    are_settled(&house, &answers);
    assert_eq!(house.rows().len(), STREAMS);
    assert!(reserve_blocks(&house) >= 1 << 20);
}

// FAULTS L5
#[test]
fn who_would_rather_serve_than_record_is_served_and_recorded_later() {
    if !may_mount() {
        return;
    }
    let house = house("best_effort");
    let filler = fill(&house.data_dir());
    // the first of them take the reserve, which memory relieves when it is used up
    let answers: Vec<Answer> = (0..50).map(|_| house.ask(&chat("gpt", false))).collect();
    assert!(answers.iter().all(|answer| answer.status() == 200));
    fs::remove_file(filler).unwrap();
    eventually("the reserve is back", || (reserve_blocks(&house) >= 1 << 20).then_some(()));
    eventually("all is recorded", || (house.rows().len() == 50).then_some(()));
    are_settled(&house, &answers);
}
