//! What is spent is charged: no word of a request and no fault of an upstream makes work free.

use std::io::Write as _;

use serde_json::json;
use tollgate::base::money::NanoUsd;

use crate::support::{
    Ask, COMPLETION, Gateway, PROD, Recorder, Setup, Wire, chat, json_answer, mock, stream_chat, until,
};

/// A gateway with one upstream; `more` are keys of its only team.
fn start(base_url: &str, more: &str) -> Gateway {
    Gateway::start(&config(base_url, more))
}

fn config(base_url: &str, more: &str) -> String {
    format!(
        "upstreams: {{ up: {{ base_url: \"{base_url}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}]{more} }} }}\n"
    )
}

/// A gateway that sends `gpt-4o` to the mock's `gpt-4o` with these knobs: what it costs is known.
fn with_knobs(base_url: &str, knobs: &str) -> Gateway {
    let to = format!("{{ upstream: up, model: \"gpt-4o@{knobs}\" }}");
    Gateway::start(&(config(base_url, "") + &format!("routes: [{{ models: [gpt-4o], to: [{to}] }}]\n")))
}

fn url(recorder: &Recorder) -> String {
    format!("http://{}/v1", recorder.addr)
}

/// A chat answer without usage, of that many words.
fn long_answer(words: usize) -> String {
    let text = "word ".repeat(words);
    format!(
        r#"{{"id":"c1","model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}]}}"#
    )
}

/// A request to transcribe a file of that many bytes.
fn transcription(size: usize) -> Ask {
    let mut body = b"--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b\r\n\
          content-disposition: form-data; name=\"file\"; filename=\"a.ogg\"\r\n\r\n"
        .to_vec();
    body.resize(body.len() + size, b'x');
    body.extend_from_slice(b"\r\n--b--\r\n");
    Ask::form("/v1/audio/transcriptions", "multipart/form-data; boundary=b", body).bearer(PROD)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_word_background_makes_no_answer_free() {
    let answer = long_answer(100);
    let upstream = Recorder::start(move |_| json_answer(200, "", &answer));
    let gateway = start(&url(&upstream), "");
    let body = r#"{"model":"gpt-4o-mini","background":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let row = gateway.row_of(&gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD)));
    assert_eq!(row.usage_source.as_str(), "estimated");
    assert!(row.usage.output_tokens >= 100 && row.cost.unwrap().as_nanos() > 0, "{row:?}");
}

#[test]
fn a_redirect_costs_nothing() {
    let upstream = Recorder::start(|_| json_answer(308, "location: https://127.0.0.1/v1\r\n", "{}"));
    let gateway = start(&url(&upstream), ", budgets: [{ limit_usd: 1, every: total }]");
    let answer = gateway.send(&chat("gpt-4o-mini"));
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://127.0.0.1/v1")));
    let row = gateway.row_of(&answer);
    assert_eq!((row.cost, row.usage_source.as_str()), (Some(NanoUsd::ZERO), "none"), "{row:?}");
}

#[test]
fn a_background_response_holds_its_reservation_until_its_usage_is_told() {
    let queued = r#"{"id":"resp_1","object":"response","status":"queued","background":true,"model":"gpt-4o-mini","output":[],"usage":null}"#;
    let upstream = Recorder::start(move |_| json_answer(200, "", queued));
    let gateway = start(&url(&upstream), ", budgets: [{ limit_usd: 1, every: total }]");
    let body = r#"{"model":"gpt-4o-mini","background":true,"input":"hi","max_output_tokens":500}"#;
    let row = gateway.row_of(&gateway.send(&Ask::post("/v1/responses", body).bearer(PROD)));
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("completed", "none"));
    assert_eq!((row.billing.as_str(), row.answer_id.as_str()), ("deferred", "resp_1"));
    assert!(row.reserved.as_nanos() > 0);
    assert_eq!(row.cost, Some(NanoUsd::ZERO));
    let budget = gateway.api("budgets")["budgets"][0].clone();
    assert_eq!((&budget["spent"], &budget["reserved"]), (&0.into(), &row.reserved.as_nanos().into()));
}

