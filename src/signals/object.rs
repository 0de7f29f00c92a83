//! One flat JSON object, written straight into a buffer: what a general serializer does, without its questions.

use std::fmt::Display;
use std::io::Write as _;

/// An object that is being written; fields stand in the order in which they come.
#[derive(Debug)]
pub(super) struct Object<'a> {
    to: &'a mut Vec<u8>,
}

impl<'a> Object<'a> {
    /// Begins the object.
    pub(super) fn open(to: &'a mut Vec<u8>) -> Self {
        to.push(b'{');
        Self { to }
    }

    /// Ends the object.
    pub(super) fn close(self) {
        self.to.push(b'}');
    }

    /// Text that needs no escapes: a word of ours.
    pub(super) fn word(&mut self, key: &'static str, word: &'static str) {
        self.quoted(key, |to| to.extend_from_slice(word.as_bytes()));
    }

    /// Any text.
    pub(super) fn text(&mut self, key: &'static str, text: &str) {
        if text.bytes().all(is_plain) {
            self.quoted(key, |to| to.extend_from_slice(text.as_bytes()));
        } else {
            self.key(key);
            serde_json::to_writer(&mut *self.to, text).expect("a buffer takes everything, and text is JSON");
        }
    }

    /// What shows itself without characters that need escapes.
    pub(super) fn shown(&mut self, key: &'static str, value: impl Display) {
        self.quoted(key, |to| write!(to, "{value}").expect("a buffer takes everything"));
    }

    /// What `write` writes, in quotation marks; it must need no escapes.
    pub(super) fn quoted(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.to.push(b'"');
        write(self.to);
        self.to.push(b'"');
    }

    /// A count.
    pub(super) fn number(&mut self, key: &'static str, number: u64) {
        self.key(key);
        push_number(self.to, number);
    }

    /// A whole number that may be below zero.
    pub(super) fn signed(&mut self, key: &'static str, number: i64) {
        self.key(key);
        if number < 0 {
            self.to.push(b'-');
        }
        push_number(self.to, number.unsigned_abs());
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &'static str, flag: bool) {
        self.key(key);
        self.to.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    fn key(&mut self, key: &'static str) {
        if self.to.last() != Some(&b'{') {
            self.to.push(b',');
        }
        self.to.push(b'"');
        self.to.extend_from_slice(key.as_bytes());
        self.to.extend_from_slice(b"\":");
    }
}

/// Whether a byte stands for itself in a JSON string.
const fn is_plain(byte: u8) -> bool {
    byte >= b' ' && byte != b'"' && byte != b'\\'
}

fn push_number(to: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(rest % 10).expect("a digit fits");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    proptest::proptest! {
        #[test]
        fn every_value_reads_back(text in ".*", count: u64, number: i64, flag: bool) {
            let mut line = Vec::new();
            let mut object = Object::open(&mut line);
            object.text("text", &text);
            object.number("count", count);
            object.signed("number", number);
            object.flag("flag", flag);
            object.word("word", "off");
            object.shown("shown", 7);
            object.close();
            let theirs = json!({ "text": text, "count": count, "number": number, "flag": flag, "word": "off", "shown": "7" });
            proptest::prop_assert_eq!(String::from_utf8(line).unwrap(), theirs.to_string());
        }
    }
}
