//! Work that goes on after its answer: billed once, to whoever began it, when anybody reads its usage.

use std::thread;

use serde_json::{Value, json};
use tollgate::base::money::NanoUsd;
use tollgate::base::usage::UsageSource;
use tollgate::mock::Served;
use tollgate::store::record::{Billing, Outcome, Record};

use crate::support::{Answer, Ask, House, Rates, Setup, Team, Wire, eventually};

const RATES: Rates = Rates::flat(150_000, 600_000);
const MODEL: &str = "gpt@out=30+in=100+later=2";

fn setup() -> Setup {
    let setup =
        [MODEL, "gpt", "other"].iter().fold(Setup::default(), |setup, model| setup.price(model, RATES));
    setup
        .team(Team::new("search").with("budgets: [{ limit_usd: 1, every: total }]"))
        .team(Team::new("chat").with("budgets: [{ limit_usd: 1, every: total }]"))
}

fn respond(model: &str) -> Ask {
    let body = json!({"model": model, "background": true, "max_output_tokens": 500, "input": "hello"});
    Ask::post("/v1/responses", &body).team("search").header("x-tollgate-tags", "feature=late")
}

fn read(id: &str) -> Ask {
    Ask::get(&format!("/v1/responses/{id}")).team("search")
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Begins a response in the background.
fn begin(house: &House) -> String {
    let answer = house.ask(&respond(MODEL));
    assert_eq!(
        (answer.json()["status"].as_str(), answer.head.get("x-tollgate-cost-usd")),
        (Some("queued"), None)
    );
    id_of(&answer)
}

/// Reads until it is done, and as often again; all in all five times.
fn poll(house: &House, id: &str) -> Value {
    for status in ["in_progress", "in_progress", "completed", "completed"] {
        let answer = house.ask(&read(id));
        assert_eq!(answer.json()["status"], status);
    }
    house.ask(&read(id)).json()
}

fn late(house: &House) -> Vec<Record> {
    house.rows().into_iter().filter(|row| row.billing == Billing::Late).collect()
}

/// The one late bill, of the one request that deferred it.
fn the_bill(house: &House) -> Record {
    let bill = eventually("a late bill", || late(house).pop());
    let rows = house.rows();
    assert_eq!(rows.iter().filter(|row| row.billing == Billing::Late).count(), 1);
    let begun = rows.iter().find(|row| row.id == bill.parent).expect("the row that deferred it");
    assert_eq!(
        (begun.billing, begun.usage_source, begun.cost),
        (Billing::Deferred, UsageSource::None, Some(NanoUsd::ZERO))
    );
    assert_eq!((&begun.answer_id, &begun.team, &begun.tags), (&bill.answer_id, &bill.team, &bill.tags));
    for row in rows.iter().filter(|row| row.billing != Billing::Late) {
        assert_eq!(
            (row.usage.total_tokens(), row.cost),
            (0, Some(NanoUsd::ZERO)),
            "only the bill costs: {row:?}"
        );
    }
    bill
}

/// What the mock says that the work used.
fn used(house: &House) -> Served {
    house.served().into_iter().rfind(|served| served.usage.total_tokens() > 0).unwrap()
}

fn budget(house: &House, team: &str) -> (i64, i64) {
    let shown = house.budget(team);
    (shown["spent"].as_i64().unwrap(), shown["reserved"].as_i64().unwrap())
}

#[test]
fn wire_18_a_background_response_is_billed_once_however_often_it_is_read() {
    let house = setup().start();
    let id = begin(&house);
    let begun = house.rows().pop().unwrap();
    let held = budget(&house, "search");
    assert_eq!(held, (0, begun.reserved.as_nanos()), "held until it is billed");
    assert!(held.1 > 0);
    let told = poll(&house, &id);
    let bill = the_bill(&house);
    let usage = used(&house).usage;
    assert_eq!(told["usage"]["output_tokens"], 30);
    assert_eq!((bill.usage, bill.usage_source), (usage, UsageSource::Reported));
    assert_eq!((bill.outcome, bill.cost.unwrap().as_nanos()), (Outcome::Completed, RATES.cost(&usage)));
    assert_eq!((bill.operation.as_str(), bill.model.as_str(), &bill.answer_id), ("responses", MODEL, &id));
    assert_eq!(
        (bill.team.as_str(), bill.key.as_str(), bill.tags["feature"].as_str()),
        ("search", "prod", "late")
    );
    assert_eq!((bill.trace_id, bill.reserved), (begun.trace_id, begun.reserved));
    assert_eq!(budget(&house, "search"), (RATES.cost(&usage), 0), "the rest is given back");
    let shown = house.usage("team");
    assert_eq!(shown["total"]["cost_nano_usd"], RATES.cost(&usage));
    assert_eq!(shown["total"]["requests"], 6, "a bill is no request");
}

#[test]
fn wire_18_reads_at_one_moment_bill_once() {
    let house = setup().start();
    let ids: Vec<String> = (0..10).map(|_| begin(&house)).collect();
    for id in ids.iter().chain(&ids) {
        house.ask(&read(id));
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ids.iter().for_each(|id| assert_eq!(house.ask(&read(id)).status(), 200)));
        }
    });
    let bills = eventually("all bills", || Some(late(&house)).filter(|bills| bills.len() >= 10));
    let mut parents: Vec<u128> = bills.iter().map(|bill| bill.parent).collect();
    parents.sort_unstable();
    parents.dedup();
    assert_eq!((bills.len(), parents.len()), (10, 10));
}