#[test]
fn background_work_that_its_client_leaves_costs_its_reservation() {
    let (go_on, told) = std::sync::mpsc::sync_channel::<()>(1);
    let told = std::sync::Mutex::new(told);
    let upstream = Recorder::start(move |_| {
        // no answer, until the test is over
        let _ = told.lock().unwrap().recv();
        Vec::new()
    });
    let gateway = start(&url(&upstream), "");
    let body = r#"{"model":"gpt-4o-mini","background":true,"input":"hi","max_output_tokens":500}"#;
    let mut client = Wire::open(gateway.data);
    client.write(&Ask::post("/v1/responses", body).bearer(PROD).bytes());
    until("the upstream's part of it", || (!upstream.seen().is_empty()).then_some(()));
    drop(client);
    let row = gateway.rows(1).remove(0);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("cancelled", "estimated"));
    assert!(row.reserved > NanoUsd::ZERO);
    assert_eq!(row.cost, Some(row.reserved));
    drop(go_on);
}

#[test]
fn a_stream_that_is_answered_at_once_costs_what_the_answer_says() {
    let answer = r#"{"id":"c1","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"long"},
        "finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2500}}"#;
    let upstream = Recorder::start(move |_| json_answer(200, "", answer));
    // a slice fits, a whole answer does not
    let gateway = start(&url(&upstream), ", budgets: [{ limit_usd: 0.002, every: total }]");
    let answer = gateway.send(&stream_chat("gpt-4o-mini"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let row = gateway.row_of(&answer);
    assert_eq!((row.usage_source.as_str(), row.usage.output_tokens), ("reported", 2_500));
    let spent = &gateway.api("budgets")["budgets"][0]["spent"];
    assert_eq!(*spent, row.cost.unwrap().as_nanos());
}

#[test]
fn a_dearer_target_that_may_step_in_is_within_the_reservation() {
    let (broken, mock) = (Recorder::start(|_| json_answer(500, "", "{}")), mock());
    let config = format!(
        "upstreams: {{ a: {{ base_url: \"{}\" }}, b: {{ base_url: \"{}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], budgets: [{{ limit_usd: 9, every: total }}] }} }}
prices: {{ cheap: {{ input: 1, output: 1 }}, dear: {{ input: 90, output: 90, max_output_tokens: 700 }} }}
routes: [{{ models: [it], to: [{{ upstream: a, model: cheap }}, {{ upstream: b, model: dear }}] }}]\n",
        url(&broken),
        mock.base_url()
    );
    let gateway = Gateway::start(&config);
    let row = gateway.row_of(&gateway.send(&chat("it")));
    assert_eq!((row.upstream.as_str(), row.upstream_model.as_str(), row.attempts), ("b", "dear", 2));
    // 700 tokens of output alone, at 90,000 nano-USD
    assert!(row.reserved.as_nanos() > 63_000_000, "{row:?}");
    let cost = i64::try_from(row.usage.total_tokens()).unwrap() * 90_000;
    assert_eq!(row.cost, Some(NanoUsd::new(cost)));
}

#[test]
fn speech_is_billed_by_its_characters() {
    let mock = mock();
    let gateway = start(&mock.base_url(), ", budgets: [{ limit_usd: 0.001, every: total }]");
    let ask = |text: &str| {
        let body = json!({ "model": "tts-1", "voice": "alloy", "input": text }).to_string();
        Ask::post("/v1/audio/speech", body).bearer(PROD)
    };
    let row = gateway.row_of(&gateway.send(&ask("h\u{e9}llo")));
    assert_eq!((row.outcome.as_str(), row.usage.characters), ("completed", 5));
    // 15 USD per million characters
    assert_eq!(row.cost.unwrap().as_nanos(), 75_000);
    let refused = gateway.send(&ask(&"x".repeat(100)));
    assert_eq!(refused.status, 402, "{}", refused.text());
    assert_eq!(mock.served().len(), 1);
}

#[test]
fn audio_is_reserved_by_the_seconds_that_it_may_last() {
    let mock = mock();
    let gateway = start(&mock.base_url(), ", budgets: [{ limit_usd: 0.01, every: total }]");
    let answer = gateway.send(&transcription(1_000));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(gateway.row_of(&answer).reserved.as_nanos() > 0);
    // 100 s at least, at 0.0001 USD each
    let refused = gateway.send(&transcription(100_000));
    assert_eq!(refused.status, 402, "{}", refused.text());
}

#[test]
fn a_transcript_without_usage_is_charged_by_the_seconds_that_it_usually_lasts() {
    let upstream = Recorder::start(|_| {
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nhello\n".to_vec()
    });
    let gateway = start(&url(&upstream), ", budgets: [{ limit_usd: 1, every: total }]");
    let row = gateway.row_of(&gateway.send(&transcription(10_000)));
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("completed", "estimated"));
    // 10 kB and the form around them at 4 kB a second; the reservation knows slower codecs
    assert_eq!(row.usage.seconds, 3);
    assert!(row.cost > Some(NanoUsd::ZERO) && row.cost < Some(row.reserved), "{row:?}");
}

#[test]
fn images_are_reserved_by_their_number() {
    let answer = r#"{"created":1,"data":[{"b64_json":"YQ=="},{"b64_json":"Yg=="}]}"#;
    let upstream = Recorder::start(move |_| json_answer(200, "", answer));
    let gateway = start(&url(&upstream), ", budgets: [{ limit_usd: 0.02, every: total }]");
    let ask = |count: u64| {
        let model = "aws/amazon.titan-image-generator-v1";
        let body = json!({ "model": model, "prompt": "a cat", "n": count }).to_string();
        gateway.send(&Ask::post("/v1/images/generations", body).bearer(PROD))
    };
    // 0.008 USD each
    assert_eq!(ask(3).status, 402);
    let row = gateway.row_of(&ask(2));
    assert_eq!((row.usage.images, row.reserved.as_nanos()), (2, 16_000_000));
    assert_eq!(row.cost, Some(row.reserved));
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_tier_that_the_account_may_choose_is_within_the_reservation() {
    let mock = mock();
    let gateway = with_knobs(&mock.base_url(), "out=2000+tier=priority");
    for tier in ["", r#","service_tier":"auto""#, r#","service_tier":"priority""#] {
        let body = format!(
            r#"{{"model":"gpt-4o","max_tokens":2000,"messages":[{{"role":"user","content":"hi"}}]{tier}}}"#
        );
        let row = gateway.row_of(&gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD)));
        let cost = row.cost.unwrap();
        // 2,000 tokens out at 17 USD per million
        assert!(cost.as_nanos() >= 34_000_000, "{cost:?}");
        assert!(cost <= row.reserved, "{tier}: {cost:?} of {:?}", row.reserved);
    }
}

