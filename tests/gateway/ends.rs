//! The ways in which a request can end other than well: each leaves one row and gives everything back.

use std::thread;

use serde_json::json;
use tollgate::base::usage::UsageSource;
use tollgate::store::record::{Outcome, Record};

use crate::support::{Ask, BodyEnd, House, Rates, Setup, Team, Wire, eventually, signal};

const RATES: Rates = Rates::flat(150_000, 600_000);
const BUDGET: &str = "budgets: [{ limit_usd: 1, every: total }]";

fn setup() -> Setup {
    let models =
        ["gpt", "gpt@delay=10m", "gpt@out=30+stall=3:10m", "gpt@out=50+pace=5ms", "gpt@out=80+cut=200"];
    models.iter().fold(Setup::default(), |setup, model| setup.price(model, RATES))
}

fn house(lines: &[&str]) -> House {
    let team = lines.iter().fold(Team::new("search").with(BUDGET), |team, line| team.with(line));
    setup().team(team).start()
}

fn chat(model: &str, stream: bool) -> Ask {
    let body = json!({"model": model, "stream": stream, "max_tokens": 100,
        "messages": [{"role": "user", "content": "hello"}]});
    Ask::post("/v1/chat/completions", &body).team("search")
}

/// The only row there is, once it is there.
fn only_row(house: &House) -> Record {
    let mut rows = eventually("a row", || Some(house.rows()).filter(|rows| !rows.is_empty()));
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

#[test]
fn a_client_that_hangs_up_before_the_answer_is_charged_for_what_the_upstream_may_have_done() {
    let house = house(&[]);
    let mut wire = house.connect();
    wire.send(&chat("gpt@delay=10m", false));
    eventually("the mock is asked", || (!house.served().is_empty()).then_some(()));
    drop(wire);
    let row = only_row(&house);
    assert_eq!((row.outcome, row.status, row.usage_source), (Outcome::Cancelled, 0, UsageSource::Estimated));
    assert!(row.usage.input_tokens > 0 && row.usage.output_tokens == 0, "{row:?}");
    assert!(row.cost.unwrap() <= row.reserved);
}

#[test]
fn a_client_that_hangs_up_gives_its_place_back() {
    let house = house(&["limits: { concurrent: 1 }"]);
    let mut wire = house.connect();
    assert_eq!(wire.begin(&chat("gpt@out=30+stall=3:10m", true)).status, 200);
    let refused = house.ask(&chat("gpt", false));
    assert_eq!(
        (refused.status(), refused.json()["error"]["code"].clone()),
        (429, json!("rate_limit_exceeded"))
    );
    assert!(refused.head.get("retry-after").is_some());
    drop(wire);
    eventually("the place is free", || (house.ask(&chat("gpt", true)).status() == 200).then_some(()));
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_request_spends_nothing() {
    let house = house(&[]);
    let mut wire = house.connect();
    let key = "authorization: Bearer tg-search-prod-0123456789abcdef";
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{key}\r\ncontent-length: 500\r\n\r\n");
    wire.send_bytes(head.as_bytes());
    wire.send_bytes(b"{\"model\":\"gpt\",");
    drop(wire);
    let row = only_row(&house);
    assert!(matches!(row.outcome, Outcome::Refused | Outcome::Cancelled), "{row:?}");
    assert_eq!((row.attempts, row.cost.unwrap().as_nanos(), row.usage.total_tokens()), (0, 0, 0));
}

#[test]
fn a_json_answer_that_breaks_off_is_a_prefix_and_is_charged() {
    let house = house(&[]);
    let answer = house.ask(&chat("gpt@out=80+cut=200", false));
    assert_eq!((answer.status(), answer.end, answer.body.len()), (200, BodyEnd::BrokenOff, 200));
    let row = house.row(&answer);
    assert_eq!((row.outcome, row.usage_source), (Outcome::Truncated, UsageSource::Estimated));
    assert!(row.cost.unwrap().as_nanos() > 0 && row.cost.unwrap() <= row.reserved, "{row:?}");
}

#[test]
fn an_upstream_that_is_not_there_costs_nothing() {
    let mut house = house(&[]);
    house.mock.stop();
    for stream in [false, true] {
        let answer = house.ask(&chat("gpt", stream));
        assert_eq!(answer.status(), 502, "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], "upstream_unreachable");
        let row = house.row(&answer);
        assert_eq!((row.outcome, row.cost.unwrap().as_nanos()), (Outcome::UpstreamUnreachable, 0));
    }
    assert_eq!(house.budget("search")["spent"], 0);
}

#[test]
fn a_failover_is_one_request_with_two_attempts_and_one_price() {
    let failing = "gpt@status=500";
    let route = format!(
        "routes: [{{ models: [fast], to: [{{ upstream: mock, model: \"{failing}\" }}, {{ upstream: mock, model: gpt }}] }}]"
    );
    let house = setup().price(failing, RATES).with(&route).team(Team::new("search").with(BUDGET)).start();
    for stream in [false, true] {
        let answer = house.ask(&chat("fast", stream));
        assert_eq!((answer.status(), answer.head.get("x-tollgate-attempts")), (200, Some("2")));
        let row = house.row(&answer);
        assert_eq!((row.outcome, row.attempts, row.upstream_model.as_str()), (Outcome::Completed, 2, "gpt"));
        let told = house.served().pop().unwrap().usage;
        assert_eq!((row.usage, row.cost.unwrap().as_nanos()), (told, RATES.cost(&told)));
    }
}

#[test]
fn a_stop_lets_the_streams_under_way_finish() {
    let mut house = house(&[]);
    let mut wire = house.connect();
    let head = wire.begin(&chat("gpt@out=50+pace=5ms", true));
    wire.one_chunk();
    let address = house.address();
    signal("TERM", house.pid());
    let reader = thread::spawn(move || wire.rest(head));
    let answer = reader.join().unwrap();
    assert_eq!(answer.end, BodyEnd::Whole);
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    house.wait();
    assert!(Wire::try_ask(address, &chat("gpt", false)).is_none(), "nobody listens any more");
    let row = only_row(&house);
    let told = house.served().pop().unwrap().usage;
    assert_eq!((row.outcome, row.usage_source, row.usage), (Outcome::Completed, UsageSource::Reported, told));
}

#[test]
fn an_upstream_that_reports_nonsense_does_not_empty_a_budget() {
    for spelling in ["huge", "negative", "string", "float", "null", "absent"] {
        let model = format!("gpt@usage={spelling}");
        let house = setup().price(&model, RATES).team(Team::new("search").with(BUDGET)).start();
        for stream in [false, true] {
            let answer = house.ask(&chat(&model, stream));
            assert_eq!((answer.status(), answer.end), (200, BodyEnd::Whole));
            let (row, told) = (house.row(&answer), house.served().pop().unwrap());
            assert_eq!(
                (row.outcome, row.usage_source),
                (Outcome::Completed, UsageSource::Estimated),
                "{model}"
            );
            assert_eq!(row.usage.output_tokens, told.usage.output_tokens, "counted here, and right: {model}");
            assert!(row.cost.unwrap() <= row.reserved, "{model}: {row:?}");
        }
    }
}

#[test]
fn when_the_one_that_asks_for_all_fails_one_of_the_others_asks() {
    let model = "gpt@delay=300ms+status=500:1";
    let team = Team::new("search").with(BUDGET).with("cache: { ttl: 1m }");
    let house = setup().price(model, RATES).team(team).start();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let client = || house.ask(&chat(model, false)).status();
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 7, "{statuses:?}");
    assert_eq!(house.served().len(), 2, "one that failed, and one for all the others");
}
