//! Clients that leave before their answer's end: the upstream is really cancelled, or really read on, and the
//! row says which.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

use serde_json::json;
use tollgate::base::usage::UsageSource;
use tollgate::mock::{End, Served};
use tollgate::store::record::{Disconnect, Outcome, Record};

use crate::support::{Ask, House, Rates, Setup, Team, eventually};

const RATES: Rates = Rates::flat(150_000, 600_000);
const BUDGET: &str = "budgets: [{ limit_usd: 1, every: total }]";
/// 300 chunks, slow enough to leave in the middle of them.
const STREAM: &str = "gpt@out=300+pace=1ms";
/// A stream that would take minutes.
const ENDLESS: &str = "gpt@out=5000+pace=20ms";
/// The same of a model that writes more than it shows.
const UNSEEN: &str = "o3-mini@out=5000+pace=20ms";

fn house(upstream: &[&str]) -> House {
    let setup = upstream.iter().fold(Setup::default(), |setup, line| setup.upstream(line));
    let models = [STREAM, ENDLESS, UNSEEN, "gpt@out=40+delay=150ms"];
    let setup = models.iter().fold(setup, |setup, model| setup.price(model, RATES));
    setup.team(Team::new("search").with(BUDGET)).start()
}

fn chat(model: &str, stream: bool) -> Ask {
    let body = json!({"model": model, "stream": stream, "max_tokens": 6_000,
        "messages": [{"role": "user", "content": "hello"}]});
    Ask::post("/v1/chat/completions", &body).team("search")
}

fn row(house: &House, id: &str) -> Record {
    eventually("the request's row", || {
        house.rows().into_iter().find(|row| row.request_id().to_string() == id)
    })
}

/// The only answer of the mock, once it has ended.
fn served(house: &House) -> Served {
    eventually("the mock's answer has ended", || {
        house.served().pop().filter(|served| served.end != End::Open)
    })
}

/// Begins a stream, reads its first event and leaves.
fn leave_early(house: &House, model: &str) -> Record {
    let mut wire = house.connect();
    let head = wire.begin(&chat(model, true));
    wire.one_chunk();
    drop(wire);
    row(house, head.get("x-tollgate-request-id").unwrap())
}

#[test]
fn wire_30_a_client_that_leaves_takes_the_upstream_with_it() {
    let house = house(&[]);
    let row = leave_early(&house, ENDLESS);
    let served = served(&house);
    assert_eq!(served.end, End::ClientGone);
    assert!(served.tokens_emitted < 50, "of 5,000: {served:?}");
    assert_eq!(
        (row.outcome, row.disconnect, row.usage_source),
        (Outcome::Cancelled, Disconnect::Cancelled, UsageSource::Estimated)
    );
    assert!(row.cost.unwrap() <= row.reserved, "{row:?}");
}

#[test]
fn who_leaves_a_model_that_thinks_unseen_pays_what_was_held() {
    let house = house(&[]);
    let row = leave_early(&house, UNSEEN);
    assert_eq!((row.outcome, row.disconnect), (Outcome::Cancelled, Disconnect::Cancelled));
    assert_eq!((row.usage_source, row.usage.output_tokens), (UsageSource::Estimated, 6_000), "{row:?}");
    assert!(row.cost.unwrap() <= row.reserved, "{row:?}");
}

#[test]
fn an_upstream_that_is_drained_tells_what_the_client_did_not_wait_for() {
    let house = house(&["on_disconnect: drain"]);
    let row = leave_early(&house, STREAM);
    let served = served(&house);
    assert_eq!((served.end, served.tokens_emitted), (End::Clean, 300));
    assert_eq!(
        (row.outcome, row.disconnect, row.usage_source),
        (Outcome::Cancelled, Disconnect::Drained, UsageSource::Reported)
    );
    assert_eq!((row.usage, row.cost.unwrap().as_nanos()), (served.usage, RATES.cost(&served.usage)));
}

#[test]
fn a_drain_ends_at_its_amount() {
    let house = house(&["on_disconnect: { drain_up_to: 0.00001 }"]);
    let row = leave_early(&house, ENDLESS);
    let served = served(&house);
    assert_eq!(served.end, End::ClientGone);
    // 0.00001 USD are 16 tokens
    assert!((10..100).contains(&served.tokens_emitted), "{served:?}");
    assert_eq!(
        (row.outcome, row.disconnect, row.usage_source),
        (Outcome::Cancelled, Disconnect::DrainedInPart, UsageSource::Estimated)
    );
}

// FAULTS L9
#[test]
fn a_client_that_leaves_before_the_first_byte_is_charged_exactly_where_the_answer_is_drained() {
    let house = house(&["on_disconnect: drain"]);
    for stream in [false, true] {
        let before = house.rows().len();
        let mut wire = house.connect();
        wire.send(&chat("gpt@out=40+delay=150ms", stream));
        eventually("the mock is asked", || (house.served().len() > before).then_some(()));
        drop(wire);
        let row = eventually("a row", || house.rows().into_iter().nth(before));
        let served = served(&house);
        assert_eq!((served.end, served.tokens_emitted), (End::Clean, 40));
        assert_eq!(
            (row.outcome, row.disconnect, row.status, row.usage_source),
            (Outcome::Cancelled, Disconnect::Drained, 0, UsageSource::Reported)
        );
        assert_eq!(row.usage, served.usage);
    }
}

