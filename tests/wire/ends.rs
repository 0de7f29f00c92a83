//! Streams that end otherwise than they should, on either side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tollgate::base::clock::Clock;

use crate::script::{Script, asking, chunk, events, gateway, peak_memory};
use crate::support::{Ask, COMPLETION, PROD, Wire, chat, json_answer, stream_chat, until};

/// An event with this text.
fn event(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";

/// Where over the wire a stream is cut: some places in `./check`, as many as there are in the whole run.
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the gateway")]
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    let most = std::env::var("TOLLGATE_CUTS").map_or(60, |told| told.parse().unwrap());
    (0..length).step_by((length / most).max(1))
}

#[test]
fn s_01_a_cut_of_a_chunked_stream_is_an_exact_prefix_and_no_good_end() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let parts = [event("one"), event("two"), END.into()];
    let whole = parts.concat();
    let raw = events(parts.iter().map(String::as_bytes));
    let body = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    for (place, at) in cuts(raw.len() - body).enumerate() {
        let (by_reset, asks) = (place % 2 == 1, place % 4 < 2);
        let mut client = Wire::open(gateway.data);
        client.write(&if asks { asking() } else { stream_chat("gpt-4o-mini") }.bytes());
        let (mut line, _) = script.asked();
        line.send(&raw[..body + at]);
        if by_reset {
            line.reset();
        } else {
            drop(line);
        }
        let answer = client.answer();
        assert!(!answer.whole, "cut at {at}: {answer:?}");
        let came = plain(&raw[body..body + at]);
        assert!(whole.as_bytes().starts_with(&answer.body), "cut at {at}: {answer:?}");
        assert!(by_reset || !asks || answer.body == came, "all that came goes on: cut at {at}: {answer:?}");
        let row = gateway.row_of(&answer);
        assert_eq!(row.outcome.as_str(), "truncated", "cut at {at}");
        assert_eq!(row.response_bytes, answer.body.len() as u64, "cut at {at}");
    }
}

/// What a chunked body holds that breaks off anywhere.
fn plain(mut raw: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let Some(end) = raw.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        raw = &raw[end + 2..];
        plain.extend_from_slice(&raw[..size.min(raw.len())]);
        raw = raw.get(size + 2..).unwrap_or_default();
    }
    plain
}

#[test]
fn s_01_a_body_below_its_length_is_a_prefix_and_no_good_end() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let large = format!("[{}]", "1,".repeat(300_000));
    for (path, kind, whole) in [
        ("/v1/chat/completions", "application/json", COMPLETION),
        ("/v1/chat/completions", "text/event-stream", END),
        ("/v1/files", "application/json", large.as_str()),
    ] {
        for at in [0, 1, whole.len() / 2, whole.len() - 1] {
            let mut client = Wire::open(gateway.data);
            client.write(&Ask::post(path, r#"{"model":"gpt-4o-mini","messages":[]}"#).bearer(PROD).bytes());
            let (mut line, _) = script.asked();
            let length = whole.len();
            line.send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"));
            line.send(&whole[..at]);
            drop(line);
            let answer = client.answer();
            assert!(!answer.whole && answer.text() == whole[..at], "{path} {kind} cut at {at}");
            assert_eq!(gateway.row_of(&answer).outcome.as_str(), "truncated", "{path} {kind} cut at {at}");
        }
    }
}

#[test]
fn wire_30_a_client_that_leaves_after_the_end_has_everything() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let mut client = Wire::open(gateway.data);
    client.write(&asking().bytes());
    let (mut line, _) = script.asked();
    line.begin_events();
    line.chunk(event("hi"));
    line.chunk(END);
    // the last chunk is never sent: SDKs hang up on `[DONE]`
    client.wait_for(b"[DONE]");
    drop(client);
    line.is_left();
    let row = gateway.rows(1).remove(0);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("completed", "reported"));
}

#[test]
fn wire_31_a_reset_in_the_middle_is_a_truncated_body_and_a_partial_row() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let mut client = Wire::open(gateway.data);
    client.write(&stream_chat("gpt-4o-mini").bytes());
    let (mut line, _) = script.asked();
    line.begin_events();
    line.chunk(event("some words of an answer"));
    client.wait_for(b"words");
    line.reset();
    let answer = client.answer();
    assert_eq!((answer.whole, answer.text()), (false, event("some words of an answer")));
    let row = gateway.row_of(&answer);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("truncated", "estimated"));
    assert!(row.usage.output_tokens > 0 && row.cost.unwrap().as_nanos() > 0, "{row:?}");
}

