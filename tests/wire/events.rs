//! Streams spelt as upstreams really spell them, and worse: each passes byte for byte, and is counted.

use tollgate::store::record::Record;

use crate::script::{Script, events, gateway};
use crate::support::{Answer, Ask, Gateway, PROD, Wire, stream_chat};

/// A gateway and the upstream behind it.
struct Pair {
    script: Script,
    gateway: Gateway,
}

impl Pair {
    fn start() -> Self {
        let script = Script::open();
        let gateway = gateway(script.addr, "", "");
        Self { script, gateway }
    }

    /// Sends a stream through, a chunk for each piece, to a client that asked for usage and to one that did
    /// not; the bytes must be the upstream's. Yields the last answer and its record.
    fn pass(&self, pieces: &[&[u8]]) -> (Answer, Record) {
        let asked = r#"{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello there"}]}"#;
        let asks = [stream_chat("gpt-4o-mini"), Ask::post("/v1/chat/completions", asked).bearer(PROD)];
        let mut last = None;
        for ask in asks {
            let mut client = Wire::open(self.gateway.data);
            client.write(&ask.bytes());
            let (mut line, _) = self.script.asked();
            line.send(events(pieces.iter().copied()));
            let answer = client.answer();
            let whole = pieces.concat();
            assert!(answer.whole && answer.body == whole, "{answer:?}");
            let row = self.gateway.row_of(&answer);
            last = Some((answer, row));
        }
        last.unwrap()
    }

    fn tokens(&self, pieces: &[&[u8]]) -> (u64, u64) {
        let (_, row) = self.pass(pieces);
        assert_eq!(row.usage_source.as_str(), "reported", "{row:?}");
        (row.usage.input_tokens, row.usage.output_tokens)
    }

    fn faults(&self, fault: &str) -> f64 {
        let page = self.gateway.metrics();
        let named = format!("tollgate_answer_fault=\"{fault}\"");
        let lines = page
            .lines()
            .filter(|line| line.starts_with("tollgate_answer_faults_total") && line.contains(&named));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}

const HI: &str =
    "data: {\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}";
/// Usage on the chunk with the finish reason: nothing of it is ours to take out.
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}";
const DONE: &str = "data: [DONE]";

/// A stream of these events, each ended by `end`.
fn stream(events: &[&str], end: &str) -> Vec<u8> {
    events.iter().flat_map(|event| [event, end]).collect::<String>().into_bytes()
}

#[test]
fn wire_04_every_line_end_passes_and_is_read() {
    let pair = Pair::start();
    for end in ["\n\n", "\r\n\r\n", "\r\r"] {
        let whole = stream(&[HI, FINISH, DONE], end);
        assert_eq!(pair.tokens(&[&whole]), (9, 4), "{end:?}");
        // between the CR and the LF of the first line, and of the blank one
        for at in [HI.len() + 1, HI.len() + end.len() - 1] {
            assert_eq!(pair.tokens(&[&whole[..at], &whole[at..]]), (9, 4), "{end:?}");
        }
    }
}

#[test]
fn wire_05_data_without_a_space_and_in_several_lines_is_read() {
    let pair = Pair::start();
    let tight = FINISH.replace("data: ", "data:");
    let lines = FINISH.replace(",\"usage\":", ",\ndata:  \"usage\":\ndata:");
    for finish in [tight, lines] {
        assert_eq!(pair.tokens(&[&stream(&[HI, &finish, DONE], "\n\n")]), (9, 4), "{finish}");
    }
}

#[test]
fn wire_06_comments_pass_wherever_they_stand() {
    let pair = Pair::start();
    let text = format!(
        ": OPENROUTER PROCESSING\n\n:\n\n{HI}\n: inside\n\n:\n:\n\n: between\n{FINISH}\n\n: after\n\n{DONE}\n\n: last\n\n:"
    );
    assert_eq!(pair.tokens(&[text.as_bytes()]), (9, 4));
}

