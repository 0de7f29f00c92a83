//! Usage that the upstream does not tell: asked for, counted here, or left alone.

use serde_json::json;
use tollgate::tokens::Tokenizer;

use crate::support::{Ask, Gateway, PROD, Recorder, chat, mock, run, stream_chat};

fn start(base_url: &str, more: &str) -> Gateway {
    Gateway::start(&format!(
        "upstreams: {{ mock: {{ base_url: \"{base_url}\"{more} }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n"
    ))
}

#[test]
fn wire_13_what_the_upstream_does_not_report_is_counted_here_and_says_so() {
    let mock = mock();
    let gateway = start(&mock.base_url(), "");
    for ask in [chat("gpt-4o@out=40+no-usage"), stream_chat("gpt-4o@out=40+no-usage")] {
        let answer = gateway.send(&ask);
        assert_eq!(answer.status, 200);
        let row = gateway.row_of(&answer);
        assert_eq!((row.usage_source.as_str(), row.outcome.as_str()), ("estimated", "completed"));
        // the mock's words are one token each
        assert!((38..=42).contains(&row.usage.output_tokens), "{}", row.usage.output_tokens);
        assert!((4..=20).contains(&row.usage.input_tokens), "{}", row.usage.input_tokens);
        assert!(row.cost.unwrap().as_nanos() > 0);
        assert_eq!((row.estimate.as_str(), row.estimate_error_percent), ("chat", 5));
    }
    let told = run(gateway.setup.command(&["usage", "--by", "team", "--json"]), "");
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["total"]["requests"], &told["total"]["estimated_requests"]), (&2.into(), &2.into()));
}

/// A long stream without usage: two choices that interleave, one of which reasons, and one that calls a tool. With
/// its four texts.
fn long_stream() -> (Vec<u8>, Vec<String>) {
    let mut texts = vec![String::new(); 4];
    let mut events = String::new();
    for place in 0..16_000_usize {
        let words = [" measure twice", ", cut", " once.\n", "\u{e9}t\u{e9}", "9", " isn't it", "{\"a\":"];
        let word = words[place * place % 7];
        let choice = match place % 4 {
            0 => json!({"index": 0, "delta": {"content": word}}),
            1 => json!({"index": 1, "delta": {"reasoning_content": word}}),
            2 => json!({"index": 1, "delta": {"content": word}}),
            _ => {
                json!({"index": 2, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": word}}]}})
            }
        };
        texts[place % 4].push_str(word);
        events += &format!("data: {}\n\n", json!({"model": "gpt-4o", "choices": [choice]}));
    }
    events += "data: [DONE]\n\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    (format!("{head}content-length: {}\r\n\r\n{events}", events.len()).into_bytes(), texts)
}

#[test]
fn wire_13_a_stream_without_usage_is_counted_exactly_however_long_and_interleaved() {
    let (answer, texts) = long_stream();
    let count = |text: &str| Tokenizer.count("gpt-4o", text).tokens;
    let output: u64 = texts.iter().map(|text| count(text)).sum();
    let recorder = Recorder::start(move |_| answer.clone());
    let base_url = format!("http://{}/v1", recorder.addr);
    let budget = "budgets: [{ limit_usd: 1000, every: total, when_spent: cut }]";
    for more in ["", budget] {
        let gateway = Gateway::start(&format!(
            "upstreams: {{ mock: {{ base_url: \"{base_url}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], {more} }} }}\n"
        ));
        let body =
            r#"{"model":"gpt-4o","n":3,"stream":true,"messages":[{"role":"user","content":"hello there"}]}"#;
        let answer = gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD));
        assert!(answer.whole && answer.status == 200);
        let row = gateway.row_of(&answer);
        // a message's frame, its role, its text, and what opens the answer: once for all choices
        let input = 3 + count("user") + count("hello there") + 3;
        assert_eq!((row.usage.input_tokens, row.usage.output_tokens), (input, output), "{more}");
        assert_eq!((row.usage_source.as_str(), row.estimate.as_str()), ("estimated", "chat"), "{more}");
    }
}

#[test]
fn a_cut_stream_is_charged_for_what_came() {
    let mock = mock();
    let gateway = start(&mock.base_url(), "");
    let answer = gateway.send(&stream_chat("gpt-4o@out=100+cut=5000"));
    assert!(!answer.whole, "an abnormal end never looks normal");
    assert!(!answer.text().contains("[DONE]"));
    let row = gateway.row_of(&answer);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("truncated", "estimated"));
    assert_eq!(row.error, "upstream_stream_interrupted");
    assert!((1..100).contains(&row.usage.output_tokens), "{}", row.usage.output_tokens);
}

#[test]
fn as_is_leaves_the_request_as_it_came() {
    let recorder = Recorder::plain();
    for (more, expected_asked) in [(", stream_usage: as_is", false), (", stream_usage: ask", true)] {
        let gateway = start(&format!("http://{}/v1", recorder.addr), more);
        let body = "{\"model\":\"gpt-4o\" ,\"stream\":true,\"messages\":[]}";
        assert_eq!(gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD)).status, 200);
        let seen = recorder.seen().pop().unwrap().text();
        assert_eq!(seen.contains("include_usage"), expected_asked);
        if !expected_asked {
            assert_eq!(seen, body);
        }
    }
    let mock = mock();
    let gateway = start(&mock.base_url(), ", stream_usage: as_is");
    let answer = gateway.send(&stream_chat("gpt-4o@out=40"));
    assert_eq!(gateway.row_of(&answer).usage_source.as_str(), "estimated");
}

#[test]
fn an_upstream_that_refuses_the_question_is_asked_plainly_and_remembered() {
    let mock = mock();
    let gateway = start(&mock.base_url(), "");
    let ask = stream_chat("gpt-4o@out=40+no-stream-options");
    let answer = gateway.send(&ask);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let statuses = || mock.served().iter().map(|served| served.status).collect::<Vec<_>>();
    assert_eq!(statuses(), [400, 200]);
    assert_eq!(gateway.row_of(&answer).usage_source.as_str(), "estimated");
    assert_eq!(gateway.send(&ask).status, 200);
    assert_eq!(statuses(), [400, 200, 200], "remembered");
    assert_eq!(gateway.send(&stream_chat("gpt-4o@out=40")).status, 200);
    let last = gateway.rows(3).pop().unwrap();
    assert_eq!(last.usage_source.as_str(), "reported", "other models are still asked");
}

#[test]
fn a_client_s_own_fault_is_told_as_the_upstream_tells_it() {
    let mock = mock();
    let gateway = start(&mock.base_url(), "");
    // 400 with and without our question: the client gets the 400 of its own request
    let answer = gateway.send(&stream_chat("gpt-4o@status=400"));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("as the model name asked"));
    assert_eq!(gateway.row_of(&answer).outcome.as_str(), "upstream_error");
}

#[test]
fn wire_39_a_megabyte_of_spaces_is_counted_without_a_panic() {
    let mock = mock();
    let gateway = start(&mock.base_url(), "");
    let body = format!(
        r#"{{"model":"gpt-4o@out=20+no-usage","messages":[{{"role":"user","content":"{}"}}]}}"#,
        " ".repeat(1 << 20)
    );
    let answer = gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD));
    assert_eq!(answer.status, 200);
    let row = gateway.row_of(&answer);
    assert_eq!(row.usage_source.as_str(), "estimated");
    assert!(row.usage.input_tokens > 1_000, "{}", row.usage.input_tokens);
    assert!(row.usage.input_tokens <= 1 << 20, "{}", row.usage.input_tokens);
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
    assert_eq!(gateway.send(&chat("gpt-4o")).status, 200);
}
