//! Upstreams that say odd things, or far too much of one thing.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::script::{Line, Script, asking, chunk, gateway, peak_memory};
use crate::support::{COMPLETION, Gateway, Wire, chat, json_answer, until};

/// One request, and what the upstream says to it byte by byte.
fn told(gateway: &Gateway, script: &Script, bytes: &[u8]) -> (crate::support::Answer, Line) {
    let mut client = Wire::open(gateway.data);
    client.write(&chat("gpt-4o-mini").bytes());
    let (mut line, _) = script.asked();
    line.send_while_open(bytes);
    line.finish();
    (client.answer(), line)
}

#[test]
fn s_13_a_few_interim_answers_are_passed_over_and_a_storm_of_them_is_a_502() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    for (count, status) in [(1, 200), (16, 200), (17, 502), (1_000, 502)] {
        let mut bytes = hint.repeat(count).into_bytes();
        bytes.extend(json_answer(200, "", COMPLETION));
        let (answer, mut line) = told(&gateway, &script, &bytes);
        assert_eq!(answer.status, status, "{count}: {}", answer.text());
        line.is_left();
    }
}

#[test]
fn s_13_odd_answers_pass_or_are_a_502() {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let json = "content-type: application/json\r\n";
    let error = r#"{"error":{"message":"m","code":"c"}}"#;
    for (answer, status, body, outcome) in [
        (json_answer(200, "", error), 200, error, "upstream_error"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>".to_vec(),
            200,
            "<html>",
            "completed",
        ),
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello".to_vec(), 204, "", "completed"),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello".to_vec(), 304, "", "completed"),
        (
            format!("HTTP/1.1 299 Odd\r\n{json}content-length: 2\r\n\r\n{{}}").into_bytes(),
            299,
            "{}",
            "completed",
        ),
        (format!("HTTP/1.1 200\r\n{json}content-length: 2\r\n\r\n{{}}").into_bytes(), 200, "{}", "completed"),
        (b"HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n".to_vec(), 502, "", "upstream_unreachable"),
        (b"HTTP/1.1 1000 High\r\ncontent-length: 0\r\n\r\n".to_vec(), 502, "", "upstream_unreachable"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello".to_vec(),
            502,
            "",
            "upstream_unreachable",
        ),
        (b"hello\r\n\r\n".to_vec(), 502, "", "upstream_unreachable"),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let (answer, mut line) = told(&gateway, &script, &answer);
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        if status == 502 {
            assert_eq!(answer.refusal().1, "upstream_unreachable", "{shown}");
        } else {
            assert_eq!(answer.text(), body, "{shown}");
        }
        line.is_left();
        assert_eq!(gateway.row_of(&answer).outcome.as_str(), outcome, "{shown}");
    }
}

/// Streams this many bytes through, made piece by piece, and answers by how much the gateway's memory grew.
fn growth(head: &str, pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> (Gateway, u64) {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    told(&gateway, &script, &json_answer(200, "connection: close\r\n", COMPLETION));
    let before = peak_memory(&gateway);
    let mut client = Wire::open(gateway.data);
    client.write(&asking().header("accept-encoding", "gzip").bytes());
    let (mut line, _) = script.asked();
    line.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{head}transfer-encoding: chunked\r\n\r\n"
    ));
    let upstream = std::thread::spawn(move || {
        let mut sum = Sum::default();
        for piece in pieces {
            sum.add(&piece);
            line.send(chunk(&piece));
        }
        line.last_chunk();
        sum
    });
    client.head();
    let mut sum = Sum::default();
    client.each_piece(|piece| sum.add(piece)).expect("it comes whole");
    assert_eq!(sum, upstream.join().unwrap(), "every byte passed");
    let grown = peak_memory(&gateway) - before;
    (gateway, grown)
}

/// Length and hash of what passed; the bytes themselves are too many to keep.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    hash: u64,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        // FNV-1a
        self.hash = bytes
            .iter()
            .fold(self.hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }
}

const MIB: u64 = 1 << 20;
const TAIL: &str =
    "\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";

/// How much is sent: a tenth of what FAULTS says in `./check`, all of it in the whole run.
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the gateway")]
fn scale(most: usize) -> usize {
    if std::env::var_os("TOLLGATE_FLOODS").is_some() { most } else { most / 10 }
}

#[test]
fn s_04_a_line_without_an_end_takes_little_memory() {
    let begin = std::iter::once(b"data: ".to_vec());
    let line = std::iter::repeat_n(vec![b'x'; 64 << 10], scale(1_600));
    let (gateway, grown) = growth("", begin.chain(line).chain([TAIL.into()]));
    assert!(grown < 16 * MIB, "{grown} bytes more");
    assert_eq!(gateway.rows(2)[1].usage_source.as_str(), "reported");
}

#[test]
fn s_04_very_many_tiny_events_take_little_memory() {
    let events = std::iter::repeat_n(b"data:\n\n:\n\ndata: {}\n\n".repeat(1_000), scale(1_000));
    let (gateway, grown) = growth("", events.chain([TAIL.into()]));
    assert!(grown < 16 * MIB, "{grown} bytes more");
    assert_eq!(gateway.rows(2)[1].usage_source.as_str(), "reported");
}

#[test]
fn s_04_megabytes_of_comments_take_little_memory() {
    let comments = std::iter::repeat_n(b": keep-alive\n\n".repeat(1_000), scale(800));
    let endless = std::iter::once(b": ".to_vec()).chain(std::iter::repeat_n(vec![b'y'; 64 << 10], 40));
    let (gateway, grown) = growth("", comments.chain(endless).chain([TAIL.into()]));
    assert!(grown < 16 * MIB, "{grown} bytes more");
    assert_eq!(gateway.rows(2)[1].usage_source.as_str(), "reported");
}

#[test]
fn s_07_a_bomb_passes_and_its_metering_stops_within_bounds() {
    // a thousand to one, member after member: 1 GiB; ten times that in the whole run
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 1 << 20]).unwrap();
    let pieces = std::iter::repeat_n(encoder.finish().unwrap(), scale(10_000));
    let (gateway, grown) = growth("content-encoding: gzip\r\n", pieces);
    assert!(grown < 64 * MIB, "{grown} bytes more");
    let row = gateway.rows(2).remove(1);
    assert_eq!((row.outcome.as_str(), row.usage_source.as_str()), ("completed", "estimated"));
    // the row may be read a moment before its metrics are told
    until("the fault to be counted", || {
        (gateway.metric("tollgate_answer_faults_total{") == 1.0).then_some(())
    });
}
