//! The end of a stream that no budget pays for any more: the event under way is finished, one error event
//! follows, and no good end does.

use bytes::Bytes;
use memchr::memchr2;

use crate::dialect::path::Operation;
use crate::proxy::error::Refusal;
use crate::proxy::exchange::Books;

/// The last bytes that a client got: they tell where in an event it stands. A stream begins between two events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail([u8; 3]);

impl Default for Tail {
    fn default() -> Self {
        Self(*b"\n\n\n")
    }
}

impl Tail {
    /// Takes note of what goes out.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        let Self(last) = self;
        let fresh = &bytes[bytes.len().saturating_sub(last.len())..];
        last.rotate_left(fresh.len());
        let kept = last.len() - fresh.len();
        last[kept..].copy_from_slice(fresh);
    }

    fn place(self) -> Place {
        let [first, second, last] = self.0;
        let ends_line = |byte| byte == b'\n' || byte == b'\r';
        // CRLF is one end of a line
        let before = if [second, last] == *b"\r\n" { first } else { second };
        Place {
            in_line: !ends_line(last),
            in_event: !(ends_line(last) && ends_line(before)),
            after_cr: last == b'\r',
        }
    }

    /// What `bytes` begin with until the event under way has ended: nothing between two events, `None` if
    /// it does not end there.
    fn rest_of_event(self, bytes: &[u8]) -> Option<usize> {
        let (mut place, mut at) = (self.place(), 0);
        while place.in_line || place.in_event {
            at += place.line(&bytes[at..])?;
        }
        let is_split = place.after_cr && bytes.get(at) == Some(&b'\n');
        Some(at + usize::from(is_split))
    }
}

/// A place in a stream of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    /// Whether the line under way has bytes.
    in_line: bool,
    /// Whether the event under way has lines.
    in_event: bool,
    /// The last byte was a CR; a LF after it belongs to it.
    after_cr: bool,
}

impl Place {
    /// Reads one line, or what there is of it; answers where it ended.
    fn line(&mut self, bytes: &[u8]) -> Option<usize> {
        if bytes.is_empty() {
            return None;
        }
        let skipped = usize::from(std::mem::take(&mut self.after_cr) && bytes.first() == Some(&b'\n'));
        let line = &bytes[skipped..];
        let Some(length) = memchr2(b'\n', b'\r', line) else {
            self.in_line |= !line.is_empty();
            self.in_event |= self.in_line;
            return None;
        };
        let is_blank = length == 0 && !self.in_line;
        self.in_line = false;
        self.in_event = !is_blank;
        self.after_cr = line[length] == b'\r';
        Some(skipped + length + 1)
    }
}

/// What still goes to the client of a stream that is cut before `held_back`.
pub(super) fn last_words(books: &Books, tail: Tail, held_back: &Bytes, refusal: &Refusal) -> Vec<Bytes> {
    // an event that does not end in what has come cannot be followed by another
    let Some(rest) = tail.rest_of_event(held_back).filter(|_| speaks_events(books)) else {
        return Vec::new();
    };
    let frame = refusal.frame(books.endpoint.operation, books.id);
    [held_back.slice(..rest), frame].into_iter().filter(|piece| !piece.is_empty()).collect()
}

/// Whether clients of this operation understand an error among the events of its stream.
fn speaks_events(books: &Books) -> bool {
    let understands = matches!(
        books.endpoint.operation,
        Operation::ChatCompletions | Operation::Completions | Operation::Responses | Operation::Messages
    );
    understands && books.record.stream
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(sent: &str, next: &str) -> Option<usize> {
        let mut tail = Tail::default();
        // byte by byte, as the worst upstream writes
        for byte in sent.as_bytes().chunks(1) {
            tail.note(byte);
        }
        let mut at_once = Tail::default();
        at_once.note(sent.as_bytes());
        assert_eq!(tail.rest_of_event(next.as_bytes()), at_once.rest_of_event(next.as_bytes()), "{sent:?}");
        tail.rest_of_event(next.as_bytes())
    }

    #[test]
    fn the_last_bytes_tell_the_place_that_reading_all_of_them_tells() {
        for number in 0..3_usize.pow(8) {
            let stream: Vec<u8> = (0..8).map(|digit| b"a\r\n"[number / 3_usize.pow(digit) % 3]).collect();
            for end in 0..=stream.len() {
                let (mut tail, mut read, mut at) = (Tail::default(), Place::default(), 0);
                tail.note(&stream[..end / 2]);
                tail.note(&stream[end / 2..end]);
                while let Some(length) = read.line(&stream[at..end]) {
                    at += length;
                }
                assert_eq!(tail.place(), read, "{:?}", &stream[..end]);
            }
        }
    }

    #[test]
    fn between_two_events_nothing_is_left_of_either() {
        for end in ["\n\n", "\r\n\r\n", "\r\r"] {
            assert_eq!(rest(&format!("data: a{end}"), "data: b\n\n"), Some(0), "{end:?}");
        }
        assert_eq!(rest("", "data: a\n\n"), Some(0));
    }

    #[test]
    fn an_event_under_way_is_finished() {
        assert_eq!(rest("data: a", "bc\n\ndata: d\n\n"), Some(4));
        assert_eq!(rest("data: a\n", "\ndata: d\n\n"), Some(1));
        assert_eq!(rest("data: a\r\n\r", "\ndata: d\n\n"), Some(1));
        assert_eq!(rest("data: a\r", "\n\r\ndata: d"), Some(3));
        assert_eq!(rest("event: x\n", "data: y\r\n\r\n"), Some(11));
    }

    #[test]
    fn an_event_whose_end_has_not_come_stays_open() {
        assert_eq!(rest("data: a", "bcd"), None);
        assert_eq!(rest("data: a\n", "data: b\n"), None);
    }
}
