//! What a request costs beside its own answer: tools, further models, attempts that were lost. None of it makes
//! the rest free, and none of it is spent without being held.

use serde_json::{Value, json};
use tollgate::base::money::NanoUsd;
use tollgate::store::record::Record;

use crate::support::{Answer, Ask, COMPLETION, Gateway, PROD, Recorder, chat, json_answer, until};

/// 1 USD per million tokens of any kind, or a million nano-USD per thousand; no rate for searches.
const PRICES: &str = "prices: { mine: { input: 1, output: 1 } }\n";

fn start(base_url: &str, budget: &str, more: &str) -> Gateway {
    let config = format!(
        "upstreams: {{ up: {{ base_url: \"{base_url}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], budgets: [{{ {budget} }}] }} }}
{more}"
    );
    Gateway::start(&config)
}

fn url(recorder: &Recorder) -> String {
    format!("http://{}/v1", recorder.addr)
}

/// An upstream that searches twice, asked or not, and tells so.
fn searching() -> Recorder {
    let usage = json!({ "prompt_tokens": 1_000, "completion_tokens": 9_000, "num_search_queries": 2 });
    let message = json!({ "role": "assistant", "content": "found" });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    let answer = json!({ "id": "c1", "model": "mine", "choices": choices, "usage": usage }).to_string();
    Recorder::start(move |_| json_answer(200, "", &answer))
}

fn ask(gateway: &Gateway, more: &Value) -> Answer {
    let mut body = json!({ "model": "mine", "max_tokens": 20_000, "messages": [] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gateway.send(&Ask::post("/v1/chat/completions", body.to_string()).bearer(PROD))
}

/// What the row was charged is what the budget was.
fn spent(gateway: &Gateway, row: &Record) {
    let spent = || gateway.api("budgets")["budgets"][0]["spent"].as_i64().unwrap();
    until("the budget has it", || (spent() == row.cost.unwrap_or_default().as_nanos()).then_some(()));
}

#[test]
fn a_tool_that_nobody_has_priced_is_not_used_on_a_budget_in_money() {
    let upstream = searching();
    let gateway = start(&url(&upstream), "limit_usd: 1, every: total", PRICES);
    for more in [
        json!({ "web_search_options": {} }),
        json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }),
    ] {
        assert_eq!(ask(&gateway, &more).refusal(), (403, "model_unpriced".into()), "{more}");
    }
    let escaped = r#"{"model":"mine","messages":[],"tools":[{"type":"web\u005fsearch"}]}"#;
    let escaped = Ask::post("/v1/chat/completions", escaped).bearer(PROD);
    assert_eq!(gateway.send(&escaped).refusal(), (403, "model_unpriced".into()));
    assert!(upstream.seen().is_empty());
}

#[test]
fn the_config_can_say_what_a_search_costs() {
    let upstream = searching();
    let prices = "prices: { mine: { input: 1, output: 1, web_search: 10000 } }\n";
    let gateway = start(&url(&upstream), "limit_usd: 1, every: total", prices);
    let row = gateway.row_of(&ask(&gateway, &json!({ "tools": [{ "type": "web_search" }] })));
    assert_eq!((row.cost, row.usage_source.as_str()), (Some(NanoUsd::new(30_000_000)), "reported"));
    assert!(row.cost <= Some(row.reserved), "ten searches are held: {row:?}");
    spent(&gateway, &row);
}

#[test]
fn the_model_that_stands_in_prices_a_search_too() {
    let upstream = searching();
    let prices =
        "prices: { mine: { input: 1, output: 1 }, full: { input: 1, output: 1, web_search: 10000 } }\n";
    let gateway = start(&url(&upstream), "limit_usd: 1, every: total, unpriced: { price_as: full }", prices);
    let row = gateway.row_of(&ask(&gateway, &json!({ "web_search_options": {} })));
    assert_eq!(row.cost, Some(NanoUsd::new(30_000_000)));
    spent(&gateway, &row);
}

