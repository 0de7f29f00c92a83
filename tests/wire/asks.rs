//! Requests as clients really write them, and what upstreams say to them in headers.

use crate::script::{Script, gateway};
use crate::support::{Ask, COMPLETION, Gateway, PROD, Recorder, Wire, chat, json_answer};

const CHAT: &str = "/v1/chat/completions";

#[test]
fn wire_28_a_body_passes_whatever_its_spelling_order_and_size() {
    let upstream = Recorder::plain();
    let gateway = gateway(upstream.addr, "", ", stream_usage: as_is");
    let large = format!(
        "{{\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}],\n \"model\" : \"gpt-4o-mini\"}}",
        "a\\n\u{e9}".repeat(2_000_000)
    );
    for body in [
        r#"{"model":"gpt-4o-mini","user":"a","user":"b","x":1,"x":2,"messages":[]}"#,
        r#"{"messages":[],"model":"gpt-4o-mini","stream":true}"#,
        r#"{"\u0073tream":true,"m\u006fdel":"gpt-4o-mini","messages":[]}"#,
        "{\n\t\"model\": \"gpt-4o-mini\",\r\n    \"messages\": [ ],\n    \"temperature\": 1.0E+0\n}\n",
        "\u{feff}{\"model\":\"gpt-4o-mini\",\"messages\":[],\"seed\":123456789012345678901234567890}",
        &large,
    ] {
        for chunked in [false, true] {
            let mut client = Wire::open(gateway.data);
            if chunked {
                client.write(head(CHAT, "transfer-encoding: chunked").as_bytes());
                for piece in body.as_bytes().chunks(60_000) {
                    client.write(&crate::script::chunk(piece));
                }
                client.write(b"0\r\n\r\n");
            } else {
                client.write(&Ask::post(CHAT, body).bearer(PROD).bytes());
            }
            assert_eq!(client.answer().text(), COMPLETION);
            let seen = upstream.seen().pop().unwrap();
            assert!(seen.body == body.as_bytes(), "{:.200}", seen.text());
            assert_eq!(seen.header("content-length"), Some(body.len().to_string().as_str()));
        }
    }
}

/// The head of a request whose body follows.
fn head(path: &str, framing: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\
         content-type: application/json\r\n{framing}\r\n\r\n"
    )
}

#[test]
fn wire_28_a_member_that_two_parsers_may_read_in_two_ways_is_refused() {
    let upstream = Recorder::plain();
    let gateway = gateway(upstream.addr, "", "");
    let body = r#"{"model":"gpt-4o-mini","model":"gpt-4o","messages":[]}"#;
    let answer = gateway.send(&Ask::post(CHAT, body).bearer(PROD));
    assert_eq!(answer.status, 400);
    assert!(upstream.seen().is_empty(), "who is billed for one model does not get the other");
}

#[test]
fn wire_29_any_model_is_asked_for_and_an_unknown_one_has_no_price() {
    // an answer that does not name one either
    let answer = COMPLETION.replace("gpt-4o-mini", "");
    let upstream = Recorder::start(move |_| json_answer(200, "", &answer));
    let gateway = gateway(upstream.addr, "", "");
    let long = format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(10_000));
    for body in [
        r#"{"messages":[]}"#,
        r#"{"model":"","messages":[]}"#,
        r#"{"model":null,"messages":[]}"#,
        r#"{"model":"模型-é-😀","messages":[]}"#,
        r#"{"model":"nobody/knows:this@one","messages":[]}"#,
        &long,
    ] {
        let answer = gateway.send(&Ask::post(CHAT, body).bearer(PROD));
        assert_eq!(answer.status, 200, "{:.100}: {}", body, answer.text());
        assert!(upstream.seen().pop().unwrap().body == body.as_bytes(), "{body:.100}");
        let row = gateway.row_of(&answer);
        assert_eq!((row.cost, row.usage.input_tokens), (None, 9), "{row:?}");
    }
}

#[test]
fn wire_33_a_spent_budget_is_a_402_that_says_not_to_try_again() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"http://{}/v1\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], budgets: [{{ limit_usd: 0.000001, every: month }}] }} }}\n",
        upstream.addr
    ));
    for ask in [chat("gpt-4o-mini"), crate::support::stream_chat("gpt-4o-mini")] {
        let answer = gateway.send(&ask.header("x-stainless-retry-count", "0"));
        assert_eq!(answer.refusal(), (402, "insufficient_quota".into()));
        assert_eq!(answer.json()["error"]["type"], "insufficient_quota");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(answer.header("x-request-id"), answer.header("x-tollgate-request-id"));
        assert_eq!((answer.header("retry-after"), answer.header("retry-after-ms")), (None, None));
    }
    assert!(upstream.seen().is_empty());
}

