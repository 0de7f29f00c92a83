//! Where a body begins and ends: an upstream's framing is read as HTTP says, and a request's body arrives
//! within its bounds of memory and time.

use crate::support::{
    Ask, COMPLETION, Gateway, PROD, Recorder, Wire, chat, json_answer, mock, stream_chat, until,
};

fn start(upstream: &Recorder, server: &str) -> Gateway {
    started(&format!("http://{}/v1", upstream.addr), server)
}

fn started(base_url: &str, server: &str) -> Gateway {
    Gateway::start(&format!(
        "server: {{ {server} }}
upstreams: {{ up: {{ base_url: \"{base_url}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n"
    ))
}

/// A chat request of exactly that many bytes.
fn chat_of(size: usize) -> Ask {
    let mut body = r#"{"model":"gpt-4o","messages":[]}"#.to_owned();
    body += &" ".repeat(size - body.len());
    Ask::post("/v1/chat/completions", body).bearer(PROD)
}

#[test]
fn a_length_beside_chunked_framing_cuts_nothing() {
    let upstream = Recorder::start(|_| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{COMPLETION}\r\n0\r\n\r\n",
            COMPLETION.len()
        )
        .into_bytes()
    });
    let gateway = start(&upstream, "");
    let mut wire = Wire::open(gateway.data);
    for _ in 0..2 {
        wire.write(&chat("gpt-4o").bytes());
        let answer = wire.answer();
        assert_eq!((answer.text().as_str(), answer.whole), (COMPLETION, true));
    }
}

#[test]
fn answers_without_a_body_are_completed() {
    for head in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 1000000\r\n\r\n",
    ] {
        let upstream = Recorder::start(move |_| head.as_bytes().to_vec());
        let gateway = start(&upstream, "");
        let method = if head.contains("200") { "HEAD" } else { "GET" };
        let answer = gateway.send(&Ask::get("/v1/files/f").method(method).bearer(PROD));
        assert_eq!(gateway.row_of(&answer).outcome.as_str(), "completed", "{head}");
    }
}

#[test]
fn wire_26_trailers_reach_the_client_and_the_answer_is_completed() {
    let upstream = Recorder::start(|_| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntrailer: x-sum\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{COMPLETION}\r\n0\r\nx-sum: 1\r\n\r\n",
            COMPLETION.len()
        )
        .into_bytes()
    });
    let gateway = start(&upstream, "");
    let answer = gateway.send(&chat("gpt-4o").header("te", "trailers"));
    assert_eq!((answer.text().as_str(), answer.whole), (COMPLETION, true));
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert_eq!(gateway.row_of(&answer).outcome.as_str(), "completed");
}

#[test]
fn s_13_another_protocol_that_nobody_asked_for_is_no_answer() {
    let upstream = Recorder::start(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello".to_vec()
    });
    let gateway = start(&upstream, "");
    let answer = gateway.send(&chat("gpt-4o"));
    assert_eq!(answer.refusal(), (502, "upstream_unreachable".into()));
    assert!(answer.text().contains("invalid_response"), "{}", answer.text());
}

#[test]
fn after_a_refused_question_the_answer_comes_as_the_client_asked_for_it() {
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n\
                  data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n\
                  data: [DONE]\n\n";
    let upstream = Recorder::start(move |seen| {
        if seen.text().contains("stream_options") {
            return json_answer(400, "", r#"{"error":{"message":"unknown"}}"#);
        }
        let length = stream.len();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n{stream}"
        )
        .into_bytes()
    });
    let gateway = start(&upstream, "");
    let ask = stream_chat("gpt-4o").header("accept-encoding", "gzip");
    let answer = gateway.send(&ask);
    assert_eq!(answer.text(), stream);
    assert_eq!(answer.header("x-tollgate-attempts"), Some("2"));
    assert_eq!(upstream.seen()[1].header("accept-encoding"), Some("gzip"));
    assert_eq!(gateway.row_of(&answer).attempts, 2);
}

#[test]
fn what_is_only_announced_takes_no_memory() {
    let mock = mock();
    let gateway = started(&mock.base_url(), "max_body: 1MiB, max_body_total: 1MiB");
    let mut waiting = Wire::open(gateway.data);
    waiting.write(&chat_of(1 << 20).bytes()[..500]);
    until("the request to begin", || (gateway.metric("http_server_active_requests{") == 1.0).then_some(()));
    assert_eq!(gateway.send(&chat("gpt-4o")).status, 200);
}

#[test]
fn a_full_memory_is_told_by_its_setting() {
    let mock = mock();
    let gateway = started(&mock.base_url(), "max_body: 1MiB, max_body_total: 1MiB");
    let mut holding = Wire::open(gateway.data);
    let bytes = chat_of(1 << 20).bytes();
    holding.write(&bytes[..bytes.len() - 1]);
    let refused = until("a full memory", || {
        let answer = gateway.send(&chat("gpt-4o"));
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.refusal(), (503, "memory_full".into()));
    assert!(refused.text().contains("server.max_body_total"), "{}", refused.text());
    holding.write(&bytes[bytes.len() - 1..]);
    assert_eq!(holding.answer().status, 200);
    assert_eq!(gateway.send(&chat("gpt-4o")).status, 200);
}

#[test]
fn a_body_that_may_be_sent_has_room() {
    let mock = mock();
    for (size, server) in [
        (40 << 10, "max_body: 40KiB, max_body_total: 40KiB"),
        (100 << 10, "max_body: 100KiB, max_body_total: 100KiB"),
    ] {
        let gateway = started(&mock.base_url(), server);
        let answer = gateway.send(&chat_of(size));
        assert_eq!(answer.status, 200, "{server}: {}", answer.text());
    }
}

#[test]
fn a_body_that_drips_is_given_up() {
    let mock = mock();
    let gateway = started(&mock.base_url(), "body_timeout: 300ms");
    let bytes = chat_of(30_000).bytes();
    let head = bytes.len() - 30_000;
    let mut wire = Wire::open(gateway.data);
    wire.write(&bytes[..head]);
    let mut rest = bytes[head..].iter();
    // never silent for as long as the timeout
    until("the end of patience", || {
        wire.write_while_open(&[*rest.next().unwrap()]);
        (gateway.metric("tollgate_request_duration_seconds_count{") > 0.0).then_some(())
    });
    assert_eq!(wire.answer().refusal(), (408, "body_timeout".into()));
    assert!(mock.served().is_empty());
}
