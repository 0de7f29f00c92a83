//! One flat JSON object, written straight into a buffer: what a general serializer does, without its questions.

use std::fmt::Display;
use std::io::Write as _;

/// An object that is being written; fields stand in the order in which they come. Every field leaves a comma
/// behind it. Names of fields are constants: inlined, they are copied without a call.
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

    /// Ends the object, which has one field at least.
    pub(super) fn close(self) {
        self.to.pop();
        self.to.push(b'}');
    }

    /// Text that needs no escapes, such as a word of ours.
    #[inline]
    pub(super) fn word(&mut self, key: &'static str, word: &str) {
        self.quoted(key, |to| to.extend_from_slice(word.as_bytes()));
    }

    /// Any text.
    #[inline]
    pub(super) fn text(&mut self, key: &'static str, text: &str) {
        self.key(key);
        push_text(self.to, text);
        self.to.push(b',');
    }

    /// What shows itself without characters that need escapes.
    pub(super) fn shown(&mut self, key: &'static str, value: impl Display) {
        self.quoted(key, |to| write!(to, "{value}").expect("a buffer takes everything"));
    }

    /// What `write` writes, in quotation marks; it must need no escapes.
    #[inline]
    pub(super) fn quoted(&mut self, key: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.to.push(b'"');
        write(self.to);
        self.to.extend_from_slice(b"\",");
    }

    /// A count.
    #[inline]
    pub(super) fn number(&mut self, key: &'static str, number: u64) {
        self.key(key);
        push_number(self.to, number);
        self.to.push(b',');
    }

    /// A whole number that may be below zero.
    #[inline]
    pub(super) fn signed(&mut self, key: &'static str, number: i64) {
        self.key(key);
        if number < 0 {
            self.to.push(b'-');
        }
        push_number(self.to, number.unsigned_abs());
        self.to.push(b',');
    }

    /// Yes or no.
    #[inline]
    pub(super) fn flag(&mut self, key: &'static str, flag: bool) {
        self.key(key);
        self.to.extend_from_slice(if flag { b"true," } else { b"false," });
    }

    #[inline]
    fn key(&mut self, key: &'static str) {
        self.to.push(b'"');
        self.to.extend_from_slice(key.as_bytes());
        self.to.extend_from_slice(b"\":");
    }
}

fn push_text(to: &mut Vec<u8>, text: &str) {
    // without a way out of the loop, many bytes are looked at at once
    if text.bytes().fold(true, |is_plain, byte| is_plain & stands_for_itself(byte)) {
        to.push(b'"');
        to.extend_from_slice(text.as_bytes());
        to.push(b'"');
    } else {
        serde_json::to_writer(to, text).expect("a buffer takes everything, and text is JSON");
    }
}

const fn stands_for_itself(byte: u8) -> bool {
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

/// Sixteen hexadecimal digits.
pub(super) fn push_hex(to: &mut Vec<u8>, number: u64) {
    let digits: [u8; 16] = std::array::from_fn(|place| {
        let digit = (number >> (60 - 4 * place)) & 0xf;
        b"0123456789abcdef"[usize::try_from(digit).expect("four bits fit")]
    });
    to.extend_from_slice(&digits);
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
