//! One record as bytes in a segment: marker, length, checksum, kind, body. How to know a whole one.
//!
//! ```text
//! 4 marker | 4 body length, little endian | 4 CRC-32 of length, kind and body | 1 kind | body
//! ```
//! The marker lets a reader find its way again behind damage; the checksum tells damage from data.

use memchr::memmem;

/// Which half of a request's story a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Written before the upstream is asked.
    Intent,
    /// Written at the end; final.
    Outcome,
}

/// Bytes before the body.
pub(super) const HEAD: usize = 13;

/// Longest body; what claims more is damage. The codec's own limits keep records far below.
pub(super) const LONGEST_BODY: usize = 2 << 20;

/// What the bytes at a place turn out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look<'b> {
    /// A whole record.
    Whole { kind: Kind, body: &'b [u8] },
    /// The beginning of what may be one: look again with at least this many bytes.
    Needs(usize),
    /// Not a record.
    Damaged,
}

/// Appends a frame of `kind` around the body that `write` appends.
pub(super) fn append(frames: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
    let begin = frames.len();
    frames.extend_from_slice(&[0; HEAD]);
    write(frames);
    let frame = &mut frames[begin..];
    let length =
        u32::try_from(frame.len() - HEAD).expect("the codec bounds a body far below 4 GiB").to_le_bytes();
    frame[..4].copy_from_slice(&MARKER);
    frame[4..8].copy_from_slice(&length);
    frame[12] = code(kind);
    let checksum = checksum(&length, &frame[12..]);
    frame[8..12].copy_from_slice(&checksum);
}

/// What the beginning of `bytes` is.
pub(super) fn look(bytes: &[u8]) -> Look<'_> {
    let Some(head) = bytes.first_chunk::<HEAD>() else {
        let begun = bytes.len().min(MARKER.len());
        return if bytes[..begun] == MARKER[..begun] { Look::Needs(HEAD) } else { Look::Damaged };
    };
    let length = [head[4], head[5], head[6], head[7]];
    let body = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if head[..4] != MARKER || body > LONGEST_BODY {
        return Look::Damaged;
    }
    let Some(rest) = bytes.get(12..HEAD + body) else {
        return Look::Needs(HEAD + body);
    };
    match kind(head[12]) {
        Some(kind) if checksum(&length, rest) == head[8..12] => Look::Whole { kind, body: &rest[1..] },
        _ => Look::Damaged,
    }
}

/// How far behind the beginning of `bytes` the next marker stands.
pub(super) fn next_marker(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes.get(1..)?, &MARKER).map(|found| found + 1)
}

/// Not text, not zeros: unlikely inside a record or in a block that a disk returns by mistake.
const MARKER: [u8; 4] = [0xA7, b'T', b'G', 0xE1];

fn checksum(length: &[u8; 4], rest: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(length);
    crc.update(rest);
    crc.finalize().to_le_bytes()
}

const fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Intent => 1,
        Kind::Outcome => 2,
    }
}

const fn kind(code: u8) -> Option<Kind> {
    match code {
        1 => Some(Kind::Intent),
        2 => Some(Kind::Outcome),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_whole_or_not_at_all() {
        let mut frame = Vec::new();
        append(&mut frame, Kind::Outcome, |body| body.extend_from_slice(b"hello"));
        assert_eq!(look(&frame), Look::Whole { kind: Kind::Outcome, body: b"hello" });
        for cut in 0..frame.len() {
            assert!(matches!(look(&frame[..cut]), Look::Needs(_)), "cut at {cut}");
        }
        for place in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[place] ^= 0x10;
            assert!(!matches!(look(&damaged), Look::Whole { .. }), "flipped at {place}");
        }
    }

    #[test]
    fn the_next_marker_is_found_behind_damage() {
        let mut frame = Vec::new();
        append(&mut frame, Kind::Intent, |body| body.push(1));
        let bytes = [&frame[..5], &frame[..]].concat();
        assert_eq!(next_marker(&bytes), Some(5));
        assert_eq!(next_marker(&frame), None);
    }
}