#[test]
fn the_largest_numbers_are_only_numbers() {
    let mock = mock();
    let prices = "prices: { house-model: { input: 1.00, output: 1.00 } }\n";
    let budget = ", budgets: [{ limit_usd: 1, every: total }]";
    let gateway = Gateway::start(&(config(&mock.base_url(), budget) + prices));
    for (cap, choices) in
        [("18446744073709551615", "1"), ("18446744073709551615", "128"), ("9", "9223372036854775807")]
    {
        let body = format!(
            r#"{{"model":"house-model","max_tokens":{cap},"n":{choices},"messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let refused = gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD));
        assert_eq!(refused.status, 402, "{cap} {choices}: {}", refused.text());
    }
    assert!(mock.served().is_empty());
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn a_cut_json_answer_is_charged_by_its_bytes() {
    let answer = long_answer(2_000);
    let length = answer.len();
    let upstream = Recorder::start(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        [head.as_bytes(), &answer.as_bytes()[..answer.len() - 50]].concat()
    })
    .hanging_up();
    let gateway = start(&url(&upstream), "");
    let cut = gateway.send(&chat("gpt-4o-mini"));
    assert!(!cut.whole);
    let row = gateway.row_of(&cut);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("truncated", "estimated"));
    assert_eq!(row.usage.output_tokens, (length as u64 - 50).div_ceil(4));
}