#[test]
fn wire_18_whoever_reads_it_who_began_it_pays() {
    let house = setup().start();
    let id = begin(&house);
    for _ in 0..4 {
        house.ask(&Ask::get(&format!("/v1/responses/{id}?include_obfuscation=false")).team("chat"));
    }
    assert_eq!(the_bill(&house).team, "search");
    assert_eq!(budget(&house, "chat"), (0, 0));
}

#[test]
fn wire_18_a_stream_of_a_stored_response_and_a_cancel_tell_its_usage_too() {
    let house = setup().start();
    let (streamed, cancelled) = (begin(&house), begin(&house));
    let stream = Ask::get(&format!("/v1/responses/{streamed}?stream=true&starting_after=3")).team("search");
    assert!(house.ask(&stream).text().contains("response.completed"));
    let cancel = Ask::raw(&format!("/v1/responses/{cancelled}/cancel"), "").team("search");
    assert_eq!(house.ask(&cancel).json()["status"], "cancelled");
    let bills = eventually("both bills", || Some(late(&house)).filter(|bills| bills.len() == 2));
    let usage = used(&house).usage;
    for bill in &bills {
        assert_eq!((bill.usage, bill.usage_source), (usage, UsageSource::Reported));
    }
    house.ask(&cancel);
    house.ask(&stream);
    assert_eq!((late(&house).len(), budget(&house, "search")), (2, (2 * RATES.cost(&usage), 0)));
}

#[test]
fn wire_18_a_background_stream_that_its_client_leaves_is_billed_when_it_is_read() {
    let house = setup().price("gpt@out=30+pace=5ms+later=0", RATES).start();
    let body = json!({"model": "gpt@out=30+pace=5ms+later=0", "background": true, "stream": true,
        "max_output_tokens": 500, "input": "hello"});
    let mut wire = house.connect();
    wire.begin(&Ask::post("/v1/responses", &body).team("search"));
    wire.one_chunk();
    drop(wire);
    let begun = eventually("the row of the stream", || house.rows().pop());
    assert_eq!((begun.billing, begun.outcome), (Billing::Deferred, Outcome::Cancelled));
    let answer = house.ask(&read(&begun.answer_id));
    assert_eq!(answer.json()["status"], "completed");
    let bill = the_bill(&house);
    assert_eq!((bill.usage_source, bill.usage.output_tokens), (UsageSource::Reported, 30));
}

#[test]
fn wire_18_what_is_owed_is_owed_after_a_kill_and_a_restart_and_billed_once() {
    let mut house = setup().start();
    let id = begin(&house);
    let held = budget(&house, "search");
    house.kill();
    house.restart();
    assert_eq!(budget(&house, "search"), held, "held again");
    house.stop();
    house.restart();
    assert_eq!(budget(&house, "search"), held);
    poll(&house, &id);
    let bill = the_bill(&house);
    let spent = (bill.cost.unwrap().as_nanos(), 0);
    house.kill();
    house.restart();
    assert_eq!(
        (house.ask(&read(&id)).status(), late(&house).len(), budget(&house, "search")),
        (200, 1, spent)
    );
}

