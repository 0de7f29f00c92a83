//! Clients and upstreams that do odd things: each costs itself at most, and leaves one record at most.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};

use crate::support::{
    Ask, COMPLETION, Gateway, PROD, Recorder, Wire, chat, json_answer, mock, stream_chat, until,
};

fn start(upstream: SocketAddr, server: &str, more: &str) -> Gateway {
    Gateway::start(&format!(
        "server: {{ {server} }}
upstreams: {{ up: {{ base_url: \"http://{upstream}/v1\"{more} }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n"
    ))
}

fn is_well(gateway: &Gateway) {
    let answer = gateway.send(&chat("gpt-4o"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    gateway.row_of(&answer);
    until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn a_client_that_never_finishes_its_header_is_let_go() {
    let mock = mock();
    let gateway = start(mock.addr, "header_timeout: 300ms", "");
    let begun = ["POST /v1/chat/completions HT", "POST / HTTP/1.1\r\nhost: localhost\r\nx-a: ", "G"];
    for begun in begun {
        let mut wire = Wire::open(gateway.data);
        wire.write(begun.as_bytes());
        let told = String::from_utf8(wire.rest()).unwrap();
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    }
    is_well(&gateway);
    assert_eq!(gateway.rows(1).len(), 1, "what never became a request leaves no record");
}

#[test]
fn a_client_that_never_says_anything_is_let_go() {
    let mock = mock();
    let gateway = start(mock.addr, "header_timeout: 300ms", "");
    // nothing, and beginnings of HTTP/2's first words
    for begun in ["", "P", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut wire = Wire::open(gateway.data);
        wire.write(begun.as_bytes());
        wire.rest();
    }
    is_well(&gateway);
}

#[test]
fn a_client_that_is_idle_between_requests_is_let_go() {
    let mock = mock();
    let gateway = start(mock.addr, "header_timeout: 300ms", "");
    let mut wire = Wire::open(gateway.data);
    wire.write(&chat("gpt-4o").bytes());
    assert_eq!(wire.answer().status, 200);
    assert!(wire.rest().is_empty());
}

/// More than the system keeps for a client that does not read.
const LARGE: usize = 32 << 20;

#[test]
fn wire_32_a_client_that_stops_reading_is_let_go() {
    let upstream = Recorder::start(|_| json_answer(200, "", &"x".repeat(LARGE)));
    let gateway = start(upstream.addr, "write_timeout: 300ms", "");
    let mut wire = Wire::open(gateway.data);
    wire.write(&Ask::get("/v1/files/large/content").bearer(PROD).bytes());
    assert_eq!(wire.head().status, 200);
    assert_eq!(gateway.rows(1)[0].outcome.as_str(), "cancelled");
    until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
    // what the system had taken for it is all it gets
    assert!(wire.rest().len() < LARGE);
}

#[test]
fn a_client_that_breaks_off_its_upload_leaves_one_record() {
    let mock = mock();
    let gateway = start(mock.addr, "", "");
    let bytes = chat("gpt-4o").bytes();
    for by_reset in [true, false] {
        let mut wire = Wire::open(gateway.data);
        wire.write(&bytes[..bytes.len() - 10]);
        until("the request to begin", || {
            (gateway.metric("http_server_active_requests{") == 1.0).then_some(())
        });
        if by_reset {
            wire.reset();
        } else {
            drop(wire);
        }
        until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
    }
    let rows = gateway.rows(2);
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| ["cancelled", "refused"].contains(&row.outcome.as_str())), "{rows:?}");
    assert!(rows.iter().all(|row| row.cost.unwrap().as_nanos() == 0));
    assert!(mock.served().is_empty());
    is_well(&gateway);
}

#[test]
fn garbage_is_answered_400_or_not_at_all() {
    let mock = mock();
    let gateway = start(mock.addr, "header_timeout: 2s", "");
    let long = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(2 << 20));
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(5_000));
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"hello gateway\r\n\r\n",
        b"GET /\x80 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, x\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let mut wire = Wire::open(gateway.data);
        wire.write_while_open(garbage);
        let told = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 4"), "{told}");
    }
    is_well(&gateway);
    assert_eq!(mock.served().len(), 1);
}

#[test]
fn a_request_cannot_hide_in_another_s_body() {
    let upstream = Recorder::plain();
    let gateway = start(upstream.addr, "", "");
    let hidden =
        format!("POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\r\n");
    let body = format!("0\r\n\r\n{hidden}");
    let mut wire = Wire::open(gateway.data);
    wire.write(
        format!(
            "POST /v1/any HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\
             content-length: {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    wire.rest();
    assert!(upstream.seen().iter().all(|seen| !seen.line.contains("embeddings")), "{:?}", upstream.seen());
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused_and_its_connection_closed() {
    let upstream = Recorder::plain();
    let gateway = start(upstream.addr, "", "");
    let after = String::from_utf8(chat("gpt-4o").bytes()).unwrap();
    for head in [
        "host: localhost\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: localhost\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "host: localhost\r\ntransfer_encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "host: localhost\r\nhost: other\r\ntransfer-encoding: chunked\r\n",
        "host: user@localhost\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        let mut wire = Wire::open(gateway.data);
        wire.write_while_open(
            format!("POST /v1/any HTTP/1.1\r\nauthorization: Bearer {PROD}\r\n{head}\r\n0\r\n\r\n{after}")
                .as_bytes(),
        );
        let answer = wire.answer();
        assert_eq!(answer.refusal(), (400, "ambiguous_framing".into()), "{head}");
        assert!(wire.rest().is_empty(), "{head}");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[test]
fn wire_26_a_client_may_wait_for_a_hundred_before_it_sends_its_body() {
    let mock = mock();
    let gateway = start(mock.addr, "", "");
    let bytes = chat("gpt-4o").header("expect", "100-continue").bytes();
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut wire = Wire::open(gateway.data);
    wire.write(&bytes[..split]);
    assert_eq!(wire.head().status, 100);
    wire.write(&bytes[split..]);
    assert_eq!(wire.answer().status, 200);
    is_well(&gateway);
}

#[test]
fn wire_26_head_is_answered_without_a_body_and_the_connection_goes_on() {
    let upstream = Recorder::start(|seen| {
        let answer = json_answer(200, "x-request-id: one\r\n", COMPLETION);
        if seen.line.starts_with("HEAD") {
            answer[..answer.len() - COMPLETION.len()].to_vec()
        } else {
            answer
        }
    });
    let gateway = start(upstream.addr, "", "");
    let mut wire = Wire::open(gateway.data);
    wire.write(&Ask::get("/v1/models").method("HEAD").bearer(PROD).bytes());
    let answer = wire.answer_to("HEAD");
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("one")));
    assert_eq!(answer.header("content-length"), Some(COMPLETION.len().to_string().as_str()));
    wire.write(&chat("gpt-4o").bytes());
    assert_eq!(wire.answer().text(), COMPLETION);
}

#[test]
fn wire_26_answers_without_a_body_stay_without_one() {
    for head in [
        "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nx-a: 1\r\netag: \"e\"\r\n\r\n",
    ] {
        let upstream = Recorder::start(move |_| head.as_bytes().to_vec());
        let gateway = start(upstream.addr, "", "");
        let mut wire = Wire::open(gateway.data);
        for _ in 0..2 {
            wire.write(&Ask::get("/v1/files/f").bearer(PROD).bytes());
            let answer = wire.answer_to("GET");
            assert_eq!((answer.status.to_string().as_str(), answer.header("x-a")), (&head[9..12], Some("1")));
            assert_eq!(answer.header("transfer-encoding"), None);
        }
    }
}

#[test]
fn a_chunked_request_reaches_the_upstream_whole() {
    let upstream = Recorder::plain();
    let gateway = start(upstream.addr, "", "");
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"in pieces"}]}"#;
    let mut wire = Wire::open(gateway.data);
    wire.write(
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
        )
        .as_bytes(),
    );
    for piece in body.as_bytes().chunks(7) {
        wire.write(format!("{:X}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()).as_bytes());
    }
    wire.write(b"0\r\nx-sum: 1\r\n\r\n");
    assert_eq!(wire.answer().status, 200);
    let seen = upstream.only();
    assert_eq!(seen.text(), body);
    assert_eq!(seen.header("content-length"), Some(body.len().to_string().as_str()));
    assert!(!seen.has("transfer-encoding") && !seen.has("trailer"));
}

#[test]
fn an_answer_with_trailers_comes_through_whole() {
    let upstream = Recorder::start(|_| {
        let (a, b) = COMPLETION.split_at(20);
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             {:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\nx-sum: 1\r\n\r\n",
            a.len(),
            b.len()
        )
        .into_bytes()
    });
    let gateway = start(upstream.addr, "", "");
    let answer = gateway.send(&chat("gpt-4o"));
    assert_eq!((answer.text().as_str(), answer.whole), (COMPLETION, true));
    let row = gateway.row_of(&answer);
    assert_eq!((row.usage.input_tokens, row.usage_source.as_str()), (9, "reported"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mock = mock();
    let gateway = start(mock.addr, "", "");
    let asks = [
        chat("gpt-4o@out=3+delay=50ms"),
        chat("gpt-4o@out=5"),
        stream_chat("gpt-4o@out=7"),
        chat("gpt-4o@out=9"),
    ];
    let mut wire = Wire::open(gateway.data);
    wire.write(&asks.iter().flat_map(Ask::bytes).collect::<Vec<_>>());
    let tokens: Vec<_> = asks
        .iter()
        .map(|_| {
            let answer = wire.answer();
            assert!(answer.whole);
            gateway.row_of(&answer).usage.output_tokens
        })
        .collect();
    assert_eq!(tokens, [3, 5, 7, 9]);
}

#[test]
fn a_client_that_ends_its_side_is_gone() {
    // a closed socket looks the same, and nobody is to pay for answers that nobody reads
    let mock = mock();
    let gateway = start(mock.addr, "", "");
    let mut wire = Wire::open(gateway.data);
    wire.write(&stream_chat("gpt-4o@out=1000+pace=20ms").bytes());
    wire.wait_for(b"data: ");
    wire.half_close();
    assert_eq!(gateway.rows(1)[0].outcome.as_str(), "cancelled");
    is_well(&gateway);
}

#[test]
fn an_old_client_gets_an_answer_it_can_read() {
    let mock = mock();
    let gateway = start(mock.addr, "", "");
    let text = String::from_utf8(stream_chat("gpt-4o@out=20").bytes()).unwrap();
    let mut wire = Wire::open(gateway.data);
    wire.write(text.replace("HTTP/1.1", "HTTP/1.0").as_bytes());
    let answer = wire.answer();
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
}

#[test]
fn what_an_upstream_does_wrong_has_a_name() {
    let upstreams = [
        (Recorder::start(|_| Vec::new()), 502, "connection_reset"),
        (Recorder::start(|_| b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()), 502, "invalid_response"),
        (
            Recorder::start(|_| b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n".to_vec()),
            502,
            "invalid_response",
        ),
    ];
    for (upstream, status, word) in upstreams {
        let gateway = start(upstream.addr, "", "");
        let answer = gateway.send(&chat("gpt-4o"));
        assert_eq!(answer.status, status, "{word}: {}", answer.text());
        assert!(answer.text().contains(word), "{word}: {}", answer.text());
        assert_eq!(gateway.row_of(&answer).outcome.as_str(), "upstream_unreachable");
    }
}

#[test]
fn s_08_a_silent_upstream_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = start(silent.local_addr().unwrap(), "", ", first_byte_timeout: 200ms");
    let answer = gateway.send(&chat("gpt-4o"));
    assert_eq!(answer.refusal(), (504, "upstream_timeout".into()));
    assert_eq!(gateway.row_of(&answer).outcome.as_str(), "upstream_unreachable");

    let mock = mock();
    let gateway = start(mock.addr, "", ", idle_timeout: 200ms");
    let answer = gateway.send(&stream_chat("gpt-4o@out=20+stall=5:20s"));
    assert!(answer.status == 200 && !answer.whole && !answer.text().contains("[DONE]"));
    let row = gateway.row_of(&answer);
    assert_eq!((row.outcome.as_str(), row.error.as_str()), ("truncated", "upstream_idle_timeout"));
}

#[test]
fn s_13_hints_before_the_answer_are_passed_over() {
    let upstream = Recorder::start(|_| {
        let mut bytes = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec();
        bytes.write_all(&json_answer(200, "", COMPLETION)).unwrap();
        bytes
    });
    let gateway = start(upstream.addr, "", "");
    let answer = gateway.send(&chat("gpt-4o"));
    assert_eq!((answer.status, answer.text().as_str()), (200, COMPLETION));
}

#[test]
fn a_connection_that_ended_under_us_is_mended_by_the_next_target() {
    let upstream = Recorder::start(|_| json_answer(200, "", COMPLETION)).hanging_up();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ base_url: \"http://{}/v1\" }} }}
routes: [{{ models: [\"*\"], to: [{{ upstream: up }}, {{ upstream: up }}] }}]
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        upstream.addr
    ));
    let mut wire = Wire::open(gateway.data);
    for round in 0..100 {
        wire.write(&chat("gpt-4o").bytes());
        let answer = wire.answer();
        assert_eq!(answer.status, 200, "{round}: {}", answer.text());
    }
}

#[test]
fn a_large_upload_passes_without_being_held() {
    let upstream = Recorder::plain();
    let gateway = start(upstream.addr, "max_body: 1KiB", "");
    let body = vec![b'x'; 8 << 20];
    let answer = gateway.send(&Ask::post("/v1/files", body.clone()).bearer(PROD));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(upstream.only().body == body);
}

#[test]
fn the_gateway_is_no_tunnel_and_no_open_proxy() {
    let (upstream, other) = (Recorder::plain(), Recorder::plain());
    let gateway = start(upstream.addr, "", "");
    let asked = [
        format!("CONNECT {}", other.addr),
        "TRACE /v1/models".into(),
        "OPTIONS *".into(),
        "post /v1/chat/completions".into(),
    ];
    for asked in &asked {
        let mut wire = Wire::open(gateway.data);
        wire.write(
            format!("{asked} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {PROD}\r\n\r\n", other.addr)
                .as_bytes(),
        );
        let answer = wire.answer();
        assert_eq!(answer.refusal(), (405, "method_not_allowed".into()), "{asked}");
        assert!(answer.header("allow").is_some_and(|allowed| allowed.contains("POST")));
    }
    assert_eq!(gateway.rows(asked.len()).len(), asked.len());
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    let mut wire = Wire::open(gateway.data);
    let text = String::from_utf8(chat("gpt-4o").bytes()).unwrap();
    wire.write(text.replace("POST /", &format!("POST http://{}/", other.addr)).as_bytes());
    assert_eq!(wire.answer().status, 200);
    assert_eq!(upstream.seen().pop().unwrap().target(), "POST /v1/chat/completions");
    assert!(other.seen().is_empty());
}
