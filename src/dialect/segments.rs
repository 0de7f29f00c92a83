//! The text of a path: its names as a lenient server sees them, and where they stand.

use std::borrow::Cow;

pub(super) fn has_escaped_slash(path: &str) -> bool {
    path.contains("%2F") || path.contains("%2f")
}

/// One name of a path and where it stands in the raw text.
pub(super) struct Segment<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The names of a path as a lenient server sees them: empty and dot segments resolved, escapes decoded.
pub(super) fn segments(path: &str) -> Vec<Segment<'_>> {
    let mut seen = Vec::with_capacity(8);
    let mut start = 0;
    for raw in path.split('/') {
        let end = start + raw.len();
        let name = percent_decoded(raw);
        match name.as_ref() {
            "" | "." => {}
            ".." => drop(seen.pop()),
            _ => seen.push(Segment { name, start, end }),
        }
        start = end + 1;
    }
    seen
}

pub(super) fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, beyond @ ..]) => {
                let digits = hex(*high).zip(hex(*low));
                bytes.push(digits.map_or(byte, |(high, low)| high << 4 | low));
                if digits.is_some() {
                    rest = beyond;
                }
            }
            _ => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
