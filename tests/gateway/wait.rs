//! Requests that find their budget held by others: they wait for what may come back, for no longer than it
//! may, and behind nobody who waits for other money.

use std::thread;

use serde_json::json;
use tollgate::base::usage::UsageSource;
use tollgate::store::record::Outcome;

use crate::support::{Ask, House, Rates, Setup, Team, Wire, eventually};

/// 1,000 tokens out cost 0.1 USD; the input is small change.
const RATES: Rates = Rates::flat(1_000_000, 100_000_000);
/// It holds what it holds until its client leaves.
const STUCK: &str = "gpt@out=800+stall=2:10m";

/// A gateway whose requests wait for longer than any test does.
fn house(budgets: &str) -> House {
    let models = [STUCK, "gpt@out=20", "gpt@out=60"];
    let setup = models.iter().fold(Setup::default(), |setup, model| setup.price(model, RATES));
    let team = Team::new("search").with(&format!("budgets: [{budgets}]"));
    setup.with("server: { budget_wait: 10m }").team(team).start()
}

fn chat(model: &str, user: &str, cap: Option<u64>) -> Ask {
    let words = json!([{"role": "user", "content": "hello"}]);
    let mut body = json!({"model": model, "stream": true, "user": user, "messages": words});
    if let Some(cap) = cap {
        body["max_tokens"] = cap.into();
    }
    Ask::post("/v1/chat/completions", &body).team("search")
}

/// A client whose request holds 900 tokens of output until it leaves.
fn holder(house: &House, user: &str) -> Wire {
    let mut wire = house.connect();
    assert_eq!(wire.begin(&chat(STUCK, user, Some(900))).status, 200);
    wire
}

/// Waits until so many requests are at work, be it in a line.
fn at_work(house: &House, count: u8) {
    eventually("they are at work", || {
        (house.metric("http_server_active_requests") >= count.into()).then_some(())
    });
}

#[test]
fn who_waits_for_their_own_money_stands_behind_nobody_elses() {
    let house = house("{ limit_usd: 0.1, every: total, per: user }");
    let (alices, bobs) = (holder(&house, "alice"), holder(&house, "bob"));
    thread::scope(|scope| {
        // each has 100 tokens left and wants 900
        let mut behind_alices = house.connect();
        behind_alices.send(&chat("gpt@out=20", "alice", Some(900)));
        at_work(&house, 3);
        let behind_bobs = scope.spawn(|| house.ask(&chat("gpt@out=20", "bob", Some(900))));
        at_work(&house, 4);
        drop(bobs);
        assert_eq!(behind_bobs.join().unwrap().status(), 200, "bob's money came back; alice's did not");
    });
    drop(alices);
}

#[test]
fn a_stream_waits_for_as_much_as_it_can_begin_with() {
    // less than a slice, in all
    let house = house("{ limit_usd: 0.1, every: total }");
    let held = holder(&house, "alice");
    thread::scope(|scope| {
        let waits = scope.spawn(|| house.ask(&chat("gpt@out=60", "bob", None)));
        at_work(&house, 2);
        drop(held);
        let answer = waits.join().unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(house.row(&answer).outcome, Outcome::Completed);
    });
}

#[test]
fn a_request_that_a_budget_may_shorten_waits_for_as_much_as_does() {
    let house = house("{ limit_usd: 0.1, every: total, when_spent: clamp }");
    let mut held = house.connect();
    // all but a few tokens
    assert_eq!(held.begin(&chat(STUCK, "alice", Some(980))).status, 200);
    thread::scope(|scope| {
        let waits = scope.spawn(|| house.ask(&chat("gpt@out=60", "bob", Some(2_000))));
        at_work(&house, 2);
        drop(held);
        let answer = waits.join().unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert_eq!(house.row(&answer).usage_source, UsageSource::Reported);
    });
}

#[test]
fn nobody_waits_for_a_number_of_requests_to_come_back() {
    let house = house("{ limit_requests: 1, every: total }");
    let held = holder(&house, "alice");
    // at once, or this client gives up before
    let answer = house.ask(&chat("gpt@out=20", "bob", Some(20)));
    assert_eq!(answer.status(), 402, "{}", answer.text());
    drop(held);
}

#[test]
fn a_request_that_no_upstream_was_asked_for_is_counted_by_no_budget() {
    let house = Setup::default()
        .price("gpt@out=20", RATES)
        .upstream("limits: { requests_per_minute: 1 }")
        .team(Team::new("search").with("budgets: [{ limit_requests: 10, every: total }]"))
        .start();
    let ask = chat("gpt@out=20", "bob", Some(20));
    assert_eq!(house.ask(&ask).status(), 200);
    for _ in 0..3 {
        let answer = house.ask(&ask);
        assert_eq!(answer.status(), 429, "the upstream's limit: {}", answer.text());
        assert_eq!(house.row(&answer).admitted_at, 0);
    }
    assert_eq!(house.budget("search")["spent"], 1);
}

#[test]
fn the_tightest_of_several_budgets_is_used_to_its_end() {
    // 600 tokens for the key's holder, 500 for all of the team; input takes a few
    let house = house("{ limit_tokens: 600, every: day }, { limit_tokens: 500, every: total }");
    let answer = house.ask(&chat("gpt@out=60", "bob", None));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    drop(house);
}
