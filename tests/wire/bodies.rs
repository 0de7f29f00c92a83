//! Case 26: where bodies begin and end, and what stands around them.

use crate::script::{Script, gateway};
use crate::support::{Ask, COMPLETION, PROD, Wire, chat, json_answer};

/// The head of a chat request whose body is to follow; `how` frames it.
fn head(how: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\
         content-type: application/json\r\n{how}\r\n\r\n"
    )
}

const BODY: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn wire_26_the_upstream_is_asked_without_an_expectation_and_only_once_the_body_is_there() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let mut client = Wire::open(gateway.data);
    client.write(head(&format!("content-length: {}\r\nexpect: 100-continue", BODY.len())).as_bytes());
    assert_eq!(client.head().status, 100);
    assert!(!script.has_another(), "nothing to ask yet");
    client.write(BODY.as_bytes());
    let (mut line, seen) = script.asked();
    assert!(!seen.has("expect"));
    assert_eq!(seen.text(), BODY);
    line.send(json_answer(200, "", COMPLETION));
    assert_eq!(client.answer().text(), COMPLETION);
}

#[test]
fn wire_26_a_refusal_comes_instead_of_a_hundred() {
    let script = Script::open();
    let gateway = gateway(script.addr, "max_body: 1KiB", "");
    let cases = [
        (head("content-length: 2000\r\nexpect: 100-continue"), 413),
        (head("content-length: 70\r\nexpect: 100-continue").replace(PROD, "nobody"), 401),
        (head("content-length: 70\r\nhost: twice\r\nexpect: 100-continue"), 400),
    ];
    for (head, status) in cases {
        let mut client = Wire::open(gateway.data);
        client.write(head.as_bytes());
        assert_eq!(client.head().status, status, "{head}");
    }
}

#[test]
fn wire_26_the_length_of_an_answer_is_kept() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    // beyond what is read whole before it is passed on, too
    for size in [0, 1, 5_000, 400_000] {
        let body = format!("[{}]", "1,".repeat(size));
        let mut client = Wire::open(gateway.data);
        client.write(&Ask::get("/v1/files/f/content").bearer(PROD).bytes());
        let (mut line, _) = script.asked();
        line.send(json_answer(200, "connection: close\r\n", &body));
        let answer = client.answer_to("GET");
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(answer.header("transfer-encoding"), None);
        assert!(answer.whole && answer.text() == body);
    }
}

#[test]
fn wire_26_an_empty_body_is_an_empty_body() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    for (head, length) in [
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n", Some("0")),
        ("HTTP/1.1 202 Accepted\r\ntransfer-encoding: chunked\r\n", None),
        ("HTTP/1.1 204 No Content\r\n", None),
        ("HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n", Some("0")),
        ("HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\n", None),
    ] {
        let mut client = Wire::open(gateway.data);
        client.write(&chat("gpt-4o-mini").bytes());
        let (mut line, _) = script.asked();
        line.send(format!("{head}connection: close\r\n\r\n"));
        if head.contains("chunked") {
            line.last_chunk();
        }
        let answer = client.answer();
        assert_eq!(answer.header("content-length"), length, "{head}: {answer:?}");
        assert!(answer.whole && answer.body.is_empty(), "{head}: {answer:?}");
        assert_eq!(gateway.row_of(&answer).outcome.as_str(), "completed", "{head}");
    }
}