#[test]
fn a_stop_waits_for_what_is_drained_and_then_cancels_it() {
    let mut house = Setup::default()
        .with("server: { shutdown_grace: 300ms }")
        .upstream("on_disconnect: drain")
        .price(ENDLESS, RATES)
        .team(Team::new("search").with(BUDGET))
        .start();
    let mut wire = house.connect();
    let head = wire.begin(&chat(ENDLESS, true));
    wire.one_chunk();
    drop(wire);
    house.stop();
    let row = row(&house, head.get("x-tollgate-request-id").unwrap());
    assert_eq!((row.outcome, row.disconnect), (Outcome::Cancelled, Disconnect::DrainedInPart));
}

// FAULTS B12
#[test]
fn a_client_that_always_leaves_after_the_first_token_spends_its_budget_all_the_same() {
    let house = Setup::default()
        .price(STREAM, Rates::flat(1_000_000, 4_000_000))
        .team(Team::new("search").with("budgets: [{ limit_usd: 0.002, every: total }]"))
        .start();
    let body = json!({"model": STREAM, "stream": true, "max_tokens": 100,
        "messages": [{"role": "user", "content": "hello"}]});
    let ask = Ask::post("/v1/chat/completions", &body).team("search");
    let mut left = 0;
    loop {
        let mut wire = house.connect();
        let head = wire.begin(&ask);
        if head.status != 200 {
            assert_eq!(head.status, 402);
            break;
        }
        wire.one_chunk();
        left += 1;
        assert!(left < 1_000, "who leaves early pays, too");
    }
    eventually("all are settled", || (house.budget("search")["reserved"] == 0).then_some(()));
    let spent = house.budget("search")["spent"].as_i64().unwrap();
    // 100 tokens out and the ceiling of the input did not fit any more
    assert!((1_200_000..=2_000_000).contains(&spent), "{spent} after {left}");
}

/// How many of the cases of L8 go over TCP; `TOLLGATE_DISCONNECTS=500` is the whole run.
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the gateway")]
fn cases() -> usize {
    std::env::var("TOLLGATE_DISCONNECTS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Clients that leave after so many bytes of the answer as they stand on the wire, spread evenly over it.
/// Yields each one's row, and the tokens that it had got.
fn leave_everywhere(house: &House) -> Vec<(Record, u64)> {
    /// Bytes of the whole answer, about: 300 chunks.
    const WHOLE: usize = 300 * 270;
    let cases = cases();
    let places: Mutex<Vec<usize>> = Mutex::new((0..cases).map(|case| case * WHOLE / cases).collect());
    let left: Mutex<HashMap<String, u64>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(place) = places.lock().unwrap().pop() else { return };
                    let mut wire = house.connect();
                    let head = wire.begin(&chat(STREAM, true));
                    let seen = wire.some_bytes(place);
                    let tokens = String::from_utf8_lossy(&seen).matches("\"content\":\"").count() as u64;
                    // the first has no text, the last may not be whole
                    left.lock().unwrap().insert(
                        head.get("x-tollgate-request-id").unwrap().to_owned(),
                        tokens.saturating_sub(2),
                    );
                }
            });
        }
    });
    let left = left.into_inner().unwrap();
    let rows = eventually("a row for each", || Some(house.rows()).filter(|rows| rows.len() >= cases));
    assert_eq!(rows.len(), cases, "one row each");
    rows.into_iter()
        .map(|row| {
            let tokens = left[&row.request_id().to_string()];
            (row, tokens)
        })
        .collect()
}

// FAULTS L8
#[test]
fn a_disconnect_anywhere_is_settled_exactly_where_answers_are_drained() {
    let house = house(&["on_disconnect: drain"]);
    let rows = leave_everywhere(&house);
    let told = served(&house).usage;
    for (row, _) in rows {
        assert_eq!((row.usage, row.usage_source), (told, UsageSource::Reported), "{row:?}");
        assert_eq!(row.cost.unwrap().as_nanos(), RATES.cost(&told));
        assert!(row.disconnect == Disconnect::Drained || row.outcome == Outcome::Completed, "{row:?}");
    }
}

// FAULTS L8
#[test]
fn a_disconnect_anywhere_is_settled_between_what_was_relayed_and_what_was_reserved() {
    let house = house(&[]);
    for (row, seen) in leave_everywhere(&house) {
        assert!(row.usage.output_tokens >= seen, "{seen}: {row:?}");
        assert!(row.cost.unwrap() <= row.reserved, "{row:?}");
        let flagged = row.disconnect == Disconnect::Cancelled && row.usage_source == UsageSource::Estimated;
        // who leaves after the finish reason is told the count all the same
        let told = row.disconnect == Disconnect::Drained && row.usage_source == UsageSource::Reported;
        assert!(flagged || told || row.outcome == Outcome::Completed, "{row:?}");
    }
}