#[cfg(feature = "failpoints")]
#[test]
fn wire_18_wherever_the_gateway_dies_the_bill_is_there_once_or_still_owed() {
    let mut house = setup().price("gpt@later=0+out=9", RATES).start();
    for point in ["before-settle", "mid-commit"] {
        let before = late(&house).len();
        let id = id_of(&house.ask(&respond("gpt@later=0+out=9")));
        house.restart_until(point);
        Wire::try_ask(house.address(), &read(&id));
        house.wait_for_death();
        house.restart();
        assert_eq!(house.ask(&read(&id)).json()["status"], "completed");
        let bills = eventually("the bill", || Some(late(&house)).filter(|bills| bills.len() > before));
        assert_eq!(bills.len(), before + 1, "{point}");
        let spent: i64 = bills.iter().map(|bill| bill.cost.unwrap().as_nanos()).sum();
        assert_eq!(budget(&house, "search"), (spent, 0), "{point}");
    }
}

#[test]
fn wire_18_what_nobody_reads_is_billed_at_what_was_held_for_it() {
    let house = setup().with("ledger: { deferred_for: 1s }").start();
    let id = begin(&house);
    let held = budget(&house, "search").1;
    let bill = the_bill(&house);
    assert_eq!((bill.outcome, bill.error.as_str()), (Outcome::Cancelled, "never_fetched"));
    assert_eq!((bill.usage_source, bill.cost.unwrap().as_nanos()), (UsageSource::Estimated, held));
    poll(&house, &id);
    assert_eq!((late(&house).len(), budget(&house, "search")), (1, (held, 0)), "not a second time");
}

#[test]
fn wire_18_money_that_is_held_for_the_background_is_not_spent_by_others() {
    let house = Setup::default()
        .price("gpt@out=30+in=100+later=0", Rates::flat(1_000_000, 1_000_000))
        .team(Team::new("search").with("budgets: [{ limit_usd: 0.001, every: total }]"))
        .start();
    let ask = respond("gpt@out=30+in=100+later=0");
    let id = id_of(&house.ask(&ask));
    assert_eq!(house.ask(&ask).status(), 402, "500 tokens of 1,000 are held, and the ceiling of the input");
    house.ask(&read(&id));
    assert_eq!(budget(&house, "search"), (130_000, 0));
    let again = id_of(&house.ask(&ask));
    house.ask(&read(&again));
    assert_eq!(budget(&house, "search"), (260_000, 0));
}

#[test]
fn wire_19_reads_of_what_was_billed_at_once_bill_nothing() {
    let house = setup().start();
    let body = json!({"model": "gpt", "store": true, "input": "hello", "max_output_tokens": 50});
    let answer = house.ask(&Ask::post("/v1/responses", &body).team("search"));
    let spent = eventually("it is billed", || Some(budget(&house, "search")).filter(|budget| budget.0 > 0));
    for path in [
        format!("/v1/responses/{}", id_of(&answer)),
        "/v1/responses/resp_of_somebody_else".into(),
        "/v1/chat/completions/chatcmpl-1".into(),
        "/v1/batches/batch_of_somebody_else".into(),
        "/v1/files/file-of-somebody-else/content".into(),
    ] {
        let answer = house.ask(&Ask::get(&path).team("search"));
        let row = house.row(&answer);
        assert_eq!(
            (row.operation.as_str(), row.usage_source, row.cost),
            ("stored", UsageSource::None, Some(NanoUsd::ZERO))
        );
    }
    assert_eq!((late(&house).len(), budget(&house, "search")), (0, spent));
}

/// Begins a batch of these questions.
fn batch(house: &House, file: &str) -> String {
    let body = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let answer = house.ask(&Ask::post("/v1/batches", &body).team("search"));
    assert_eq!(house.row(&answer).billing, Billing::Deferred);
    id_of(&answer)
}

fn ask_batch(house: &House, id: &str) -> Value {
    house.ask(&Ask::get(&format!("/v1/batches/{id}")).team("search")).json()
}

fn ask_file(house: &House, batch: &Value) -> Answer {
    let file = batch["output_file_id"].as_str().unwrap();
    house.ask(&Ask::get(&format!("/v1/files/{file}/content")).team("search"))
}

