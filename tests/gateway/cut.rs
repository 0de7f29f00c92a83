//! Streams that are paid for as they pass: how far they go, and how they end when the money does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use tollgate::base::usage::UsageSource;
use tollgate::mock::End;
use tollgate::store::record::{Disconnect, Outcome};

use crate::support::{Answer, Ask, BodyEnd, House, Rates, Setup, Team, Wire, eventually};

/// 1,000 tokens out cost 0.1 USD; the input is small change.
const RATES: Rates = Rates::flat(1_000_000, 100_000_000);
/// Of a family whose vocabulary is known, and slow enough not to be written before it is cut.
const LONG: &str = "gpt-4o-x@out=5000+pace=1ms";

fn house(budget: &str) -> House {
    let models = [
        LONG,
        "gpt@out=5000+gzip",
        "gpt@out=5000+gzip+burst",
        "gpt@out=3000+ignore-cap",
        "gpt@out=60",
        "o3-mini@out=20",
        "gpt",
    ];
    let setup = models.iter().fold(Setup::default(), |setup, model| setup.price(model, RATES));
    setup.team(Team::new("search").with(budget)).start()
}

fn asks(model: &str) -> [Ask; 3] {
    let words = json!([{"role": "user", "content": "hello"}]);
    let anthropic = json!({"model": model, "stream": true, "max_tokens": 6_000, "messages": words});
    [
        Ask::post("/v1/chat/completions", &json!({"model": model, "stream": true, "messages": words})),
        Ask::post("/v1/responses", &json!({"model": model, "stream": true, "input": "hello"})),
        Ask::post("/v1/messages", &anthropic).header("anthropic-version", "2023-06-01"),
    ]
}

/// Runs `act` while the budget is looked at all the time: it is never passed.
fn never_over<T>(house: &House, act: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut looks = 0_u32;
            while !done.load(Ordering::Acquire) {
                let budget = house.budget("search");
                let held = budget["spent"].as_i64().unwrap() + budget["reserved"].as_i64().unwrap();
                assert!(held <= budget["limit"].as_i64().unwrap(), "overspent: {budget}");
                looks += 1;
            }
            looks
        });
        let result = act();
        done.store(true, Ordering::Release);
        assert!(watch.join().unwrap() > 0);
        result
    })
}

/// The bytes before the error event, and what the event says.
fn parted(answer: &Answer) -> (Vec<u8>, Value) {
    let text = answer.text();
    let frame = text.rfind("data: {").unwrap();
    let error: Value = serde_json::from_str(text[frame + 6..].trim_end()).unwrap();
    let named = text[..frame].strip_suffix("event: error\n").unwrap_or(&text[..frame]);
    (named.as_bytes().to_vec(), error)
}

#[test]
fn a_stream_is_cut_where_its_budget_ends_and_says_so_in_its_dialect() {
    for (ask, kind) in asks(LONG).iter().zip(["insufficient_quota", "insufficient_quota", "billing_error"]) {
        let house = house("budgets: [{ limit_usd: 0.1, every: total, when_spent: cut }]");
        let answer = never_over(&house, || house.ask(&ask.clone().team("search")));
        assert_eq!((answer.status(), answer.end), (200, BodyEnd::BrokenOff));
        let (before, error) = parted(&answer);
        assert_eq!(
            (&error["error"]["type"], &error["error"]["scope"]),
            (&json!(kind), &json!("team search"))
        );
        assert!(!answer.text().contains("[DONE]") && !answer.text().contains("message_stop"));
        let alone =
            Wire::open(house.mock.addr).ask(&ask.with_model(LONG, "gpt-4o-x@out=5000").key("someone"));
        assert!(alone.body.starts_with(&before), "what came before is the upstream's");
        assert!(before.ends_with(b"\n\n"), "and whole events");
        let row = house.row(&answer);
        assert_eq!((row.outcome, row.error.as_str()), (Outcome::Cut, "insufficient_quota"));
        assert_ne!(row.usage_source, UsageSource::Reported);
        let cost = row.cost.unwrap().as_nanos();
        assert!((85_000_000..=100_000_000).contains(&cost), "{cost} of 100,000,000");
        assert!(row.cost.unwrap() <= row.reserved, "{row:?}");
        let served = eventually("the mock has ended", || house.served().pop().filter(|s| s.end != End::Open));
        assert_eq!(served.end, End::ClientGone);
    }
}

