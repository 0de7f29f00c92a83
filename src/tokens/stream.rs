//! Counts a text that comes in parts: what cannot change any more is counted once and let go, so that each count
//! costs the new text only and the sum is that of the whole text, however it was sliced (WIRE 3.3).

use super::boundary::last_boundary;
use super::tokenizer::{count_pieces, text_grounds};
use super::{Count, Encoding, rough};
use crate::dialect::grounds::{Ground, Grounds};

/// The count of one text under way.
#[derive(Debug, Clone)]
pub struct StreamCount {
    encoding: Encoding,
    /// Tokens of what was let go.
    committed: u64,
    /// What the next characters may still change.
    tail: String,
    /// Tokens of the tail, if it was counted as it is.
    of_tail: Option<u64>,
    grounds: Grounds,
    /// What text of the model rests on.
    own: Grounds,
}

/// Text that waits to be counted, at most: more is counted as it comes.
const BATCH: usize = 16 * 1024;

/// A run without a boundary is cut here: it would be counted again and again.
const LONGEST_TAIL: usize = 4 * 1024;

impl StreamCount {
    /// Begins the count of a text of `model`.
    #[must_use]
    pub fn new(model: &str) -> Self {
        let (encoding, own) = (Encoding::of(model).0, text_grounds(model));
        Self {
            encoding,
            committed: 0,
            tail: String::new(),
            of_tail: Some(0),
            grounds: Grounds::default(),
            own,
        }
    }

    /// Takes in what comes next.
    pub fn push(&mut self, mut text: &str) {
        while !text.is_empty() {
            // a tail is shorter than a batch, so there is always room
            let (part, rest) =
                text.split_at(text.floor_char_boundary(BATCH.max(4 + self.tail.len()) - self.tail.len()));
            self.tail.push_str(part);
            self.of_tail = None;
            self.grounds = self.grounds.with(self.own);
            if !rest.is_empty() {
                self.commit();
            }
            text = rest;
        }
    }

    /// The tokens of all that was taken in, as if it ended here.
    pub fn count(&mut self) -> Count {
        let of_tail = match self.of_tail {
            Some(tokens) => tokens,
            None => {
                self.commit();
                let tokens = self.tokens_of(self.tail.len());
                self.of_tail = Some(tokens);
                tokens
            }
        };
        Count { tokens: self.committed.saturating_add(of_tail), grounds: self.grounds }
    }

    /// Counts and lets go what nothing can change any more, and a tail that has grown too long.
    fn commit(&mut self) {
        let end = match last_boundary(&self.tail, 0) {
            Some(end) => end,
            None if self.tail.len() <= LONGEST_TAIL => return,
            None => 0,
        };
        // what stands behind the last boundary may be too long, too
        let is_run = self.tail.len() - end > LONGEST_TAIL;
        let end = if is_run { self.tail.len() } else { end };
        if is_run {
            self.grounds.add(Ground::Run);
        }
        self.committed = self.committed.saturating_add(self.tokens_of(end));
        self.tail.drain(..end);
    }

    fn tokens_of(&mut self, end: usize) -> u64 {
        match count_pieces(self.encoding, &self.tail[..end]) {
            Some((tokens, _)) => tokens,
            None => {
                self.grounds.add(Ground::Bytes);
                rough(end)
            }
        }
    }
}
