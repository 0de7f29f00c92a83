//! A reading is the same however the bytes are cut, it holds no count that nobody could mean, the short way
//! through a chat chunk loses no usage, and an event that is like the one before says what it says alone.

use crate::dialect::meter::{MAX_OUTPUT_TEXT, Meter, Reading};
use crate::dialect::path::Operation;
use crate::input::Input;

/// Content types that decide how a body is read.
pub const CONTENT_TYPES: [&str; 4] =
    ["text/event-stream", "application/json", "Text/Event-Stream; charset=utf-8", "audio/mpeg"];
/// Of answers that are read, and of one that is an error.
pub const STATUSES: [u16; 3] = [200, 500, 206];
/// The most that one count can be (WIRE 2.4); parts are summed, so that some totals are a few times that.
const MOST: u64 = 10_000_000_000;

/// Panics where the law is broken.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else { return };
    let operation = *input.pick(0, &Operation::ALL);
    let (kind, status) = (*input.pick(1, &CONTENT_TYPES), *input.pick(2, &STATUSES));
    let read = |pieces: &[&[u8]]| {
        let mut meter = Meter::new(operation, status, Some(kind), None);
        for piece in pieces {
            meter.observe(piece);
        }
        meter.finish()
    };
    let whole = read(&[input.payload]);
    assert_eq!(read(&input.sliced(input.payload)), whole, "cutting changed the reading");
    bounded(&whole);
    one_by_one(operation, &input);
    if matches!(operation, Operation::ChatCompletions | Operation::Completions) && !input.payload.is_empty() {
        short_way(input.payload);
    }
}

fn bounded(reading: &Reading) {
    let kept = reading.output.len();
    assert!(kept <= MAX_OUTPUT_TEXT && kept as u64 <= reading.output_text_bytes);
    let extra = reading.extra.iter().map(|(_, usage)| usage);
    for usage in reading.usage.iter().chain(extra) {
        let totals = [usage.input_tokens, usage.output_tokens, usage.seconds, usage.web_searches];
        assert!(totals.iter().all(|count| *count <= MOST), "{usage:?}");
        let inputs = usage.cached_input_tokens + usage.cache_write_tokens + usage.cache_write_long_tokens;
        assert!(inputs <= usage.input_tokens, "{usage:?}");
        assert!(usage.reasoning_tokens <= usage.output_tokens, "{usage:?}");
    }
}

/// Each line an event: what one says does not depend on whether the one before looked like it.
fn one_by_one(operation: Operation, input: &Input<'_>) {
    let lines = || input.payload.split(|byte| matches!(byte, b'\r' | b'\n'));
    let read = |between: &[u8]| {
        let mut meter = Meter::new(operation, 200, Some(CONTENT_TYPES[0]), None);
        for line in lines() {
            meter.observe(&[between, b"data: ", line, b"\n\n"].concat());
        }
        Reading { events: 0, ..meter.finish() }
    };
    assert_eq!(read(b""), read(b"data: {}\n\n"), "an event was read by the one before it");
}

/// Once model and id are known, most chunks are read for their choices alone. What else stands in one must
/// not be lost by that.
fn short_way(chunk: &[u8]) {
    let chunk: Vec<u8> = chunk.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let event = [b"data: ", &chunk[..], b"\n\n"].concat();
    let usage_after = |head: &[u8]| {
        let mut meter = Meter::new(Operation::ChatCompletions, 200, Some(CONTENT_TYPES[0]), None);
        meter.observe(head);
        meter.observe(&event);
        let reading = meter.finish();
        (reading.usage, reading.error, reading.malformed)
    };
    let (usage, error, malformed) = usage_after(b"");
    let known = usage_after(b"data: {\"id\":\"a\",\"model\":\"m\"}\n\n");
    if malformed == 0 {
        assert_eq!((known.0, known.1), (usage, error), "the short way lost something");
    }
}
