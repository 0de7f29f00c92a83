//! Walks JSON that is written in the usual way, in one pass and without a tree. What is not - a fault, a name with
//! escapes, a depth that nobody uses - is answered with `None`, and a full parser has the word.

use std::borrow::Cow;

use serde::Deserialize;

/// A place in a JSON text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// A string, as it is written between its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    inner: &'a str,
    /// Bytes that its escapes take beyond what they stand for.
    surplus: usize,
}

/// Bodies nest a handful of levels; a full parser stops at 128.
const DEEPEST: usize = 64;

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The first byte of what comes next, behind white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// Walks an object: `each` is told of every member, with its value ahead, which it has to walk.
    pub(super) fn object(&mut self, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.open(b'{')?;
        let mut more = self.peek()? != b'}';
        while more {
            let name = self.string()?;
            if name.surplus > 0 {
                return None;
            }
            self.take(b':')?;
            each(self, name.inner)?;
            more = self.more(b'}')?;
        }
        self.close()
    }

    /// Walks an array: `each` is told of every element, which is ahead and which it has to walk.
    pub(super) fn array(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.open(b'[')?;
        let mut more = self.peek()? != b']';
        while more {
            each(self)?;
            more = self.more(b']')?;
        }
        self.close()
    }

    /// Walks any value.
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(|cursor, _| cursor.skip()),
            b'[' => self.array(Self::skip),
            b'n' => self.word("null"),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            _ => self.number().map(drop),
        }
    }

    /// Whether a `null` comes next, which is then passed.
    pub(super) fn is_null(&mut self) -> Option<bool> {
        match self.peek()? {
            b'n' => self.word("null").map(|()| true),
            _ => Some(false),
        }
    }

    /// Walks any value, which a full parser takes for a `T`.
    pub(super) fn parsed<T: Deserialize<'a>>(&mut self) -> Option<T> {
        serde_json::from_str(self.raw(Self::skip)?).ok()
    }

    /// The text of what `walk` walks.
    pub(super) fn raw(&mut self, walk: impl FnOnce(&mut Self) -> Option<()>) -> Option<&'a str> {
        self.peek()?;
        let from = self.at;
        walk(self)?;
        Some(&self.text[from..self.at])
    }

    pub(super) fn string(&mut self) -> Option<Written<'a>> {
        self.take(b'"')?;
        let (from, bytes) = (self.at, &self.text.as_bytes()[self.at..]);
        let length = plain(bytes);
        let (length, surplus) = match bytes.get(length)? {
            b'"' => (length, 0),
            _ => escaped(bytes, length)?,
        };
        self.at += length + 1;
        Some(Written { inner: &self.text[from..from + length], surplus })
    }

    pub(super) fn number(&mut self) -> Option<&'a str> {
        self.peek()?;
        let rest = &self.text.as_bytes()[self.at..];
        let mut end = usize::from(rest[0] == b'-');
        let whole = digits(&rest[end..]);
        if whole == 0 || (whole > 1 && rest[end] == b'0') {
            return None;
        }
        end += whole;
        if rest.get(end) == Some(&b'.') {
            let part = digits(&rest[end + 1..]);
            end += 1 + part;
            (part > 0).then_some(())?;
        }
        if let Some(b'e' | b'E') = rest.get(end) {
            end += 1 + usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
            let power = digits(rest.get(end..)?);
            end += power;
            (power > 0).then_some(())?;
        }
        let number = &self.text[self.at..self.at + end];
        self.at += end;
        Some(number)
    }

    /// One of `null`, `true` and `false`.
    pub(super) fn word(&mut self, word: &str) -> Option<()> {
        self.peek()?;
        self.text.as_bytes()[self.at..].starts_with(word.as_bytes()).then_some(())?;
        self.at += word.len();
        Some(())
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then_some(())?;
        self.at += 1;
        Some(())
    }

    fn open(&mut self, byte: u8) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEEPEST).then_some(())?;
        self.take(byte)
    }

    #[expect(clippy::unnecessary_wraps, reason = "the end of a walk that may fail")]
    fn close(&mut self) -> Option<()> {
        self.depth -= 1;
        self.at += 1;
        Some(())
    }

    /// Whether another member or element follows; `last` closes them.
    fn more(&mut self, last: u8) -> Option<bool> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Some(true)
            }
            byte => (byte == last).then_some(false),
        }
    }
}