#[test]
fn wire_34_an_upstreams_429_passes_with_all_its_headers() {
    const HEADERS: [(&str, &str); 9] = [
        ("x-request-id", "req_upstream"),
        ("retry-after-ms", "1500.5"),
        ("retry-after", "3600"),
        ("x-should-retry", "true"),
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-tokens", "0"),
        ("x-ratelimit-reset-tokens", "6m0s"),
        ("openai-processing-ms", "12"),
        ("x-ratelimit-reset-tokens", "1s"),
    ];
    let lines: String = HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let body = r#"{"error":{"message":"slow down","type":"tokens","code":"rate_limit_exceeded"}}"#;
    let upstream = Recorder::start(move |_| json_answer(429, &lines, body));
    let gateway = gateway(upstream.addr, "", "");
    let answer = gateway.send(&chat("gpt-4o-mini"));
    assert_eq!((answer.status, answer.text().as_str()), (429, body));
    let told: Vec<_> = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // values of one name stand together, in their order (docs/WIRE.md)
    for (name, _) in HEADERS {
        let values = |headers: &[(&str, &str)]| {
            headers
                .iter()
                .filter(|(known, _)| *known == name)
                .map(|(_, value)| value.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(values(&told), values(&HEADERS), "{name}");
    }
    let row = gateway.row_of(&answer);
    assert_eq!((row.outcome.as_str(), row.cost.unwrap().as_nanos()), ("upstream_error", 0));
}

#[test]
fn wire_35_a_clients_retry_is_a_request_of_its_own_and_costs_where_usage_came() {
    let upstream = Recorder::start(|seen| match seen.header("x-stainless-retry-count") {
        Some("0") => json_answer(500, "", r#"{"error":{"message":"oops"}}"#),
        _ => json_answer(200, "", COMPLETION),
    });
    let gateway = gateway(upstream.addr, "", "");
    let costs = ["0", "1"].map(|count| {
        let answer = gateway.send(&chat("gpt-4o-mini").header("x-stainless-retry-count", count));
        let row = gateway.row_of(&answer);
        (answer.status, row.attempts, row.cost.unwrap().as_nanos())
    });
    assert_eq!(costs, [(500, 1, 0), (200, 1, 9 * 150 + 600)]);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn wire_40_paths_are_forwarded_as_they_are_spelt_and_classified_as_they_are_meant() {
    let upstream = Recorder::plain();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"http://{}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        upstream.addr
    ));
    for (path, operation) in [
        ("/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21", "chat_completions"),
        ("/openai/v1/chat/completions", "chat_completions"),
        ("/openai/v1/responses?api-version=preview", "responses"),
        ("/v1/responses?beta=true", "responses"),
        ("/v1/messages?beta=true", "messages"),
        ("/v1/messages/count_tokens?beta=true", "count_tokens"),
        ("/v1/chat/completions/", "chat_completions"),
        ("/v1//chat//completions", "chat_completions"),
        ("//v1/chat/completions?a=b&a=%20&&c", "chat_completions"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/images/generations", "images"),
        ("/v1/audio/speech", "speech"),
        ("/v1/moderations", "moderations"),
        ("/v1/fine_tuning/jobs", "unmetered"),
        ("/v1/some%2Fthing/else?x=%2F", "unmetered"),
        ("/api/anything", "unmetered"),
    ] {
        let body = r#"{"model":"gpt-4o-mini","input":"x","prompt":"x","messages":[],"max_tokens":5}"#;
        let answer = gateway.send(&Ask::post(path, body).bearer(PROD));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(upstream.seen().pop().unwrap().target(), format!("POST {path}"));
        assert_eq!(gateway.row_of(&answer).operation, operation, "{path}");
    }
    for path in ["/v1/models/org%2Fmodel", "/v1/models/org%2fmodel/", "/v1/models//gpt-4o"] {
        let answer = gateway.send(&Ask::get(path).bearer(PROD));
        assert_eq!(upstream.seen().pop().unwrap().target(), format!("GET {path}"));
        assert_eq!(gateway.row_of(&answer).operation, "models", "{path}");
    }
}

#[test]
fn wire_40_sound_and_pictures_pass_both_ways_as_they_are() {
    let sound: Vec<u8> = (0..70_000_u32).map(|place| (place % 251) as u8).collect();
    let answer = sound.clone();
    let upstream = Recorder::start(move |seen| {
        if seen.line.contains("speech") {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunks = answer.chunks(9_000).flat_map(crate::script::chunk);
            head.bytes().chain(chunks).chain(*b"0\r\n\r\n").collect()
        } else {
            json_answer(200, "", r#"{"text":"hi","usage":{"type":"duration","seconds":3}}"#)
        }
    });
    let gateway = gateway(upstream.addr, "", "");
    let speech = Ask::post("/v1/audio/speech", r#"{"model":"tts-1","input":"hello","voice":"alloy"}"#);
    let answer = gateway.send(&speech.bearer(PROD));
    assert!(answer.whole && answer.body == sound);
    assert_eq!(gateway.row_of(&answer).usage.characters, 5);

    let mut form =
        b"--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n".to_vec();
    form.extend_from_slice(&sound);
    form.extend_from_slice(
        b"\r\n--XX\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--XX--\r\n",
    );
    let ask = Ask::form("/v1/audio/transcriptions", "multipart/form-data; boundary=XX", form.clone());
    let answer = gateway.send(&ask.bearer(PROD));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(upstream.seen().pop().unwrap().body == form);
    let row = gateway.row_of(&answer);
    assert_eq!((row.model.as_str(), row.usage.seconds), ("whisper-1", 3));
}

#[test]
fn wire_26_a_body_without_a_length_stays_without_one_and_keeps_its_trailers() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let mut client = Wire::open(gateway.data);
    client.write(head("/v1/files", "transfer-encoding: chunked\r\ntrailer: x-sum").as_bytes());
    client.write(b"5\r\nfirst\r\n");
    let mut line = script.accept();
    let begun = line.wait_for(b"5\r\nfirst\r\n");
    client.write(b"6\r\nsecond\r\n0\r\nx-sum: 7\r\n\r\n");
    line.wait_for(b"6\r\nsecond\r\n0\r\nx-sum: 7\r\n\r\n");
    let text = String::from_utf8(begun).unwrap().to_ascii_lowercase();
    assert!(text.contains("transfer-encoding: chunked\r\n") && !text.contains("content-length"), "{text}");
    line.send(json_answer(200, "", "{}"));
    assert_eq!(client.answer().text(), "{}");
}
