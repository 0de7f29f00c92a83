//! Answers of every dialect through a real gateway: nothing is held back, and no cut changes a byte or a row.
//! The long run of this is in process: src/proxy/relay/differential_tests.rs.

use tollgate::store::record::Record;

use crate::answers::{Answer, Dice, Part};
use crate::script::{Line, Script, chunk, gateway};
use crate::support::{Ask, Gateway, PROD, Wire};

/// A gateway and the upstream behind it.
struct Pair {
    script: Script,
    gateway: Gateway,
}

/// One answer under way.
struct Passage {
    line: Line,
    client: Wire,
    head: crate::support::Answer,
}

impl Pair {
    /// `more` are further lines of the upstream.
    fn start(more: &str) -> Self {
        let script = Script::open();
        let gateway = gateway(script.addr, "", more);
        Self { script, gateway }
    }

    /// Asks for an answer and begins it.
    fn begin(&self, answer: &Answer, options: &str) -> Passage {
        let body = format!(
            r#"{{"model":"gpt-4o-mini","stream":{}{options},"messages":[{{"role":"user","content":"hi"}}]}}"#,
            answer.is_stream()
        );
        let mut client = Wire::open(self.gateway.data);
        client.write(&Ask::post(answer.path, body).bearer(PROD).bytes());
        let (mut line, _) = self.script.asked();
        let encoding =
            answer.encoding.map(|name| format!("content-encoding: {name}\r\n")).unwrap_or_default();
        line.send(format!(
            "HTTP/1.1 {} Told\r\ncontent-type: {}\r\n{encoding}connection: close\r\ntransfer-encoding: chunked\r\n\r\n",
            answer.status, answer.content_type
        ));
        let head = client.head();
        Passage { line, client, head }
    }
}

impl Passage {
    /// Sends the pieces, each when the client has what is due of those before it; yields the answer.
    fn pass<'a>(
        mut self,
        answer: &Answer,
        pieces: impl IntoIterator<Item = (&'a [u8], usize)>,
    ) -> crate::support::Answer {
        for (piece, due) in pieces {
            if !piece.is_empty() {
                self.line.send(chunk(piece));
            }
            let came = so_far(&mut self.client, due).len();
            assert!(came >= due, "{came} of {due} bytes came while the next were withheld: {answer:?}");
        }
        if !answer.breaks_off {
            self.line.last_chunk();
        }
        drop(self.line);
        let got = self.client.body_of(self.head, "POST");
        assert_eq!(got.whole, !answer.breaks_off, "{answer:?}");
        got
    }
}

/// Streams made up by chance, from this seed on.
fn streams(count: usize, seed: u64) -> impl Iterator<Item = Answer> {
    let made = (seed..).map(|seed| Answer::any(&mut Dice(seed.wrapping_mul(0x5851_F42D_4C95_7F2D))));
    // a huge one takes its time on a connection, and is no other than in process
    let is_fit = |answer: &Answer| {
        let length: usize = answer.parts.iter().map(|part| part.asked.len()).sum();
        answer.is_stream() && length < 50_000
    };
    made.filter(is_fit).take(count)
}

fn unasked(parts: &[Part]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.unasked.clone()).collect()
}

#[test]
fn wire_02_a_frame_is_readable_while_the_next_is_withheld() {
    let pair = Pair::start(", stream_usage: as_is");
    for answer in streams(60, 1) {
        let mut due = 0;
        let pieces = answer.parts.iter().map(|part| {
            due += part.unasked.len();
            (&part.unasked[..], due)
        });
        let got = pair.begin(&answer, "").pass(&answer, pieces);
        assert!(got.body == unasked(&answer.parts), "{answer:?}: {}", got.text());
    }
}

