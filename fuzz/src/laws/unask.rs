//! What is taken out of a stream is what asking put in: cutting changes nothing, a stream without the word
//! passes as it is, and what an upstream adds for the asking goes again to the byte.

use bytes::Bytes;
use serde_json::Value;

use crate::dialect::unask::Unask;
use crate::input::Input;

/// Panics where the law is broken.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else { return };
    let whole = unasked([input.payload]);
    assert_eq!(unasked(input.sliced(input.payload)), whole, "cutting changed the bytes");
    if !input.payload.windows(7).any(|word| word == b"\"usage\"") {
        assert_eq!(whole, input.payload, "bytes were taken that nobody asked for");
    }
    let (plain, asked) = told(&input);
    assert_eq!(unasked(input.sliced(&asked)), plain, "not the bytes that nobody asked for");
}

fn unasked<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut unask = Unask::new();
    let mut out = Vec::new();
    for piece in pieces {
        unask.push(Bytes::copy_from_slice(piece), &mut out);
    }
    unask.finish(&mut out);
    out.concat()
}

/// The lines of the payload as a stream, as it is unasked and as it is when usage was asked for.
fn told(input: &Input<'_>) -> (Vec<u8>, Vec<u8>) {
    let end = *input.pick(1, &["\n\n", "\r\n\r\n", "\r\r", "\n: a comment\n\n"]);
    let (mut plain, mut asked) = (Vec::new(), Vec::new());
    for (number, line) in input.payload.split(|byte| matches!(byte, b'\r' | b'\n')).enumerate() {
        let name = if input.choice(2) & 1 == 1 { "event: e\n" } else { "" };
        let event = |json: &[u8]| [name.as_bytes(), b"data: ", json, end.as_bytes()].concat();
        if line.windows(7).any(|word| word == b"\"usage\"") {
            continue;
        }
        plain.extend(event(line));
        match with_null(line, input.choice(3) + number) {
            Some(with_null) => asked.extend(event(&with_null)),
            None => asked.extend(event(line)),
        }
    }
    asked
        .extend_from_slice(b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}");
    asked.extend_from_slice(end.as_bytes());
    plain.extend_from_slice(b"data: [DONE]");
    asked.extend_from_slice(b"data: [DONE]");
    (plain, asked)
}

/// The chunk with `"usage":null` at its front or end, if it is one that has choices.
fn with_null(line: &[u8], place: usize) -> Option<Vec<u8>> {
    let chunk: Value = serde_json::from_slice(line).ok()?;
    let choices = chunk.as_object()?.get("choices")?;
    if choices.as_array().is_none_or(Vec::is_empty) || is_ambiguous(line) {
        return None;
    }
    let (first, last) =
        (line.iter().position(|byte| *byte == b'"')?, line.iter().rposition(|byte| *byte == b'}')?);
    Some(if place & 1 == 0 {
        [&line[..first], b"\"usage\": null, ", &line[first..]].concat()
    } else {
        [&line[..last], b",\"usage\" :null", &line[last..]].concat()
    })
}

/// A key that stands twice, be it in escapes, is for the client to judge: such a chunk stays as it is.
fn is_ambiguous(line: &[u8]) -> bool {
    let keys = line.windows(9).filter(|word| word == b"\"choices\"").count();
    keys > 1 || line.windows(2).any(|pair| pair == b"\\u")
}
