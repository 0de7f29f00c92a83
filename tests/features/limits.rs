//! Rate limits and bounds: what is too much, too fast, too large, too slow.

use std::net::SocketAddr;

use crate::support::{
    Answer, Ask, CI, COMPLETION, Gateway, OTHER, PROD, Recorder, Wire, chat, json_answer, mock, stream_chat,
    until,
};

fn start(upstream: SocketAddr, server: &str, limits: &str) -> Gateway {
    Gateway::start(&format!(
        "server: {{ {server} }}
upstreams: {{ mock: {{ base_url: \"http://{upstream}/v1\" }} }}
teams:
  search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}, {{ name: ci, key: \"${{KEY_CI}}\" }}], limits: {{ {limits} }} }}\n"
    ))
}

fn assert_limited(answer: &Answer, kind: &str) {
    assert_eq!(answer.refusal(), (429, "rate_limit_exceeded".into()));
    let wait: u64 = answer.header("retry-after").unwrap().parse().expect("a whole number of seconds");
    assert!((1..=59).contains(&wait), "{wait}");
    let error = answer.json()["error"].clone();
    assert_eq!(error["type"], "rate_limit_error");
    assert!(error["message"].as_str().unwrap().contains(kind), "{error}");
}

#[test]
fn requests_per_minute_hold_over_all_keys_of_a_team() {
    let mock = mock();
    let gateway = start(mock.addr, "", "requests_per_minute: 3");
    let other = || {
        Ask::post("/v1/chat/completions", r#"{"model":"gpt-4o","messages":[]}"#).bearer(crate::support::CI)
    };
    let statuses = [chat("gpt-4o"), other(), chat("gpt-4o")].map(|ask| gateway.send(&ask).status);
    assert_eq!(statuses, [200; 3]);
    let refused = gateway.send(&chat("gpt-4o"));
    assert_limited(&refused, "3 requests per minute");
    assert_limited(&gateway.send(&other()), "team search");
    let row = gateway.row_of(&refused);
    assert_eq!((row.outcome.as_str(), row.error.as_str()), ("refused", "rate_limit_exceeded"));
    assert_eq!(mock.served().len(), 3);
    let anthropic = gateway.send(
        &Ask::post("/v1/messages", r#"{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[]}"#)
            .bearer(PROD),
    );
    assert_eq!((anthropic.status, &anthropic.json()["error"]["type"]), (429, &"rate_limit_error".into()));
}

#[test]
fn a_refusal_says_where_the_limits_stand() {
    let mock = mock();
    let gateway = start(mock.addr, "", "requests_per_minute: 1");
    assert_eq!(gateway.send(&chat("gpt-4o")).status, 200);
    let refused = gateway.send(&chat("gpt-4o"));
    assert_limited(&refused, "1 requests per minute");
    // DESIGN.md, decision 12: as the upstream's own format has it
    assert_eq!(refused.header("x-ratelimit-limit-requests"), Some("1"));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    assert!(refused.header("x-ratelimit-reset-requests").is_some());
}

#[test]
fn tokens_per_minute_count_what_was_really_used() {
    let mock = mock();
    let gateway = start(mock.addr, "", "tokens_per_minute: 5000");
    // takes about 1,000 by expectation and 108 in truth, so that many fit one after the other
    for _ in 0..10 {
        let answer = gateway.send(&chat("gpt-4o@in=8+out=100"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        gateway.row_of(&answer);
    }
    assert_eq!(gateway.send(&chat("gpt-4o@in=4000+out=100")).status, 200);
    assert_limited(&gateway.send(&chat("gpt-4o@in=8+out=100")), "tokens per minute");
}

/// FAULTS B15: streams whose length nobody capped are held back until the rate allows more of them. Its
/// arithmetic is tested with fifty streams on a clock of their own; here it is seen to reach the bytes.
#[test]
fn a_stream_waits_for_the_tokens_that_its_limit_does_not_have_yet() {
    let mock = mock();
    // 20,000 a second; the mock's words are tokens of about 5 bytes
    let gateway = start(mock.addr, "", "tokens_per_minute: 1_200_000");
    let first = gateway.send(&stream_chat("gpt-4o@out=20"));
    assert!(first.whole && first.status == 200);
    let small = start(mock.addr, "", "tokens_per_minute: 6_000");
    let mut wire = Wire::open(small.data);
    wire.write(&stream_chat("gpt-4o@out=8000+burst").bytes());
    let head = wire.head();
    assert_eq!(head.status, 200);
    // what the minute had is here; what it has not, is not: another request finds nothing left
    until("nothing left", || (small.send(&chat("gpt-4o")).status == 429).then_some(()));
    let still_going = small.metric("http_server_active_requests{");
    assert!(still_going > 0.0, "the stream waits for its turn: {still_going}");
    wire.reset();
    until("rest", || (small.metric("http_server_active_requests{") == 0.0).then_some(()));
    let row = small.rows(1).into_iter().find(|row| row.outcome.as_str() == "cancelled").unwrap();
    assert!(row.usage.output_tokens < 8_000, "{row:?}");
}

#[test]
fn a_need_above_the_limit_is_told_that_waiting_does_not_help() {
    let mock = mock();
    let gateway = start(mock.addr, "", "tokens_per_minute: 100");
    let body = r#"{"model":"gpt-4o","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}"#;
    let refused = gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD));
    assert_eq!(refused.refusal(), (429, "rate_limit_exceeded".into()));
    assert!(refused.text().contains("waiting does not help"), "{}", refused.text());
    assert_eq!((refused.header("x-should-retry"), refused.header("retry-after")), (Some("false"), None));
}

#[test]
fn where_a_caller_stands_is_told_on_every_answer() {
    let upstream = Recorder::plain();
    let gateway = start(upstream.addr, "", "requests_per_minute: 60, tokens_per_minute: 5000");
    let tells = |answer: &Answer, what: &str| {
        let text = answer.header(&format!("x-ratelimit-{what}"));
        text.unwrap_or_else(|| panic!("no {what}: {answer:?}")).to_owned()
    };
    let whole = gateway.send(&chat("gpt-4o"));
    assert_eq!(
        (tells(&whole, "limit-requests"), tells(&whole, "remaining-requests")),
        ("60".into(), "59".into())
    );
    // after its settlement: 10 of 5,000 were used, not what was reserved
    let left: u64 = tells(&whole, "remaining-tokens").parse().unwrap();
    assert!((4_990..=5_000).contains(&left), "{left}");
    assert!(tells(&whole, "reset-tokens").ends_with('s') && tells(&whole, "reset-requests").ends_with('s'));
    let refused = gateway.send(&Ask::post("/v1/chat/completions", "{").bearer(PROD));
    assert_eq!((refused.status, tells(&refused, "limit-tokens")), (400, "5000".into()));
    let stranger = gateway.send(&chat("gpt-4o").header("authorization", "Bearer nobody"));
    assert_eq!(stranger.header("x-ratelimit-limit-requests"), None);
}

#[test]
fn an_upstream_that_tells_its_own_rates_is_left_the_word() {
    let upstream = Recorder::start(|_| {
        json_answer(
            200,
            "x-ratelimit-remaining-requests: 9999\r\nx-ratelimit-reset-tokens: 6m0s\r\n",
            COMPLETION,
        )
    });
    let gateway = start(upstream.addr, "", "requests_per_minute: 60, tokens_per_minute: 50_000");
    let answer = gateway.send(&chat("gpt-4o"));
    let rates: Vec<_> = answer.headers.iter().filter(|(name, _)| name.starts_with("x-ratelimit-")).collect();
    assert_eq!(rates.len(), 2, "{rates:?}");
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("9999"));
}

#[test]
fn a_limit_on_models_holds_for_those_who_share_it() {
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ mock: {{ base_url: \"http://{}/v1\" }} }}
limits:
  - {{ models: [\"gpt-4*\"], requests_per_minute: 3 }}
  - {{ models: [o3], per: team, requests_per_minute: 2 }}
  - {{ per: key, requests_per_minute: 5 }}
teams:
  search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}, {{ name: ci, key: \"${{KEY_CI}}\" }}] }}
  other: {{ keys: [{{ name: prod, key: \"${{KEY_OTHER}}\" }}] }}\n",
        mock.addr
    ));
    let ask = |key: &str, model: &str| {
        let body = format!(r#"{{"model":"{model}","messages":[]}}"#);
        gateway.send(&Ask::post("/v1/chat/completions", body).bearer(key))
    };
    let statuses =
        [(PROD, "gpt-4o"), (CI, "gpt-4.1"), (OTHER, "GPT-4o")].map(|(key, model)| ask(key, model).status);
    assert_eq!(statuses, [200; 3]);
    let refused = ask(OTHER, "gpt-4o-mini");
    assert_limited(&refused, "model gpt-4*");
    assert_eq!([ask(PROD, "o3").status, ask(CI, "o3").status, ask(OTHER, "o3").status], [200; 3]);
    assert_limited(&ask(PROD, "o3"), "model o3 for team search");
    assert_eq!([ask(PROD, "x").status, ask(PROD, "x").status, ask(PROD, "x").status], [200; 3]);
    assert_limited(&ask(PROD, "x"), "model * for key search/prod");
    assert_eq!(ask(CI, "x").status, 200);
    let counted = r#"tollgate_rate_limiting_rejections_total{tollgate_rate_limiting_limit_type="requests_per_minute",tollgate_rate_limiting_scope="model"}"#;
    assert_eq!(gateway.metric(counted), 3.0);
}

#[test]
fn a_full_upstream_passes_its_requests_on_and_only_when_all_are_full_the_client_hears_of_it() {
    let (first, second) = (mock(), mock());
    let gateway = Gateway::start(&format!(
        "upstreams:
  first: {{ base_url: \"http://{}/v1\", limits: {{ requests_per_minute: 2 }} }}
  second: {{ base_url: \"http://{}/v1\", limits: {{ concurrent: 1, requests_per_minute: 3 }} }}
routes: [{{ models: [\"*\"], to: [{{ upstream: first }}, {{ upstream: second }}] }}]
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], limits: {{ requests_per_minute: 100 }} }} }}\n",
        first.addr, second.addr
    ));
    let by = |answer: &Answer| answer.header("x-tollgate-upstream").unwrap_or_default().to_owned();
    let answers = [(); 4].map(|()| gateway.send(&chat("gpt-4o")));
    assert_eq!(answers.each_ref().map(by), ["first", "first", "second", "second"]);
    assert!(answers.iter().all(|answer| answer.status == 200));
    // one place at the second: it is taken while a stream goes on
    let mut wire = Wire::open(gateway.data);
    wire.write(&stream_chat("mock-out=1000+pace=20ms").bytes());
    wire.wait_for(b"data: ");
    let refused = gateway.send(&chat("gpt-4o"));
    assert_limited(&refused, "upstream ");
    let row = gateway.row_of(&refused);
    assert_eq!((row.attempts, row.cost.map(|cost| cost.as_nanos())), (0, Some(0)));
    assert_eq!(first.served().len() + second.served().len(), 5);
    // whom no upstream took is not counted against the caller
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("95"));
    wire.reset();
}

#[test]
fn a_failing_upstreams_answer_is_not_hidden_by_a_full_one() {
    let (failing, full) = (mock(), mock());
    let gateway = Gateway::start(&format!(
        "upstreams:
  failing: {{ base_url: \"http://{}/v1\" }}
  full: {{ base_url: \"http://{}/v1\", limits: {{ requests_per_minute: 1 }} }}
routes: [{{ models: [\"*\"], to: [{{ upstream: failing }}, {{ upstream: full }}] }}]
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        failing.addr, full.addr
    ));
    let statuses = [(); 2].map(|()| gateway.send(&chat("gpt-4o@status=503")).status);
    assert_eq!((statuses, full.served().len()), ([503, 503], 1));
}

#[test]
fn a_place_is_free_again_when_its_client_hung_up() {
    let mock = mock();
    let gateway = start(mock.addr, "", "concurrent: 2");
    let mut streams: Vec<Wire> = (0..2)
        .map(|_| {
            let mut wire = Wire::open(gateway.data);
            wire.write(&stream_chat("mock-out=1000+pace=20ms").bytes());
            wire.wait_for(b"data: ");
            wire
        })
        .collect();
    let refused = gateway.send(&chat("gpt-4o"));
    assert_limited(&refused, "2 requests at once");
    streams.pop().unwrap().reset();
    until("a free place", || (gateway.send(&chat("gpt-4o")).status == 200).then_some(()));
    drop(streams);
    // both are free: two more fit at once
    until("two free places", || {
        let mut one = Wire::open(gateway.data);
        one.write(&stream_chat("mock-out=1000+pace=20ms").bytes());
        let first = one.head().status;
        let second = gateway.send(&chat("gpt-4o")).status;
        one.reset();
        ((first, second) == (200, 200)).then_some(())
    });
    until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
    let cancelled = gateway.rows(3).into_iter().filter(|row| row.outcome.as_str() == "cancelled").count();
    assert!(cancelled >= 2, "{cancelled}");
}

/// FAULTS B16, through the gateway: its arithmetic is tested with ten thousand ends in process.
#[test]
fn places_are_free_again_after_every_kind_of_end() {
    const PLACES: usize = 8;
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "upstreams:
  mock: {{ base_url: \"http://{}/v1\", idle_timeout: 1s, limits: {{ concurrent: {PLACES} }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}], limits: {{ concurrent: {PLACES}, tokens_per_minute: 9_000_000 }} }} }}
limits: [{{ per: key, concurrent: {PLACES} }}]\n",
        mock.addr
    ));
    for n in 0..64 {
        let ask = match n % 8 {
            0 => chat("gpt-4o"),
            1 => stream_chat("gpt-4o@out=20"),
            2 => chat("gpt-4o@status=500"),
            3 => stream_chat("gpt-4o@out=50+cut=200"),
            4 => stream_chat("gpt-4o@out=50+rst=200"),
            5 => stream_chat("gpt-4o@out=50+stall=5:10s"),
            6 => Ask::post("/v1/chat/completions", "{").bearer(PROD),
            _ => stream_chat("gpt-4o@out=1000+pace=20ms"),
        };
        let mut wire = Wire::open(gateway.data);
        wire.write(&ask.bytes());
        match n % 8 {
            7 if n % 16 == 7 => wire.reset(),
            7 => {
                // or 429, while those that went before are being let go
                drop(wire.head());
                wire.reset();
            }
            _ => drop(wire.answer()),
        }
    }
    until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
    let streams: Vec<Wire> = (0..PLACES)
        .map(|_| {
            let mut wire = Wire::open(gateway.data);
            wire.write(&stream_chat("mock-out=1000+pace=20ms").bytes());
            assert_eq!(wire.head().status, 200, "as many as there are places");
            wire
        })
        .collect();
    assert_limited(&gateway.send(&chat("gpt-4o")), "requests at once");
    drop(streams);
}

/// FAULTS B17: a key that nobody has leaves a record of the request and nothing else.
#[test]
fn thousands_of_unknown_keys_leave_no_memory_behind() {
    let mock = mock();
    let gateway = start(mock.addr, "", "requests_per_minute: 5");
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let strangers = |from: usize, to: usize| {
        let mut wire = Wire::open(gateway.data);
        for n in from..to {
            let ask = Ask::post("/v1/chat/completions", "{}")
                .bearer(&format!("key-nobody-{n:08}-{}", "x".repeat(200)));
            wire.write(&ask.bytes());
            assert_eq!(wire.answer().status, 401);
        }
    };
    strangers(0, 500);
    let before = memory();
    strangers(500, 4_500);
    let grown = memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB for 4,000 keys");
    assert_eq!(gateway.send(&chat("gpt-4o")).status, 200, "and no place in any limit");
}

#[test]
fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let mock = mock();
    let gateway = start(mock.addr, "max_body: 1KiB", "");
    let body = format!(r#"{{"model":"gpt-4o","messages":[],"x":"{}"}}"#, "y".repeat(4_000));
    let ask = Ask::post("/v1/chat/completions", body.clone()).bearer(PROD);
    let answer = gateway.send(&ask);
    assert_eq!(answer.refusal(), (413, "request_too_large".into()));
    assert!(answer.text().contains("1024 bytes"), "{}", answer.text());
    let mut wire = Wire::open(gateway.data);
    wire.write(
        format!(
            "POST /v1/messages HTTP/1.1\r\nhost: g\r\nx-api-key: {PROD}\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        .as_bytes(),
    );
    wire.write_while_open(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes());
    let answer = wire.answer();
    assert_eq!((answer.status, &answer.json()["error"]["type"]), (413, &"request_too_large".into()));
    assert!(mock.served().is_empty());
    // exactly the limit passes
    let mut fits = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"a"}]}"#.to_owned();
    fits += &" ".repeat(1024 - fits.len());
    assert_eq!(gateway.send(&Ask::post("/v1/chat/completions", fits).bearer(PROD)).status, 200);
}

#[test]
fn a_client_still_sending_a_large_body_reads_the_refusal() {
    let mock = mock();
    let gateway = start(mock.addr, "max_body: 64KiB", "");
    let body = vec![b' '; 900 << 10];
    for ask in [
        Ask::post("/v1/chat/completions", body.clone()).bearer(PROD),
        Ask::post("/v1/chat/completions", body).bearer("nobody"),
    ] {
        let mut wire = Wire::open(gateway.data);
        wire.write_while_open(&ask.bytes());
        let answer = wire.answer();
        assert!([413, 401].contains(&answer.status), "{answer:?}");
    }
}

#[test]
fn a_body_that_is_no_json_is_refused() {
    let mock = mock();
    let gateway = start(mock.addr, "", "");
    for body in ["", "{", "[1,2]", "{\"model\":\"gpt-4o\",}", "\u{0}", "nonsense", "{\"model\":1}"] {
        let answer = gateway.send(&Ask::post("/v1/chat/completions", body).bearer(PROD));
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
    }
    let deep = "[".repeat(100_000);
    let answer = gateway.send(&Ask::post("/v1/chat/completions", deep).bearer(PROD));
    assert_eq!(answer.refusal(), (400, "invalid_body".into()));
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let mock = mock();
    let gateway = start(mock.addr, "body_timeout: 200ms", "");
    let ask = String::from_utf8(chat("gpt-4o").bytes()).unwrap();
    let mut wire = Wire::open(gateway.data);
    wire.write(&ask.as_bytes()[..ask.len() - 5]);
    let answer = wire.answer();
    assert_eq!(answer.refusal(), (408, "body_timeout".into()));
    assert_eq!(gateway.row_of(&answer).outcome.as_str(), "refused");
}

#[test]
fn more_requests_at_once_than_the_gateway_may_hold_are_sent_away() {
    let mock = mock();
    let gateway = start(mock.addr, "max_requests: 1", "");
    let mut wire = Wire::open(gateway.data);
    wire.write(&stream_chat("mock-out=1000+pace=20ms").bytes());
    wire.wait_for(b"data: ");
    let refused = gateway.send(&chat("gpt-4o"));
    assert_eq!(refused.refusal(), (503, "overloaded".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    wire.reset();
    until("a free place", || (gateway.send(&chat("gpt-4o")).status == 200).then_some(()));
}