#[test]
fn a_part_of_unknown_price_does_not_make_the_answer_free() {
    let upstream = searching();
    let tokens = NanoUsd::new(10_000_000);
    let gateway = start(&url(&upstream), "limit_usd: 1, every: total, unpriced: allow", PRICES);
    let row = gateway.row_of(&ask(&gateway, &json!({ "web_search_options": {} })));
    assert_eq!((row.cost, row.usage_source.as_str()), (Some(tokens), "estimated"), "what is priced");
    assert_eq!(row.rates, r#"{"input":1000000,"output":1000000,"web_search":null}"#);
    spent(&gateway, &row);

    // nobody asked it to search
    let gateway = start(&url(&upstream), "limit_usd: 1, every: total", PRICES);
    let row = gateway.row_of(&ask(&gateway, &json!({})));
    assert!(row.reserved > tokens);
    assert_eq!((row.cost, row.usage_source.as_str()), (Some(row.reserved), "estimated"), "what was held");
    spent(&gateway, &row);

    // where no money is counted, the unknown stays unknown
    let gateway = start(&url(&upstream), "limit_tokens: 100000, every: total", PRICES);
    let row = gateway.row_of(&ask(&gateway, &json!({})));
    assert_eq!((row.cost, row.usage_source.as_str()), (None, "reported"));
}

#[test]
fn lost_attempts_are_priced_as_the_model_that_stands_in() {
    let lost = Recorder::start(|_| Vec::new());
    let upstream = Recorder::start(|_| json_answer(200, "", &COMPLETION.replace("gpt-4o-mini", "nobodys")));
    // half a nano-USD for each token in
    let gateway = two(&lost, &upstream, "unpriced: { price_as: full }", "full: { input: 0.0005, output: 0 }");
    let row = gateway.row_of(&gateway.send(&chat("it")));
    assert_eq!((row.attempts, row.status, row.usage.input_tokens), (2, 200, 9), "{row:?}");
    assert_eq!(row.cost, Some(NanoUsd::new(9)), "both are added before they are rounded");
    assert!(row.extra_usage.contains(r#""host":"127.0.0.1""#), "{}", row.extra_usage);
    spent(&gateway, &row);
}

/// A gateway whose model `it` is `nobodys` at one upstream, then at the other.
fn two(first: &Recorder, second: &Recorder, unpriced: &str, prices: &str) -> Gateway {
    let config = format!(
        "upstreams: {{ a: {{ base_url: \"{}\" }}, b: {{ base_url: \"{}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], budgets: [{{ limit_usd: 1, every: total, {unpriced} }}] }} }}
prices: {{ {prices} }}
routes: [{{ models: [it], to: [{{ upstream: a, model: nobodys }}, {{ upstream: b, model: nobodys }}] }}]\n",
        url(first),
        url(second)
    );
    Gateway::start(&config)
}

#[test]
fn output_that_no_stream_shows_is_held_whole() {
    let upstream = Recorder::plain();
    let gateway = start(&url(&upstream), "limit_usd: 0.10, every: total", "");
    let image = json!({ "model": "gpt-image-1", "stream": true, "prompt": "a cat" }).to_string();
    let refused = gateway.send(&Ask::post("/v1/images/generations", image).bearer(PROD));
    assert_eq!(refused.status, 402, "a picture may come to 0.25 USD: {}", refused.text());
    let response = |tools: Value| {
        let body = json!({ "model": "gpt-4o-mini", "stream": true, "input": "draw a cat", "tools": tools });
        gateway.send(&Ask::post("/v1/responses", body.to_string()).bearer(PROD)).status
    };
    assert_eq!(response(json!([{ "type": "image_generation" }])), 402);
    assert_eq!(response(json!([{ "type": "image_generation", "model": "gpt-image-1" }])), 402);
    assert_eq!(response(json!([{ "type": "image_generation", "model": "gpt-image-99" }])), 403, "unpriced");
    assert!(upstream.seen().is_empty());
    assert_eq!(response(json!([])), 200);
}

/// An upstream that streams an answer without a word, and tells this use of output.
fn streaming(completion: &Value) -> Recorder {
    let usage =
        json!({ "prompt_tokens": 9, "completion_tokens": 90, "completion_tokens_details": completion });
    let chunk = json!({ "id": "c1", "model": "deployment", "choices": [], "usage": usage });
    let body = format!("data: {chunk}\n\ndata: [DONE]\n\n");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length:";
    Recorder::start(move |_| format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// What a stream to `deployment` that nobody capped reserves.
fn reserved_by_a_stream(gateway: &Gateway) -> u64 {
    let body = json!({ "model": "deployment", "stream": true, "messages": [] }).to_string();
    gateway.row_of(&gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD))).reserved_tokens
}

#[test]
fn the_model_that_stands_in_tells_that_a_deployment_reasons() {
    let upstream = streaming(&json!({}));
    let budget = |model: &str| format!("limit_usd: 1000, every: total, unpriced: {{ price_as: {model} }}");
    let reserved = |model: &str| reserved_by_a_stream(&start(&url(&upstream), &budget(model), ""));
    assert!((2_048..8_000).contains(&reserved("gpt-4o")));
    assert!(reserved("o3") >= 100_000);
}

#[test]
fn what_a_model_hides_is_remembered_beyond_a_reload() {
    let upstream = streaming(&json!({ "reasoning_tokens": 80 }));
    let prices = |rate: u32| format!("prices: {{ deployment: {{ input: {rate}, output: 1 }} }}\n");
    let config = |rate| {
        format!(
            "upstreams: {{ up: {{ base_url: \"{}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], budgets: [{{ limit_usd: 9, every: total }}] }} }}
{}",
            url(&upstream),
            prices(rate)
        )
    };
    let gateway = Gateway::start(&config(1));
    assert!(reserved_by_a_stream(&gateway) < 8_000, "a slice, by a name that tells nothing");
    assert!(reserved_by_a_stream(&gateway) >= 16_384, "all of it, since it was seen to reason");
    gateway.setup.write(&config(2));
    until("the new config", || (gateway.api("config")["generation"] == 2).then_some(()));
    assert!(reserved_by_a_stream(&gateway) >= 16_384, "and still");
}