#[test]
fn wire_02_a_frame_is_readable_while_the_next_is_withheld_where_usage_is_asked_for() {
    let pair = Pair::start("");
    for answer in streams(200, 1_000).filter(Answer::can_be_asked) {
        let (mut due, mut is_open) = (0, false);
        let pieces = answer.parts.iter().map(|part| {
            is_open |= !part.is_whole;
            due += if is_open { 0 } else { part.unasked.len() };
            (&part.asked[..], due)
        });
        let got = pair.begin(&answer, "").pass(&answer, pieces);
        let expected = unasked(&answer.parts);
        let is_right = if answer.breaks_off { expected.starts_with(&got.body) } else { got.body == expected };
        assert!(is_right, "{answer:?}: {}", got.text());
    }
}

/// What of a row is the same for the same answer.
fn told(mut row: Record) -> Record {
    row.id = 0;
    (row.started_at, row.admitted_at) = (0, 0);
    (row.duration_us, row.first_token_us, row.overhead_us) = (0, 0, 0);
    row.trace_id.clear();
    row
}

const CHAT: &str = "data: {\"id\":\"c1\",\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"H\u{e9}\"}}],\"usage\":null}\r\n\r\n\
    : a comment\n\ndata: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\" \\\"usage\\\":null\"},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n\
    data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

#[test]
fn wire_03_a_split_at_any_byte_leaves_the_same_row() {
    let pair = Pair::start("");
    let answer = Answer::recorded("/v1/chat/completions", CHAT);
    let options = r#","stream_options":{"include_usage":true}"#;
    for at in 0..=CHAT.len() {
        let (left, right) = CHAT.as_bytes().split_at(at);
        let passage = pair.begin(&answer, options);
        let got = passage.pass(&answer, [(left, left.len()), (right, CHAT.len())]);
        assert!(got.body == CHAT.as_bytes(), "cut at {at}: {}", got.text());
    }
    let rows = pair.gateway.rows(CHAT.len() + 1);
    assert_eq!((rows[0].usage.input_tokens, rows[0].usage.output_tokens), (10, 5));
    let first = told(rows[0].clone());
    for row in rows {
        assert_eq!(told(row), first);
    }
}

#[test]
fn s_02_slices_of_any_stream_give_the_same_bytes_and_the_same_row() {
    let pair = Pair::start("");
    let mut dice = Dice(2);
    for answer in streams(40, 5_000) {
        let bytes: Vec<u8> = answer.parts.iter().flat_map(|part| part.asked.clone()).collect();
        let mut rows = Vec::new();
        for most in [bytes.len().max(1), 1 + bytes.len() / 5, 40] {
            let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
            while !rest.is_empty() {
                let (piece, left) = rest.split_at((1 + dice.below(most)).min(rest.len()));
                pieces.push((piece, 0));
                rest = left;
            }
            let got = pair.begin(&answer, "").pass(&answer, pieces);
            let expected = if answer.can_be_asked() { unasked(&answer.parts) } else { bytes.clone() };
            let is_right =
                if answer.breaks_off { expected.starts_with(&got.body) } else { got.body == expected };
            assert!(is_right, "{answer:?}: {}", got.text());
            let row = told(pair.gateway.row_of(&got));
            // a reset may overtake what was sent before it
            rows.push(if answer.breaks_off { Record::default() } else { row });
        }
        assert!(rows.iter().all(|row| *row == rows[0]), "{answer:?}: {rows:?}");
    }
}

/// What has come of a chunked body, once it is at least so many bytes or over. Nothing is taken.
fn so_far(client: &mut Wire, least: usize) -> Vec<u8> {
    loop {
        let body = dechunked(&client.read);
        if body.len() >= least || !client.more() {
            return body;
        }
    }
}

/// The bytes of as many chunks as are there.
fn dechunked(mut read: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = read.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&read[..end]).unwrap();
        let size = usize::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
        let rest = &read[end + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        match rest.get(size + 2..) {
            Some(next) if size > 0 => read = next,
            _ => break,
        }
    }
    body
}