#[test]
fn an_encoded_stream_is_cut_without_a_word() {
    let house = house("budgets: [{ limit_usd: 0.1, every: total, when_spent: cut }]");
    let ask = asks("gpt@out=5000+gzip")[0].clone().header("accept-encoding", "gzip").team("search");
    let answer = never_over(&house, || house.ask(&ask));
    assert_eq!((answer.status(), answer.end), (200, BodyEnd::BrokenOff));
    assert!(!answer.text().contains("insufficient_quota"));
    assert_eq!(house.row(&answer).outcome, Outcome::Cut);
}

#[test]
fn an_encoded_stream_that_is_cut_at_once_says_nothing_in_plain_text() {
    let model = "gpt@out=5000+gzip+burst";
    let house = house("budgets: [{ limit_usd: 0.027, every: total, when_spent: cut }]");
    let ask = asks(model)[0].clone().header("accept-encoding", "gzip");
    let answer = house.ask(&ask.clone().team("search"));
    assert_eq!((answer.status(), answer.end), (200, BodyEnd::BrokenOff));
    let alone = Wire::open(house.mock.addr).ask(&ask.key("someone"));
    assert!(alone.body.starts_with(&answer.body), "all that came is the upstream's: {}", answer.text());
    assert_eq!(house.row(&answer).outcome, Outcome::Cut);
}

#[test]
fn a_stream_that_nobody_capped_holds_a_slice_and_not_a_whole_answer() {
    let house = house("budgets: [{ limit_usd: 10, every: total }]");
    let mut wire = house.connect();
    wire.begin(&asks("gpt@out=5000")[0].clone().team("search"));
    // 16,384 tokens would be 1.6 USD
    let reserved = house.budget("search")["reserved"].as_i64().unwrap();
    assert!(reserved < 700_000_000, "{reserved}");
    drop(wire);
}

#[test]
fn a_stream_to_a_model_that_thinks_unseen_holds_its_whole_cap() {
    let house = house("budgets: [{ limit_usd: 1, every: total, when_spent: cut }]");
    let answer = house.ask(&asks("o3-mini@out=20")[0].clone().team("search"));
    assert_eq!(answer.status(), 402, "16,384 tokens or more do not fit into 1 USD: {}", answer.text());
}

// FAULTS B3
#[test]
fn an_upstream_that_ignores_the_cap_is_cut_where_the_money_ends() {
    let house = house("budgets: [{ limit_usd: 0.1, every: total }]");
    let body = json!({"model": "gpt@out=3000+ignore-cap", "stream": true, "max_tokens": 300,
        "messages": [{"role": "user", "content": "hello"}]});
    let ask = Ask::post("/v1/chat/completions", &body).team("search");
    let answer = never_over(&house, || house.ask(&ask));
    assert_eq!((answer.status(), answer.end), (200, BodyEnd::BrokenOff));
    let row = house.row(&answer);
    assert_eq!((row.outcome, row.disconnect), (Outcome::Cut, Disconnect::None));
    assert!((300..=1_000).contains(&row.usage.output_tokens), "{row:?}");
}

#[test]
fn a_stream_that_keeps_its_cap_is_never_cut() {
    // 60 tokens are held, and the answer is many more bytes
    let house = house("budgets: [{ limit_usd: 0.0065, every: total }]");
    let body = json!({"model": "gpt@out=60", "stream": true, "max_tokens": 60,
        "messages": [{"role": "user", "content": "hi"}]});
    let answer = house.ask(&Ask::post("/v1/chat/completions", &body).team("search"));
    assert_eq!((answer.status(), answer.end), (200, BodyEnd::Whole), "{}", answer.text());
    assert_eq!(house.row(&answer).outcome, Outcome::Completed);
}

