//! The chunks of a stream differ in a word, a number and some padding. A stencil is one of them with holes where
//! those stand: what fits it says what that chunk said, but for the word, and need not be parsed.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::cursor::plain;

/// A chunk that was read, and its holes.
#[derive(Debug)]
pub(super) struct Stencil {
    chunk: Vec<u8>,
    /// In order, each with solid bytes on both sides.
    holes: Vec<Hole>,
}

#[derive(Debug)]
struct Hole {
    at: Range<usize>,
    takes: Filling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    /// The word that the chunk is sent for.
    Word,
    /// What its server may write anew each time.
    Padding,
    Number,
}

/// Where the parts of a chunk begin that stand behind the holes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit([usize; MOST_HOLES]);

/// What nobody reads of a chunk in the middle of a stream.
const BESIDE: [(&[u8], Filling); 3] = [
    (b"\"id\":\"", Filling::Padding),
    (b"\"obfuscation\":\"", Filling::Padding),
    (b"\"sequence_number\":", Filling::Number),
];
const MOST_HOLES: usize = BESIDE.len() + 1;
/// A longer chunk is parsed each time.
const LONGEST: usize = if cfg!(fuzzing) { 512 } else { 4 << 10 };
/// Longer numbers are no longer whole to every parser.
const LONGEST_NUMBER: usize = 15;

impl Stencil {
    /// A stencil of a chunk of valid JSON, whose word is this string without its quotes; of no other value, since
    /// what may fill it would be another kind of value.
    pub(super) fn cut(chunk: &[u8], word: Range<usize>) -> Option<Self> {
        let is_quote = |at: usize| chunk.get(at) == Some(&b'"');
        let is_string = is_quote(word.end) && word.start.checked_sub(1).is_some_and(is_quote);
        if chunk.len() > LONGEST || !is_string {
            return None;
        }
        let mut holes = vec![Hole { at: word, takes: Filling::Word }];
        for (name, takes) in BESIDE {
            let Some(start) = memmem::find(chunk, name).map(|at| at + name.len()) else { continue };
            let end = start + takes.length(&chunk[start..])?;
            holes.push(Hole { at: start..end, takes });
        }
        holes.sort_unstable_by_key(|hole| hole.at.start);
        let is_apart = holes.windows(2).all(|pair| pair[0].at.end < pair[1].at.start);
        is_apart.then(|| Self { chunk: chunk.to_vec(), holes })
    }

    /// How another chunk fits; not at all if it differs in anything but its holes.
    pub(super) fn fit(&self, chunk: &[u8]) -> Option<Fit> {
        if chunk.len() > LONGEST {
            return None;
        }
        let mut fit = Fit([0; MOST_HOLES]);
        let (mut solid, mut rest) = (0, chunk);
        for (hole, begin) in self.holes.iter().zip(&mut fit.0) {
            let filled = rest.strip_prefix(&self.chunk[solid..hole.at.start])?;
            rest = &filled[hole.takes.length(filled)?..];
            *begin = chunk.len() - rest.len();
            solid = hole.at.end;
        }
        (rest == &self.chunk[solid..]).then_some(fit)
    }

    /// Where a solid byte of the first chunk stands in the one that fits.
    pub(super) fn place(&self, fit: Fit, at: usize) -> usize {
        let before = self.holes.iter().zip(fit.0).rev().find(|(hole, _)| hole.at.end <= at);
        before.map_or(at, |(hole, begin)| begin + (at - hole.at.end))
    }

    /// The word of the chunk that fits; none if there is none, since then another member may count, or if its escapes
    /// or its bytes are for a full parser to judge.
    pub(super) fn word<'c>(&self, fit: Fit, chunk: &'c [u8]) -> Option<Cow<'c, str>> {
        let (hole, end) = self.holes.iter().zip(fit.0).find(|(hole, _)| hole.takes == Filling::Word)?;
        let start = self.place(fit, hole.at.start - 1) + 1;
        let word = &chunk[start..end];
        if word.is_empty() {
            return None;
        }
        if !word.contains(&b'\\') {
            return std::str::from_utf8(word).ok().map(Cow::Borrowed);
        }
        serde_json::from_slice(&chunk[start - 1..=end]).ok().map(Cow::Owned)
    }
}

impl Filling {
    /// Bytes that fill a hole; nothing if they cannot.
    fn length(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Padding => Some(plain(bytes)),
            Self::Word => word_length(bytes),
            Self::Number => {
                let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let is_whole = digits == 1 || (1..=LONGEST_NUMBER).contains(&digits) && bytes[0] != b'0';
                is_whole.then_some(digits)
            }
        }
    }
}

fn word_length(bytes: &[u8]) -> Option<usize> {
    let mut length = plain(bytes);
    while bytes.get(length) == Some(&b'\\') {
        // a line may end behind a backslash, and the event with it
        if bytes.get(length + 1)? < &0x20 {
            return None;
        }
        length += 2;
        length += plain(&bytes[length..]);
    }
    Some(length)
}