#[test]
fn a_batch_is_billed_once_by_the_usage_that_it_tells() {
    let house = setup().start();
    let id = batch(&house, "file-gpt@out=10+in=20+later=1*3");
    assert_eq!(budget(&house, "search"), (0, 0), "nobody knows what to hold");
    assert_eq!(ask_batch(&house, &id)["status"], "in_progress");
    assert!(late(&house).is_empty());
    for _ in 0..2 {
        let told = ask_batch(&house, &id);
        assert_eq!(told["usage"]["total_tokens"], 90);
        ask_file(&house, &told);
    }
    let bill = the_bill(&house);
    assert_eq!((bill.usage.input_tokens, bill.usage.output_tokens), (60, 30));
    assert_eq!(
        (bill.model.as_str(), bill.service_tier.as_str(), bill.operation.as_str()),
        ("gpt", "batch", "batches")
    );
    assert_eq!((bill.cost.unwrap().as_nanos(), bill.answer_id), (RATES.cost(&bill.usage), id));
    assert_eq!(budget(&house, "search"), (RATES.cost(&bill.usage), 0));
}

#[test]
fn a_batch_that_tells_no_usage_is_billed_by_the_lines_of_its_output() {
    let mut house = setup().start();
    let id =
        batch(&house, "file-gpt@out=10+in=20+usage=absent+later=0*1;gpt@out=10+in=20*2;other@out=7+in=5*2");
    let told = ask_batch(&house, &id);
    assert_eq!((&told["status"], &told["usage"]), (&json!("completed"), &Value::Null));
    assert!(late(&house).is_empty());
    house.kill();
    house.restart();
    for _ in 0..2 {
        assert_eq!(ask_file(&house, &told).status(), 200);
    }
    let bill = eventually("a late bill", || late(&house).pop());
    let own = RATES.cost(&bill.usage);
    assert_eq!((bill.usage.input_tokens, bill.usage.output_tokens, late(&house).len()), (40, 20, 1));
    let further: Value = serde_json::from_str(&bill.extra_usage).unwrap();
    assert_eq!((&further[0]["model"], &further[0]["usage"]["output_tokens"]), (&json!("other"), &json!(14)));
    let all = own + 10 * 150 + 14 * 600;
    assert_eq!((bill.cost.unwrap().as_nanos(), budget(&house, "search")), (all, (all, 0)));
}

#[test]
fn a_batch_of_messages_is_billed_by_its_results() {
    let house = setup().price("claude", RATES).start();
    let params = json!({"model": "claude@out=6+in=40+cached=10+later=0", "max_tokens": 50,
        "messages": [{"role": "user", "content": "hello"}]});
    let body =
        json!({"requests": [{"custom_id": "a", "params": params}, {"custom_id": "b", "params": params}]});
    let answer = house.ask(&Ask::post("/v1/messages/batches", &body).team("search"));
    let id = id_of(&answer);
    let told = house.ask(&Ask::get(&format!("/v1/messages/batches/{id}")).team("search")).json();
    assert_eq!(told["processing_status"], "ended");
    assert!(late(&house).is_empty());
    let results = Ask::get(&format!("/v1/messages/batches/{id}/results")).team("search");
    // it has no body: whoever asks so is not told that nothing was used
    assert_eq!(house.ask(&results.clone().method("HEAD")).status(), 200);
    for _ in 0..2 {
        assert_eq!(house.ask(&results).status(), 200);
    }
    let bill = the_bill(&house);
    assert_eq!(
        (bill.usage.input_tokens, bill.usage.cached_input_tokens, bill.usage.output_tokens),
        (80, 20, 12)
    );
    assert_eq!((bill.service_tier.as_str(), bill.upstream.as_str()), ("batch", "claude"));
    assert_eq!(budget(&house, "search"), (bill.cost.unwrap().as_nanos(), 0));
}

#[test]
fn where_what_cannot_be_held_is_refused_a_batch_is() {
    let house = setup().with("unmetered: refuse").start();
    let body = json!({"input_file_id": "file-gpt*1", "endpoint": "/v1/chat/completions"});
    let answer = house.ask(&Ask::post("/v1/batches", &body).team("search"));
    assert_eq!(answer.status(), 403, "{}", answer.text());
}
