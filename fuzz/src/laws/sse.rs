//! Events are the same however the bytes are cut, and the same as those of a reader that is as simple as the
//! standard's own text.

use crate::dialect::sse::{Event, MAX_EVENT, Reader};
use crate::input::Input;

/// Longer names are cut off; the reference does not.
const LONGEST_NAME: usize = 128;

#[derive(Debug, PartialEq, Eq)]
struct Owned {
    name: Vec<u8>,
    data: Vec<u8>,
    clipped: bool,
}

/// Panics where the law is broken.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else { return };
    let whole = read([input.payload]);
    assert_eq!(read(input.sliced(input.payload)), whole, "cutting changed the events");
    if input.payload.len() <= MAX_EVENT {
        assert_eq!(reference(input.payload), whole, "the standard reads other events");
    }
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
    let mut events = Vec::new();
    let mut note = |event: Event<'_>| {
        events.push(Owned { name: event.name.into(), data: event.data.into(), clipped: event.clipped });
    };
    let mut reader = Reader::new();
    for piece in pieces {
        reader.push(piece, &mut note);
    }
    reader.finish(&mut note);
    events
}

/// WHATWG, "interpreting an event stream", of which an end of the stream ends the last event, too.
fn reference(bytes: &[u8]) -> Vec<Owned> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut events = Vec::new();
    let (mut name, mut data) = (Vec::new(), Vec::new());
    let mut end = |name: &mut Vec<u8>, data: &mut Vec<&[u8]>| {
        let lines = std::mem::take(data);
        let name = std::mem::take(name);
        if !lines.is_empty() {
            events.push(Owned { name, data: lines.join(&b'\n'), clipped: false });
        }
    };
    for line in lines(bytes) {
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            _ if line.is_empty() => end(&mut name, &mut data),
            b"data" => data.push(value),
            b"event" => name = value[..value.len().min(LONGEST_NAME)].to_vec(),
            _ => {}
        }
    }
    end(&mut name, &mut data);
    events
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        lines.push(&rest[..at]);
        let length = if rest[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[at + length..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}