#[test]
fn wire_25_an_answer_in_an_unknown_encoding_is_charged_by_its_bytes() {
    let answer = long_answer(2_000);
    let length = answer.len() as u64;
    let upstream = Recorder::start(move |_| json_answer(200, "content-encoding: snappy\r\n", &answer));
    let gateway = start(&url(&upstream), "");
    let row = gateway.row_of(&gateway.send(&chat("gpt-4o-mini")));
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("completed", "estimated"));
    assert_eq!(row.usage.output_tokens, length.div_ceil(4));
}

#[test]
fn a_killed_process_s_requests_cost_their_ceiling_also_without_a_budget() {
    let mock = mock();
    let mut gateway = with_knobs(&mock.base_url(), "out=1000+pace=20ms");
    let mut stream = Wire::open(gateway.data);
    stream.write(&stream_chat("gpt-4o").bytes());
    stream.wait_for(b"data: ");
    gateway.signal("KILL");
    gateway.exit();
    let setup = std::mem::replace(&mut gateway.setup, Setup::new(""));
    let gateway = setup.start();
    let row = gateway.rows(1).remove(0);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("interrupted", "estimated"));
    assert!(row.reserved.as_nanos() > 0);
    assert_eq!(row.cost, Some(row.reserved));
}

#[test]
fn an_alias_is_never_lost_in_an_encoded_body() {
    let upstream = Recorder::plain();
    let routes = "routes: [{ models: [smart], to: [{ upstream: up, model: gpt-4o-mini }] }]\n";
    let gateway = Gateway::start(&(config(&url(&upstream), "") + routes));
    let ask = |model: &str| {
        let body = gzip(&format!(r#"{{"model":"{model}","messages":[]}}"#));
        (
            body.clone(),
            Ask::post("/v1/chat/completions", body).bearer(PROD).header("content-encoding", "gzip"),
        )
    };
    let refused = gateway.send(&ask("smart").1);
    assert_eq!(refused.refusal(), (415, "unsupported_encoding".into()));
    let (sent, plain) = ask("gpt-4o-mini");
    assert_eq!(gateway.send(&plain).text(), COMPLETION);
    assert_eq!(upstream.only().body, sent, "what needs no change passes as it came");
}

#[test]
fn an_encoded_body_is_counted_by_what_it_says() {
    let upstream = Recorder::start(|_| json_answer(200, "", &long_answer(1)));
    let gateway = start(&url(&upstream), "");
    let text = "word ".repeat(5_000);
    let body = gzip(
        &json!({ "model": "gpt-4o-mini", "messages": [{ "role": "user", "content": text }] }).to_string(),
    );
    assert!(body.len() < 1_000, "so that the encoded length would tell");
    let ask = Ask::post("/v1/chat/completions", body).bearer(PROD).header("content-encoding", "gzip");
    let row = gateway.row_of(&gateway.send(&ask));
    assert!((5_000..5_100).contains(&row.usage.input_tokens), "{}", row.usage.input_tokens);
    assert!(row.reserved_tokens >= row.usage.input_tokens);
}

#[test]
fn a_token_budget_holds_for_a_model_that_nobody_has_priced() {
    let mock = mock();
    let gateway = start(&mock.base_url(), ", budgets: [{ limit_tokens: 20_000, every: total }]");
    let body = |cap: u64| json!({ "model": "nobodys", "max_tokens": cap, "messages": [] }).to_string();
    let ask = |cap| gateway.send(&Ask::post("/v1/chat/completions", body(cap)).bearer(PROD));
    assert_eq!(ask(50_000).status, 402);
    let answer = ask(100);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(gateway.row_of(&answer).reserved_tokens > 100);
}