impl<'a> Written<'a> {
    /// Bytes of what it says.
    pub(super) const fn len(&self) -> usize {
        self.inner.len() - self.surplus
    }

    /// What it says.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        if self.surplus == 0 {
            return Some(Cow::Borrowed(self.inner));
        }
        serde_json::from_str(&format!("\"{}\"", self.inner)).ok().map(Cow::Owned)
    }

    /// The same, if it is written without escapes.
    pub(super) fn as_plain(&self) -> Option<&'a str> {
        (self.surplus == 0).then_some(self.inner)
    }
}

/// Fills a place that no member has filled; one that stands twice is for a full parser.
pub(super) fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Bytes of an escape, and bytes of the character that it stands for. A surrogate without its other half stands
/// for none.
fn escape(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some((2, 1)),
        b'u' => match unit(bytes.get(2..6)?)? {
            0..0x80 => Some((6, 1)),
            0x80..0x800 => Some((6, 2)),
            0xd800..0xdc00 => {
                let second = bytes.get(6..12)?.strip_prefix(b"\\u")?;
                (0xdc00..0xe000).contains(&unit(second)?).then_some((12, 4))
            }
            0xdc00..0xe000 => None,
            _ => Some((6, 3)),
        },
        _ => None,
    }
}

fn unit(hex: &[u8]) -> Option<u32> {
    hex.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// Bytes of a string that goes on with an escape at `length`, and those that its escapes take beyond their meaning.
fn escaped(bytes: &[u8], mut length: usize) -> Option<(usize, usize)> {
    let mut surplus = 0;
    while bytes.get(length)? == &b'\\' {
        let (written, meant) = escape(&bytes[length..])?;
        length += written;
        surplus += written - meant;
        length += plain(&bytes[length..]);
    }
    (bytes[length] == b'"').then_some((length, surplus))
}

/// Bytes up to the next quote, backslash or control character.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks();
    for (place, word) in words.iter().take(SHORT / 8).enumerate() {
        let ends = ends_in(u64::from_le_bytes(*word));
        if ends != 0 {
            return place * 8 + (ends.trailing_zeros() / 8) as usize;
        }
    }
    let at = (words.len() * 8).min(SHORT);
    at + plain_long(&bytes[at..])
}

/// Most strings are shorter.
const SHORT: usize = 32;

fn plain_long(bytes: &[u8]) -> usize {
    let at = plain_blocks(bytes);
    let (words, rest) = bytes[at..].as_chunks();
    for (place, word) in words.iter().enumerate() {
        let ends = ends_in(u64::from_le_bytes(*word));
        if ends != 0 {
            return at + place * 8 + (ends.trailing_zeros() / 8) as usize;
        }
    }
    at + words.len() * 8 + rest.iter().take_while(|byte| !is_end(**byte)).count()
}

/// The same in whole blocks, which are looked at 16 bytes or more at a time.
fn plain_blocks(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<64>();
    let is_plain = |block: &&[u8; 64]| !block.iter().fold(false, |ends, byte| ends | is_end(*byte));
    blocks.iter().take_while(is_plain).count() * 64
}

const fn is_end(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// The high bit of the first byte of eight that is an end is set, and no bit below it (after Mycroft).
const fn ends_in(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let quotes = word ^ (ONES * b'"' as u64);
    let quotes = quotes.wrapping_sub(ONES) & !quotes;
    let slashes = word ^ (ONES * b'\\' as u64);
    let slashes = slashes.wrapping_sub(ONES) & !slashes;
    (controls | quotes | slashes) & (ONES << 7)
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