#[test]
fn a_slice_that_the_stream_did_not_need_comes_back_at_its_end() {
    let house = house("budgets: [{ limit_usd: 0.5, every: total, when_spent: cut }]");
    for ask in asks("gpt") {
        let answer = house.ask(&ask.team("search"));
        assert_eq!((answer.status(), answer.end), (200, BodyEnd::Whole));
        let (row, told) = (house.row(&answer), house.served().pop().unwrap());
        assert_eq!((row.outcome, row.usage), (Outcome::Completed, told.usage));
    }
}

#[test]
fn near_its_limit_a_budget_that_clamps_shortens_the_answer() {
    for (place, ask) in asks("gpt@out=60").iter().enumerate() {
        // 40 tokens out, and the ceiling of the input
        let house = house("budgets: [{ limit_usd: 0.0045, every: total, when_spent: clamp }]");
        for stream in [true, false] {
            let body = String::from_utf8(ask.body.clone()).unwrap();
            let body = if stream { body } else { body.replace("\"stream\":true", "\"stream\":false") };
            let path = ["/v1/chat/completions", "/v1/responses", "/v1/messages"][place];
            let answer = house.ask(&Ask::raw(path, body).team("search"));
            if !stream {
                assert_eq!(answer.status(), 402, "fewer than 16 tokens are left: {}", answer.text());
                continue;
            }
            assert_eq!((answer.status(), answer.end), (200, BodyEnd::Whole), "{}", answer.text());
            let row = house.row(&answer);
            assert_eq!((row.outcome, row.usage_source), (Outcome::Completed, UsageSource::Reported));
            assert!((30..=45).contains(&row.usage.output_tokens), "{row:?}");
            assert!(answer.text().contains("length") || answer.text().contains("max_"), "{}", answer.text());
        }
    }
}

#[test]
fn an_answer_that_a_budget_shortened_is_nobody_elses() {
    let house = Setup::default()
        .price("gpt@out=60", RATES)
        .team(
            Team::new("search")
                .with("budgets: [{ limit_usd: 0.0105, every: total, per: user, when_spent: clamp }]")
                .with("cache: { ttl: 1h }"),
        )
        .start();
    let of = |user: &str, words: &str| {
        let body = json!({"model": "gpt@out=60", "max_tokens": 100, "messages": [{"role": "user", "content": words}]});
        let ask = Ask::post("/v1/chat/completions", &body).team("search");
        house.ask(&ask.header("x-tollgate-user", user))
    };
    assert_eq!(of("alice", "something else").status(), 200);
    let shortened = of("alice", "hello");
    assert_eq!(shortened.json()["choices"][0]["finish_reason"], "length", "{}", shortened.text());
    let whole = of("bob", "hello");
    assert_eq!(whole.head.get("x-tollgate-cache"), Some("miss"));
    assert_eq!(whole.json()["choices"][0]["finish_reason"], "stop", "{}", whole.text());
    let again = of("bob", "hello");
    assert_eq!(again.head.get("x-tollgate-cache"), Some("hit"), "more than what bob has left");
}

// FAULTS L12
#[test]
fn attempts_that_were_lost_cost_the_input_that_an_upstream_may_have_read() {
    let routed = "routes: [{ models: [fast], to: [{ upstream: mock, model: \"gpt@status=500\" }, \
                  { upstream: mock, model: \"gpt@delay=10m\" }, { upstream: mock, model: gpt }] }]";
    let models = ["gpt", "gpt@status=500", "gpt@delay=10m"];
    let setup = models.iter().fold(Setup::default(), |setup, model| setup.price(model, RATES));
    let house = setup
        .with(routed)
        .upstream("first_byte_timeout: 300ms")
        .team(Team::new("search").with("budgets: [{ limit_usd: 10, every: total }]"))
        .start();
    let body = json!({"model": "fast", "messages": [{"role": "user", "content": "hello"}]});
    let answer = house.ask(&Ask::post("/v1/chat/completions", &body).team("search"));
    assert_eq!((answer.status(), answer.head.get("x-tollgate-attempts")), (200, Some("3")));
    let (row, told) = (house.row(&answer), house.served().pop().unwrap().usage);
    assert_eq!((row.usage, row.usage_source), (told, UsageSource::Reported));
    let lost = i64::try_from(told.input_tokens * RATES.input / 1_000).unwrap();
    assert_eq!(row.cost.unwrap().as_nanos(), RATES.cost(&told) + lost, "the 500 is nobody's bill");
    let log: Value = serde_json::from_str(&row.attempt_log).unwrap();
    assert_eq!(log.as_array().unwrap().len(), 3, "{log}");
    assert_eq!((&log[0]["status"], &log[1]["error"]), (&json!(500), &json!("first_byte_timeout")), "{log}");
}

