//! Done-when 4: a budget that never overspends, and refusals that say everything.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Answer, Ask, House, Rates, Setup, Team, eventually};

/// 0.0095 USD for 95 tokens out; the input is small change.
const RATES: Rates = Rates::flat(1_000_000, 100_000_000);

fn house(budget: &str) -> House {
    Setup::default()
        .team(Team::new("search").with(budget))
        .price("gpt", RATES)
        .price("gpt@out=95", RATES)
        .price("gpt@out=70+pace=1ms", RATES)
        .start()
}

fn chat(model: &str, stream: bool, most: u64) -> Ask {
    let body = json!({"model": model, "stream": stream, "max_tokens": most,
        "messages": [{"role": "user", "content": "hello"}]});
    Ask::post("/v1/chat/completions", &body).team("search")
}

fn message(model: &str, stream: bool, most: u64) -> Ask {
    let body = json!({"model": model, "stream": stream, "max_tokens": most,
        "messages": [{"role": "user", "content": "hello"}]});
    Ask::post("/v1/messages", &body).team("search").header("anthropic-version", "2023-06-01")
}

/// 200 requests at once, of both dialects, JSON and streams; meanwhile the budget is looked at all the time.
/// Yields how many were answered and how many were refused.
fn rush(house: &House) -> (u32, u32) {
    let limit = house.budget("search")["limit"].as_i64().unwrap();
    let (served, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut looks = 0_u32;
            while !done.load(Ordering::Acquire) {
                let budget = house.budget("search");
                let held = budget["spent"].as_i64().unwrap() + budget["reserved"].as_i64().unwrap();
                assert!(held <= limit, "overspent: {budget}");
                looks += 1;
            }
            looks
        });
        let (served, refused) = (&served, &refused);
        let client = |place: u32| {
            move || {
                let ask = match place % 4 {
                    0 => chat("gpt@out=95", false, 95),
                    1 => chat("gpt@out=70+pace=1ms", true, 95),
                    2 => message("gpt@out=95", false, 95),
                    _ => message("gpt@out=70+pace=1ms", true, 95),
                };
                let answer = house.ask(&ask);
                match answer.status() {
                    200 => served.fetch_add(1, Ordering::Relaxed),
                    402 => refused.fetch_add(1, Ordering::Relaxed),
                    other => panic!("{other}: {}", answer.text()),
                };
            }
        };
        let clients: Vec<_> = (0..200).map(|place| scope.spawn(client(place))).collect();
        let ended = clients.into_iter().map(|client| client.join()).filter(Result::is_err).count();
        done.store(true, Ordering::Release);
        assert_eq!(ended, 0, "every client got its answer or its refusal");
        assert!(watch.join().unwrap() > 0);
    });
    (served.into_inner(), refused.into_inner())
}

#[test]
fn wire_36_a_team_with_one_dollar_never_passes_it_under_200_parallel_requests() {
    let house = house("budgets: [{ limit_usd: 1, every: month }]");
    let (served, refused) = rush(&house);
    assert_eq!(served + refused, 200);
    assert!((80..=160).contains(&served), "about half fit: {served}");
    eventually("all are settled", || (house.budget("search")["reserved"] == 0).then_some(()));
    let spent = house.budget("search")["spent"].as_i64().unwrap();
    assert!((600_000_000..=1_000_000_000).contains(&spent), "{spent}");
    assert_eq!(house.usage("team")["total"]["cost_nano_usd"], spent);
    assert_eq!(house.usage("team")["total"]["refused"], refused);
}

#[test]
fn a_team_with_twelve_thousand_tokens_never_passes_them_under_200_parallel_requests() {
    let house = house("budgets: [{ limit_tokens: 12000, every: day }]");
    let (served, refused) = rush(&house);
    assert_eq!(served + refused, 200);
    assert!(served > 0 && refused > 0, "{served} and {refused}");
    eventually("all are settled", || (house.budget("search")["reserved"] == 0).then_some(()));
    let total = &house.usage("team")["total"];
    let tokens = total["input_tokens"].as_u64().unwrap() + total["output_tokens"].as_u64().unwrap();
    assert_eq!(house.budget("search")["spent"], tokens);
    assert!(tokens <= 12_000);
}

#[test]
fn money_that_was_reserved_and_not_used_is_there_for_the_next() {
    let house = house("budgets: [{ limit_usd: 0.03, every: total }]");
    // each reserves half of the budget and uses a twelfth of it at most
    for stream in [false, true, false, true] {
        let answer = house.ask(&chat("gpt", stream, 150));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        eventually("it is settled", || (house.budget("search")["reserved"] == 0).then_some(()));
    }
}

/// What every refusal for money says, whatever the dialect; yields its `error` member.
fn refusal_of(answer: &Answer) -> Value {
    assert_eq!(answer.status(), 402, "{}", answer.text());
    assert_eq!(answer.head.get("x-should-retry"), Some("false"));
    assert_eq!(answer.head.get("retry-after"), None);
    assert_eq!(answer.head.get("x-tollgate-error-source"), Some("gateway"));
    assert_eq!(answer.head.get("content-type"), Some("application/json"));
    let error = answer.json()["error"].clone();
    assert_eq!(error["scope"], "team search");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("team search") && message.contains("teams.search"), "{message}");
    error
}

