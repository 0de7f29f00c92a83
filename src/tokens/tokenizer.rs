//! Counts the tokens of a text with a bound on time, and without a panic whatever the text is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Encoding;
use crate::dialect::outline::PromptOutline;

/// A count, and how far to trust it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// How many.
    pub tokens: u64,
    /// Whether the model's own vocabulary cut the whole text.
    pub exact: bool,
}

/// Counts by the vocabulary of a model. It is empty itself: vocabularies load at first use and stay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tokenizer;

/// Text beyond this is not cut but extrapolated: at 4 MB/s this much takes a quarter of a second.
const MAX_TEXT: usize = 1024 * 1024;

/// Longest piece handed over at once. A megabyte of spaces overflows the regex engine of tiktoken-rs
/// 0.12 (WIRE 3.3), and one word is merged in more than linear time; at this size both are harmless.
const MAX_PIECE: usize = 16 * 1024;

/// How far back from the end of a piece a word boundary is looked for.
const BOUNDARY_WINDOW: usize = 1024;

/// Bytes per token of the cheap estimate; English and code have 3.7 to 4.9 (WIRE 3.3).
const ROUGH_BYTES_PER_TOKEN: u64 = 4;

impl Tokenizer {
    /// Counts the tokens of `text` as `model` would see it. Special tokens in it count as plain text.
    #[must_use]
    pub fn count(&self, model: &str, text: &str) -> Count {
        let (encoding, known) = Encoding::of(model);
        let counted = &text[..text.floor_char_boundary(MAX_TEXT)];
        let Some(tokens) = count_pieces(encoding, counted) else {
            return Count { tokens: rough(text.len()), exact: false };
        };
        if counted.len() == text.len() {
            return Count { tokens, exact: known };
        }
        Count { tokens: extrapolate(tokens, counted.len(), text.len()), exact: false }
    }

    /// Counts a prompt: its texts one by one up to the same limit in all, its fixed tokens, and a rough
    /// share for what was skipped.
    #[must_use]
    pub fn count_prompt(&self, model: &str, prompt: &PromptOutline) -> Count {
        let mut exact = prompt.is_exact;
        let (mut tokens, mut counted, mut all) = (0_u64, 0, 0);
        for text in &prompt.texts {
            all += text.len();
            if counted < MAX_TEXT {
                let part = &text[..text.floor_char_boundary(MAX_TEXT - counted)];
                let count = self.count(model, part);
                tokens = tokens.saturating_add(count.tokens);
                exact &= count.exact;
                counted += part.len();
            }
        }
        let shown = if counted == all { tokens } else { extrapolate(tokens, counted, all) };
        let rest = prompt.fixed_tokens.saturating_add(rough(prompt.skipped_bytes));
        Count { tokens: shown.saturating_add(rest), exact: exact && counted == all }
    }

    /// Loads the vocabulary of `model` now, so that no request waits for it.
    pub fn warm(&self, model: &str) {
        Encoding::of(model).0.load();
    }
}

/// The cheap estimate of the tokens in `bytes` bytes of text.
#[must_use]
pub const fn rough(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(ROUGH_BYTES_PER_TOKEN)
}

/// `None` if the tokenizer gave up on a piece.
fn count_pieces(encoding: Encoding, text: &str) -> Option<u64> {
    let vocabulary = encoding.load();
    let mut tokens: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece_end(rest));
        tokens += catch_unwind(AssertUnwindSafe(|| vocabulary.count_ordinary(piece))).ok()? as u64;
        rest = after;
    }
    Some(tokens)
}

/// Where to cut: before a space between two letters, where every vocabulary cuts anyway, so that the
/// sum of the pieces is the count of the whole; in a text without one, at the limit.
fn piece_end(text: &str) -> usize {
    if text.len() <= MAX_PIECE {
        return text.len();
    }
    let bytes = text.as_bytes();
    (MAX_PIECE - BOUNDARY_WINDOW..MAX_PIECE)
        .rev()
        .find(|&at| {
            bytes[at] == b' ' && bytes[at - 1].is_ascii_alphabetic() && bytes[at + 1].is_ascii_alphabetic()
        })
        .unwrap_or_else(|| text.floor_char_boundary(MAX_PIECE))
}

fn extrapolate(tokens: u64, counted: usize, all: usize) -> u64 {
    let scaled = (u128::from(tokens) * all as u128).div_ceil(counted.max(1) as u128);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