#[test]
fn an_upstream_that_never_answers_costs_the_input_that_it_may_have_read() {
    let house = Setup::default()
        .price("gpt@delay=10m", RATES)
        .upstream("first_byte_timeout: 200ms")
        .team(Team::new("search").with("budgets: [{ limit_usd: 10, every: total }]"))
        .start();
    let body = json!({"model": "gpt@delay=10m", "messages": [{"role": "user", "content": "hello"}]});
    let answer = house.ask(&Ask::post("/v1/chat/completions", &body).team("search"));
    assert_eq!(answer.status(), 504, "{}", answer.text());
    let row = house.row(&answer);
    assert_eq!((row.outcome, row.usage_source), (Outcome::UpstreamUnreachable, UsageSource::Estimated));
    assert!(row.usage.input_tokens > 0 && row.usage.output_tokens == 0, "{row:?}");
    assert!(row.cost.unwrap().as_nanos() > 0);
}

#[test]
fn attempts_that_were_lost_are_held_before_another_target_is_asked() {
    let lost = "gpt@delay=10m";
    // the input costs as much as the output
    let rates = Rates::flat(100_000_000, 100_000_000);
    let row_of = |budget: &str, targets: &[&str]| {
        let targets: Vec<_> =
            targets.iter().map(|model| format!("{{ upstream: mock, model: \"{model}\" }}")).collect();
        let house = [lost, "gpt@out=40"]
            .iter()
            .fold(Setup::default(), |setup, model| setup.price(model, rates))
            .with(&format!("routes: [{{ models: [fast], to: [{}] }}]", targets.join(", ")))
            .upstream("first_byte_timeout: 300ms")
            .team(Team::new("search").with(&format!("budgets: [{{ limit_usd: {budget}, every: total }}]")))
            .start();
        let body =
            json!({"model": "fast", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]});
        let answer = house.ask(&Ask::post("/v1/chat/completions", &body).team("search"));
        (answer.status(), house.row(&answer))
    };
    let (_, once) = row_of("10", &["gpt@out=40"]);
    let (status, twice) = row_of("10", &[lost, "gpt@out=40"]);
    assert_eq!((status, twice.attempts), (200, 2));
    assert!(twice.reserved > once.reserved && twice.cost.unwrap() <= twice.reserved, "{twice:?}");
    let between = (once.reserved.as_nanos() + twice.reserved.as_nanos()) / 2;
    let (status, row) = row_of(&format!("0.{between:09}"), &[lost, "gpt@out=40"]);
    assert_eq!((status, row.attempts), (504, 1), "there is no room for what both may cost: {row:?}");
    assert!(row.cost.unwrap().as_nanos() > 0 && row.cost.unwrap() <= row.reserved);
}

// FAULTS B15
#[test]
fn a_stream_takes_tokens_from_its_limits_as_it_passes() {
    let stalled = "gpt@out=2000+stall=1500:10m";
    let house = Setup::default()
        .price(stalled, RATES)
        .price("gpt", RATES)
        .team(Team::new("search").with("limits: { tokens_per_minute: 3000 }"))
        .start();
    let mut wire = house.connect();
    // it takes a usual answer at first: 1,000 tokens
    assert_eq!(wire.begin(&asks(stalled)[0].clone().team("search")).status, 200);
    let body = json!({"model": "gpt", "max_tokens": 1_500, "messages": [{"role": "user", "content": "hi"}]});
    let other = Ask::post("/v1/chat/completions", &body).team("search");
    let refused = eventually("the stream has taken what it used", || {
        Some(house.ask(&other)).filter(|answer| answer.status() != 200)
    });
    assert_eq!(refused.status(), 429, "{}", refused.text());
    drop(wire);
}