#[test]
fn wire_07_a_byte_order_mark_and_split_characters_change_nothing() {
    let pair = Pair::start();
    let text = format!("\u{feff}{}\n\n{FINISH}\n\n{DONE}\n\n", HI.replace("hi", "\u{e9}\u{1f600}"));
    let bytes = text.as_bytes();
    let smile = text.find('\u{1f600}').unwrap();
    for at in [1, 2, 3, smile + 1, smile + 2, smile + 3] {
        assert_eq!(pair.tokens(&[&bytes[..at], &bytes[at..]]), (9, 4), "{at}");
    }
}

#[test]
fn wire_08_a_stream_may_end_without_its_end() {
    let pair = Pair::start();
    for end in ["", "\n", "\n\n", "\n\ndata: [DONE]", "\n\ndata: [DONE]\n"] {
        let text = format!("{HI}\n\n{FINISH}{end}");
        assert_eq!(pair.tokens(&[text.as_bytes()]), (9, 4), "{end:?}");
    }
}

#[test]
fn wire_11_usage_on_the_chunk_that_finishes_is_counted() {
    let pair = Pair::start();
    assert_eq!(pair.tokens(&[&stream(&[HI, FINISH, DONE], "\n\n")]), (9, 4));
}

#[test]
fn wire_15_obfuscation_passes_and_is_never_counted() {
    let pair = Pair::start();
    let hidden = HI.replacen('{', "{\"obfuscation\":\"one two three four five six\",", 1);
    let count = |chunk: &str| {
        let (_, row) = pair.pass(&[&stream(&[chunk, DONE], "\n\n")]);
        assert_eq!(row.usage_source.as_str(), "estimated");
        row.usage.output_tokens
    };
    assert_eq!(count(&hidden), count(HI));
}

#[test]
fn wire_16_an_error_frame_passes_wherever_it_stands() {
    let pair = Pair::start();
    for (error, code) in [
        (r#"data: {"error":{"message":"m","type":"t","code":502}}"#, "502"),
        (r#"data: {"error":{"message":"m","type":"t","code":"overloaded"}}"#, "overloaded"),
        (r#"data: {"error":{"message":"m","type":"server_error","code":null}}"#, "server_error"),
        ("event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":\"named\"}}", "named"),
    ] {
        for before in [&[][..], &[HI]] {
            let (_, row) = pair.pass(&[&stream(&[before, &[error]].concat(), "\n\n")]);
            assert_eq!((row.outcome.as_str(), row.error.as_str()), ("upstream_error", code), "{before:?}");
        }
    }
}

#[test]
fn s_03_a_malformed_event_passes_and_is_counted_by_a_metric() {
    let pair = Pair::start();
    assert_eq!(pair.tokens(&[&stream(&[HI, "data: {\"choices\":[{]", FINISH, DONE], "\n\n")]), (9, 4));
    // once for each of the two clients
    assert_eq!((pair.faults("malformed"), pair.faults("usage_invalid")), (2.0, 0.0));
    let (_, row) = pair.pass(&[&stream(&[HI, &FINISH.replace("9,", "-9,"), DONE], "\n\n")]);
    assert_eq!(row.usage_source.as_str(), "estimated");
    assert_eq!((pair.faults("malformed"), pair.faults("usage_invalid")), (2.0, 2.0));
}

#[test]
fn s_05_broken_text_passes_untouched() {
    let pair = Pair::start();
    for text in [&b"\xff\xfe\xf0\x9f"[..], b"\0\0", b"\\ud800", b"\\u0000 \\udc00\\ud800", b"\xed\xa0\x80"] {
        let (before, after) = HI.split_once("hi").unwrap();
        let rest = format!("{after}\n\n{FINISH}\n\n{DONE}\n\n");
        assert_eq!(pair.tokens(&[before.as_bytes(), text, rest.as_bytes()]), (9, 4), "{text:?}");
    }
    // what of it reaches the ledger and the log is text
    let error = b"data: {\"error\":{\"message\":\"m\",\"code\":\"a\\u0000\\u001b\\ud800\xff\\n\"}}\n\n";
    let (_, row) = pair.pass(&[error]);
    assert_eq!(row.outcome.as_str(), "upstream_error");
    let log = pair.gateway.logged("upstream_error");
    assert!(log.chars().all(|letter| letter == '\n' || !letter.is_control()), "{log:?}");
}