#[test]
fn wire_32_a_slow_client_holds_its_upstream_up_and_gets_every_byte() {
    const PIECES: usize = 2_000;
    let piece = chunk(vec![b'x'; 16 << 10]);
    let script = Script::open();
    let gateway = gateway(script.addr, "write_timeout: 30s", "");
    let mut client = Wire::open(gateway.data);
    client.write(&chat("gpt-4o-mini").bytes());
    let (mut line, _) = script.asked();
    line.send(json_answer(200, "connection: close\r\n", COMPLETION));
    client.answer();
    let before = peak_memory(&gateway);
    client.write(&Ask::get("/v1/files/large/content").bearer(PROD).bytes());
    let (mut line, _) = script.asked();
    let sent = Arc::new(AtomicUsize::new(0));
    let progress = Arc::clone(&sent);
    let upstream = std::thread::spawn(move || {
        line.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for _ in 0..PIECES {
            line.send(&piece);
            progress.fetch_add(1, Ordering::Relaxed);
        }
        line.last_chunk();
    });
    // it stands when a hundred looks in a row see no progress
    let (mut last, mut looks) = (0, 0);
    until("the upstream to be held up", || {
        let now = sent.load(Ordering::Relaxed);
        looks = if now == last && now > 0 { looks + 1 } else { 0 };
        last = now;
        (looks > 100).then_some(())
    });
    assert!(last < PIECES, "the client has read nothing, and all of it went out");
    let answer = client.answer_to("GET");
    assert!(answer.whole && answer.body.len() == PIECES * (16 << 10));
    upstream.join().unwrap();
    // of 32 MB; a debug build has larger pieces at work than a release
    assert!(peak_memory(&gateway) - before < 12 << 20, "{} bytes more", peak_memory(&gateway) - before);
}

#[test]
fn s_08_a_connection_that_is_not_made_is_given_up_in_time() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    // nobody accepts; the backlog is full after the first
    let _waiting = std::net::TcpStream::connect(addr).unwrap();
    let gateway = gateway(addr, "", ", connect_timeout: 300ms");
    let answer = gateway.send(&chat("gpt-4o-mini"));
    assert_eq!(answer.refusal(), (504, "upstream_timeout".into()));
    assert!(answer.text().contains("connect_timeout"), "{}", answer.text());
    assert_eq!(gateway.row_of(&answer).cost.unwrap().as_nanos(), 0);
}

#[test]
fn s_08_comments_alone_keep_a_stream_alive_and_silence_ends_it() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", ", idle_timeout: 1s");
    let mut client = Wire::open(gateway.data);
    client.write(&stream_chat("gpt-4o-mini").bytes());
    let (mut line, _) = script.asked();
    line.begin_events();
    let clock = Clock::system();
    let began = clock.tick();
    let mut beats = 0;
    while clock.tick().since(began) < std::time::Duration::from_millis(2_500) {
        beats += 1;
        line.chunk(format!(": {beats}\n\n"));
        client.wait_for(format!(": {beats}\n\n").as_bytes());
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let answer = client.answer();
    assert!(!answer.whole && answer.text().ends_with(&format!(": {beats}\n\n")));
    assert_eq!(gateway.row_of(&answer).error, "upstream_idle_timeout");
}

#[test]
fn s_12_a_half_closed_client_is_served_in_full_where_the_config_says_so() {
    let script = Script::open();
    let gateway = gateway(script.addr, "half_closed: served", "");
    for stream in [false, true] {
        let mut client = Wire::open(gateway.data);
        client.write(&if stream { asking() } else { chat("gpt-4o-mini") }.bytes());
        client.half_close();
        let (mut line, _) = script.asked();
        if stream {
            line.begin_events();
            line.chunk(event("hi"));
            client.wait_for(b"hi");
            line.chunk(END);
            line.last_chunk();
        } else {
            line.send(json_answer(200, "", COMPLETION));
        }
        let answer = client.answer();
        assert!(answer.whole, "{answer:?}");
        assert!(client.rest().is_empty(), "and then the connection ends");
        assert_eq!(gateway.row_of(&answer).outcome.as_str(), "completed");
    }
}

#[test]
fn s_12_a_client_that_broke_off_is_noticed_where_half_closed_ones_are_served() {
    let script = Script::open();
    let gateway = gateway(script.addr, "half_closed: served", "");
    let mut client = Wire::open(gateway.data);
    client.write(&stream_chat("gpt-4o-mini").bytes());
    let (mut line, _) = script.asked();
    line.begin_events();
    line.chunk(event("hi"));
    client.wait_for(b"hi");
    drop(client);
    // the first write tells our system, the next one us
    until("the upstream to be let go", || (!line.send_while_open(chunk(event("on")))).then_some(()));
    assert_eq!(gateway.rows(1)[0].outcome.as_str(), "cancelled");
}
