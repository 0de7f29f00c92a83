//! Reads lines of JSON from bytes that are cut anywhere. It finds lines; it does not know what is in them.

use memchr::memchr;

use super::kept::Kept;
use super::sse::TAIL;

/// The most bytes of one line that are kept: an answer with some images in it. Of a longer one only the tail is.
const MAX_LINE: usize = 4 << 20;

/// A line, without its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    /// It was longer than is kept; `text` is its end.
    pub(super) is_clipped: bool,
}

/// An incremental reader of lines with bounded memory.
#[derive(Debug)]
pub(super) struct Lines {
    /// A line whose end has not come.
    open: Kept,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { open: Kept::new(MAX_LINE, TAIL) }
    }

    /// Takes in the next bytes, and tells of each line that they end.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            self.open.extend(&bytes[..end]);
            self.end(&mut each);
            bytes = &bytes[end + 1..];
        }
        self.open.extend(bytes);
    }

    /// The last line may have no end.
    pub(super) fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        self.end(&mut each);
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn end(&mut self, each: &mut impl FnMut(Line<'_>)) {
        let text = self.open.bytes().trim_ascii();
        if !text.is_empty() {
            each(Line { text, is_clipped: self.open.is_clipped() });
        }
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::super::slices::{cuts, sliced};
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let (mut lines, mut seen) = (Lines::new(), Vec::new());
        let mut note = |line: Line<'_>| seen.push((line.text.to_vec(), line.is_clipped));
        for piece in pieces {
            lines.push(piece, &mut note);
        }
        lines.finish(&mut note);
        seen
    }

    #[test]
    fn lines_end_in_either_way_and_the_last_in_none() {
        let whole = |text: &str| (text.as_bytes().to_vec(), false);
        assert_eq!(read(&[b"{}\r\n\n  [1]\n{\"a\":2}"]), [whole("{}"), whole("[1]"), whole("{\"a\":2}")]);
        assert_eq!(read(&[]), []);
    }

    #[test]
    fn of_a_line_without_end_only_the_tail_is_kept() {
        let long = vec![b'x'; MAX_LINE + 2];
        let told = read(&[&long, b"end\n{}\n"]);
        assert_eq!((told.len(), told[0].1, told[0].0.len()), (2, true, TAIL));
        assert!(told[0].0.ends_with(b"xend"));
        assert_eq!(told[1], (b"{}".to_vec(), false));
    }

    proptest! {
        #[test]
        fn however_they_are_cut_the_lines_are_the_same(text in "[a{}\n\r ]{0,60}", cuts in cuts()) {
            prop_assert_eq!(read(&sliced(text.as_bytes(), &cuts)), read(&[text.as_bytes()]));
        }
    }
}
