//! Judges one event of a chat stream: what in it is there only because usage was asked for.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// What to do with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// It is the usage chunk.
    Remove,
    /// Take these bytes of it out.
    Cut(Range<usize>),
    /// Nothing: it shows usage beside choices, which nobody gets by asking. The upstream reports by itself,
    /// so its usage chunk is no effect of ours either.
    ReportsItself,
}

/// Judges the raw bytes of an event. What is not plainly a chunk is kept.
pub(super) fn judge(event: &[u8]) -> Verdict {
    let payload = Payload::of(event);
    match members(&payload.json) {
        Some(found) => match found.verdict() {
            Verdict::Cut(cut) => Verdict::Cut(payload.raw(cut)),
            verdict => verdict,
        },
        None => Verdict::Keep,
    }
}

/// The JSON of an event and where in the event its lines were.
struct Payload<'a> {
    json: Cow<'a, [u8]>,
    /// Where in the event the first `data:` line begins.
    first: Option<usize>,
    /// For each further one: where it begins in `json` and where in the event.
    further: Vec<(usize, usize)>,
}

impl<'a> Payload<'a> {
    fn of(event: &'a [u8]) -> Self {
        let mut payload = Self { json: Cow::Borrowed(b""), first: None, further: Vec::new() };
        let mut at = if event.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        while at < event.len() {
            let length = memchr2(b'\n', b'\r', &event[at..]).unwrap_or(event.len() - at);
            let line = &event[at..at + length];
            if let Some(data) = line.strip_prefix(b"data:") {
                let data = data.strip_prefix(b" ").unwrap_or(data);
                payload.add(data, at + length - data.len());
            }
            at += length + 1;
        }
        payload
    }

    fn add(&mut self, data: &'a [u8], at: usize) {
        if self.first.is_none() {
            self.json = Cow::Borrowed(data);
            self.first = Some(at);
            return;
        }
        let json = self.json.to_mut();
        json.push(b'\n');
        self.further.push((json.len(), at));
        json.extend_from_slice(data);
    }

    /// The bytes of the event that hold these bytes of the JSON.
    fn raw(&self, cut: Range<usize>) -> Range<usize> {
        let place = |at: usize| {
            let line = self.further.iter().rev().find(|(begin, _)| *begin <= at);
            line.map_or(self.first.unwrap_or(0) + at, |(begin, raw)| raw + (at - begin))
        };
        // The end is where the last byte is, plus one: the next byte may be in another line. Where the last
        // byte is a line end, what makes the next line one of data goes, too.
        let ends_line = self.further.iter().any(|(begin, _)| *begin == cut.end);
        place(cut.start)..if ends_line { place(cut.end) } else { place(cut.end - 1) + 1 }
    }
}

/// The members of a chunk that matter.
#[derive(Debug, Default)]
struct Found {
    choices_are_empty: bool,
    /// Nothing but the members that every chunk has.
    is_plain: bool,
    usage: Option<Member>,
    /// A key that comes twice: which one counts is for the client to say.
    ambiguous: bool,
}

#[derive(Debug)]
struct Member {
    value: Value,
    /// Its bytes with the comma that goes with it.
    with_comma: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Null,
    Object,
    Other,
}

impl Found {
    fn verdict(self) -> Verdict {
        let Some(usage) = self.usage.filter(|_| !self.ambiguous) else { return Verdict::Keep };
        match usage.value {
            Value::Object if self.choices_are_empty => Verdict::Remove,
            Value::Object => Verdict::ReportsItself,
            // a usage chunk of an upstream that has nothing to report
            Value::Null if self.choices_are_empty && self.is_plain => Verdict::Remove,
            Value::Null => Verdict::Cut(usage.with_comma),
            Value::Other => Verdict::Keep,
        }
    }
}

/// Members that a chunk has whatever it is about (WIRE 1.2).
const PLAIN_KEYS: [&[u8]; 7] =
    [b"id", b"object", b"created", b"model", b"service_tier", b"system_fingerprint", b"obfuscation"];

/// Walks the top level of a JSON object; none if it is not one.
fn members(json: &[u8]) -> Option<Found> {
    let mut found = Found { is_plain: true, ..Found::default() };
    let mut choices_seen = false;
    let mut at = blank(json, 0);
    if json.get(at) != Some(&b'{') {
        return None;
    }
    at = blank(json, at + 1);
    let mut comma = None;
    while json.get(at) != Some(&b'}') {
        let key = at..string_end(json, at)?;
        at = blank(json, key.end);
        if json.get(at) != Some(&b':') {
            return None;
        }
        let value_at = blank(json, at + 1);
        let end = value_end(json, value_at)?;
        let value = &json[value_at..end];
        let next = blank(json, end);
        let more = json.get(next) == Some(&b',');
        let after = if more { blank(json, next + 1) } else { next };
        match &*name(&json[key.clone()]) {
            b"choices" => {
                found.ambiguous |= choices_seen;
                choices_seen = true;
                found.choices_are_empty = is_empty_array(value);
            }
            b"usage" => {
                found.ambiguous |= found.usage.is_some();
                let with_comma = match comma {
                    Some(comma) => comma..end,
                    None => key.start..if more { after } else { end },
                };
                found.usage = Some(Member { value: kind(value), with_comma });
            }
            name => found.is_plain &= PLAIN_KEYS.contains(&name),
        }
        if !more {
            return (json.get(next) == Some(&b'}') && blank(json, next + 1) == json.len()).then_some(found);
        }
        comma = Some(next);
        at = after;
    }
    None
}

/// The name that a key spells.
fn name(key: &[u8]) -> Cow<'_, [u8]> {
    let spelt = if key.contains(&b'\\') { serde_json::from_slice::<String>(key).ok() } else { None };
    match spelt {
        Some(name) => Cow::Owned(name.into_bytes()),
        None => Cow::Borrowed(&key[1..key.len() - 1]),
    }
}

fn kind(value: &[u8]) -> Value {
    match value {
        b"null" => Value::Null,
        [b'{', ..] => Value::Object,
        _ => Value::Other,
    }
}

fn is_empty_array(value: &[u8]) -> bool {
    value.first() == Some(&b'[') && blank(value, 1) + 1 == value.len()
}

/// The first byte from `at` on that is not white space.
fn blank(json: &[u8], at: usize) -> usize {
    let spaces = json[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    at + spaces.count()
}

/// The end of the string that begins at `at`; none if no string does.
pub(super) fn string_end(json: &[u8], at: usize) -> Option<usize> {
    if json.get(at) != Some(&b'"') {
        return None;
    }
    let mut from = at + 1;
    loop {
        let found = from + memchr2(b'"', b'\\', json.get(from..)?)?;
        if json[found] == b'"' {
            return Some(found + 1);
        }
        from = found + 2;
    }
}

/// The end of the value that begins at `at`.
fn value_end(json: &[u8], at: usize) -> Option<usize> {
    match json.get(at)? {
        b'"' => string_end(json, at),
        b'{' | b'[' => nested_end(json, at),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            json[at..].iter().position(ends).map(|length| at + length)
        }
    }
}

fn nested_end(json: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut from = at;
    while let Some(byte) = json.get(from) {
        match byte {
            b'"' => {
                from = string_end(json, from)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(from + 1);
                }
            }
            _ => {}
        }
        from += 1;
    }
    None
}
