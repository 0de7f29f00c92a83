//! S15 and S14: pooled connections that ended under us, and answers that nobody asked for on them.

use crate::script::{Line, Script, gateway};
use crate::support::{Ask, COMPLETION, Gateway, PROD, Recorder, Wire, chat, json_answer};

/// A client and an upstream connection that has answered it once.
fn acquainted(gateway: &Gateway, script: &Script) -> (Wire, Line) {
    let mut client = Wire::open(gateway.data);
    client.write(&chat("gpt-4o-mini").bytes());
    let (mut line, _) = script.asked();
    line.send(json_answer(200, "", COMPLETION));
    assert_eq!(client.answer().text(), COMPLETION);
    (client, line)
}

#[test]
fn s_15_a_request_that_met_a_stale_connection_is_sent_once_more_on_a_new_one() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    for by_reset in [false, true] {
        let (mut client, mut line) = acquainted(&gateway, &script);
        client.write(&chat("gpt-4o-mini").bytes());
        let first = line.request();
        if by_reset {
            line.reset();
        } else {
            drop(line);
        }
        let (mut line, again) = script.asked();
        assert_eq!((&again.line, &again.body), (&first.line, &first.body));
        line.send(json_answer(200, "connection: close\r\n", COMPLETION));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("x-tollgate-attempts")), (200, Some("2")));
        let row = gateway.row_of(&answer);
        assert_eq!((row.attempts, row.usage.input_tokens, row.usage.output_tokens), (2, 9, 1));
        let log: serde_json::Value = serde_json::from_str(&row.attempt_log).unwrap();
        assert_eq!((&log[0]["error"], &log[0]["cost_nano_usd"]), (&"stale_connection".into(), &().into()));
    }
}

#[test]
fn s_15_an_upstream_that_ends_a_new_connection_or_an_answer_is_not_asked_again() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let mut client = Wire::open(gateway.data);
    client.write(&chat("gpt-4o-mini").bytes());
    drop(script.asked());
    assert_eq!(client.answer().refusal(), (502, "upstream_unreachable".into()));

    let (mut client, mut line) = acquainted(&gateway, &script);
    client.write(&chat("gpt-4o-mini").bytes());
    line.request();
    line.send("HTTP/1.1 200 O");
    drop(line);
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("x-tollgate-attempts")), (502, Some("1")));
    assert!(!script.has_another());
}

#[test]
fn s_15_a_second_connection_that_ends_too_is_the_upstreams_fault() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let (mut client, mut line) = acquainted(&gateway, &script);
    client.write(&chat("gpt-4o-mini").bytes());
    line.request();
    drop(line);
    drop(script.asked());
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("x-tollgate-attempts")), (502, Some("2")));
    assert!(answer.text().contains("connection_reset"), "{}", answer.text());
    assert!(!script.has_another());
}

/// How often a client asks an upstream that hangs up after each answer; 10,000 in the whole run.
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the gateway")]
fn tries() -> usize {
    let told = std::env::var("TOLLGATE_STALE_TRIES").ok();
    told.map_or(400, |told| told.parse().unwrap())
}

#[test]
fn s_15_no_request_is_lost_to_an_upstream_that_hangs_up_between_requests() {
    let upstream = Recorder::start(|_| json_answer(200, "", COMPLETION)).hanging_up();
    let gateway = gateway(upstream.addr, "", "");
    let mut client = Wire::open(gateway.data);
    for round in 0..tries() {
        client.write(&chat("gpt-4o-mini").bytes());
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, COMPLETION), "{round}");
    }
    assert_eq!(upstream.seen().len(), tries(), "no request was answered twice");
}

/// What an upstream may say after its answer: one more event, a second answer, noise.
const EXTRA: [&str; 3] = [
    "data: {\"choices\":[]}\n\n",
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
    "\0\0\0\0",
];

#[test]
fn s_14_what_follows_an_answer_reaches_nobody() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    for extra in EXTRA {
        let mut client = Wire::open(gateway.data);
        for path in ["/v1/chat/completions", "/v1/files/f"] {
            let ask = if path.ends_with('f') { Ask::get(path).bearer(PROD) } else { chat("gpt-4o-mini") };
            client.write(&ask.bytes());
            // a connection of its own each time: the last one was not kept
            let (mut line, _) = script.asked();
            let mut bytes = json_answer(200, "", COMPLETION);
            bytes.extend_from_slice(extra.as_bytes());
            line.send(bytes);
            assert_eq!(client.answer().text(), COMPLETION, "{extra:?}");
            line.is_left();
        }
    }
}

#[test]
fn s_14_what_comes_while_nobody_asks_ends_the_connection() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    for extra in EXTRA {
        let (mut client, mut line) = acquainted(&gateway, &script);
        line.send(extra);
        line.is_left();
        client.write(&chat("gpt-4o-mini").bytes());
        let (mut line, _) = script.asked();
        line.send(json_answer(200, "connection: close\r\n", COMPLETION));
        assert_eq!(client.answer().text(), COMPLETION);
    }
}

#[test]
fn s_14_what_follows_the_last_chunk_reaches_nobody() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    for extra in EXTRA {
        let mut client = Wire::open(gateway.data);
        for _ in 0..2 {
            client.write(&crate::support::stream_chat("gpt-4o-mini").bytes());
            let (mut line, _) = script.asked();
            line.begin_events();
            line.chunk("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n");
            line.chunk("data: [DONE]\n\n");
            line.send(format!("0\r\n\r\n{extra}"));
            let answer = client.answer();
            assert!(answer.whole && answer.text().ends_with("\"hi\"}}]}\n\ndata: [DONE]\n\n"), "{answer:?}");
            line.is_left();
        }
    }
}