#[test]
fn wire_33_a_refusal_says_scope_spent_limit_and_reset_in_the_dialects_own_shape() {
    let house = house("budgets: [{ limit_usd: 0.02, every: month, time_zone: Europe/Berlin }]");
    assert_eq!(house.ask(&chat("gpt@out=95", false, 95)).status(), 200);
    let spent = house.budget("search")["spent"].as_i64().unwrap();
    let spent = tollgate::base::money::NanoUsd::new(spent).to_usd_string();
    for stream in [false, true] {
        let error = refusal_of(&house.ask(&chat("gpt@out=95", stream, 1_000)));
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("insufficient_quota"), &json!("insufficient_quota"))
        );
        assert!(error["param"].is_null());
        let answer = house.ask(&message("gpt@out=95", stream, 1_000));
        let anthropic = refusal_of(&answer);
        assert_eq!((&answer.json()["type"], &anthropic["type"]), (&json!("error"), &json!("billing_error")));
        for error in [error, anthropic] {
            assert_eq!((&error["spent"], &error["limit"]), (&json!(spent), &json!("0.02")), "{error}");
            assert_eq!((&error["reserved"], &error["unit"]), (&json!("0.00"), &json!("usd")), "{error}");
            let resets: jiff::Timestamp = error["resets_at"].as_str().unwrap().parse().unwrap();
            let berlin = resets.to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").unwrap());
            assert_eq!((berlin.day(), berlin.hour(), berlin.minute()), (1, 0, 0), "the first, at midnight");
        }
    }
    assert_eq!(house.usage("outcome,error")["total"]["refused"], 4);
}

#[test]
fn a_refusal_of_a_token_budget_counts_in_tokens() {
    let house = house("budgets: [{ limit_tokens: 500, every: total }]");
    let error = refusal_of(&house.ask(&chat("gpt", false, 1_000)));
    assert_eq!(
        (&error["spent"], &error["limit"], &error["unit"]),
        (&json!(0), &json!(500), &json!("tokens"))
    );
    assert!(error["resets_at"].is_null(), "a total does not start again");
}

#[test]
fn a_budget_that_only_warns_lets_pass_and_says_so() {
    let house = house("budgets: [{ limit_usd: 0.001, every: total, when_spent: warn }]");
    assert_eq!(house.ask(&chat("gpt@out=95", false, 95)).status(), 200);
    let answer = house.ask(&chat("gpt@out=95", false, 95));
    assert_eq!(answer.status(), 200);
    let warning = answer.head.get("x-tollgate-budget-warning").unwrap();
    assert!(warning.contains("team search"), "{warning}");
    assert_eq!(answer.head.get("x-tollgate-budget-remaining-usd"), Some("0.00"));
}

/// A thousand clients at once, each with one stream; what is held is looked at all the time. Yields how many
/// were answered, and the errors of the others.
fn thousand(house: &House, ask: &Ask) -> (u32, Vec<Value>) {
    let limit = house.budget("search")["limit"].as_i64().unwrap();
    let (served, refused) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let budget = house.budget("search");
                let held = budget["spent"].as_i64().unwrap() + budget["reserved"].as_i64().unwrap();
                assert!(held <= limit, "overspent: {budget}");
            }
        });
        let client = || {
            let answer = house.ask(ask);
            match answer.status() {
                200 => drop(served.fetch_add(1, Ordering::Relaxed)),
                402 => refused.lock().unwrap().push(answer.json()["error"].clone()),
                other => panic!("{other}: {}", answer.text()),
            }
        };
        let clients: Vec<_> = (0..1_000).map(|_| scope.spawn(client)).collect();
        let failed = clients.into_iter().map(|client| client.join()).filter(Result::is_err).count();
        done.store(true, Ordering::Release);
        assert_eq!(failed, 0, "every client got its answer or its refusal");
        watch.join().unwrap();
    });
    (served.into_inner(), refused.into_inner().unwrap())
}

/// A budget for exactly a hundred times 20 tokens. Output alone costs, so that what is reserved can be what
/// is used.
fn hundred(model: &str) -> (House, Ask) {
    let house = Setup::default()
        .team(Team::new("search").with("budgets: [{ limit_usd: 1, every: total }]"))
        .price(model, Rates::flat(0, 500_000_000))
        .start();
    (house, chat(model, true, 20))
}

// FAULTS B1
#[test]
fn of_a_thousand_streams_on_a_budget_for_a_hundred_a_hundred_are_served() {
    let (house, ask) = hundred("gpt@out=20+pace=5ms");
    let (served, refused) = thousand(&house, &ask);
    assert_eq!((served, refused.len(), house.served().len()), (100, 900, 100));
    assert_eq!(house.budget("search")["spent"], 1_000_000_000);
    assert_eq!(house.usage("team")["total"]["cost_nano_usd"], 1_000_000_000);
}

// FAULTS B2
#[test]
fn money_that_was_held_and_not_used_serves_those_who_wait_for_it() {
    // each holds 0.01 USD and uses half of it
    let (house, ask) = hundred("gpt@out=10+pace=5ms");
    for _wave in 0..2 {
        let (_, refused) = thousand(&house, &ask);
        for error in refused {
            let nanos = |name: &str| {
                let usd = error[name].as_str().unwrap();
                tollgate::base::money::NanoUsd::parse_usd(usd).unwrap().as_nanos()
            };
            let held = nanos("spent") + nanos("reserved");
            assert!(held + 10_000_000 > nanos("limit"), "it would have fitted: {error}");
        }
    }
    let spent = house.budget("search")["spent"].as_i64().unwrap();
    assert!(spent >= 950_000_000, "of 1,000,000,000: {spent}");
}
