//! Counts the tokens of a text with a bound on time, and without a panic whatever the text is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Encoding;
use super::boundary::{first_boundary, last_boundary};
use crate::dialect::grounds::{Ground, Grounds};
use crate::dialect::outline::PromptOutline;

/// A count, and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// How many.
    pub tokens: u64,
    /// How far to trust it.
    pub grounds: Grounds,
}

/// Counts by the vocabulary of a model. It is empty itself: vocabularies load at first use and stay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tokenizer;

/// Text beyond this is not cut but extrapolated: at 4 MB/s this much takes a quarter of a second.
const MAX_TEXT: usize = 1024 * 1024;

/// A text is handed over in pieces of about this much, each up to a boundary: a run without one is merged in more
/// than linear time.
const PIECE: usize = 16 * 1024;

/// A run without a boundary is handed over whole up to this: 350 ms at the worst. A megabyte of spaces overflows the
/// regex engine of tiktoken-rs 0.12 (WIRE 3.3).
const LONGEST_RUN: usize = 512 * 1024;

/// Bytes per token of the cheap estimate; English and code have 3.7 to 4.9 (WIRE 3.3).
const ROUGH_BYTES_PER_TOKEN: u64 = 4;

impl Tokenizer {
    /// Counts the tokens of `text` as `model` would see it. Special tokens in it count as plain text.
    #[must_use]
    pub fn count(&self, model: &str, text: &str) -> Count {
        if text.is_empty() {
            return Count::default();
        }
        let encoding = Encoding::of(model).0;
        let counted = &text[..text.floor_char_boundary(MAX_TEXT)];
        let mut grounds = text_grounds(model);
        let Some((tokens, is_exact)) = count_pieces(encoding, counted) else {
            return Count { tokens: rough(text.len()), grounds: Ground::Bytes.into() };
        };
        if !is_exact {
            grounds.add(Ground::Run);
        }
        if counted.len() == text.len() {
            return Count { tokens, grounds };
        }
        grounds.add(Ground::Extrapolated);
        Count { tokens: extrapolate(tokens, counted.len(), text.len()), grounds }
    }

    /// Counts a prompt: its texts one by one up to the same limit in all, its fixed tokens, and a rough
    /// share for what was skipped.
    #[must_use]
    pub fn count_prompt(&self, model: &str, prompt: &PromptOutline) -> Count {
        let mut grounds = prompt.grounds;
        let (mut tokens, mut counted, mut all) = (0_u64, 0, 0);
        for text in &prompt.texts {
            all += text.len();
            if counted < MAX_TEXT {
                let part = &text[..text.floor_char_boundary(MAX_TEXT - counted)];
                let count = self.count(model, part);
                tokens = tokens.saturating_add(count.tokens);
                grounds = grounds.with(count.grounds);
                counted += part.len();
            }
        }
        if counted < all {
            grounds.add(Ground::Extrapolated);
            tokens = extrapolate(tokens, counted, all);
        }
        let rest = prompt.fixed_tokens.saturating_add(rough(prompt.skipped_bytes));
        Count { tokens: tokens.saturating_add(rest), grounds }
    }

    /// Loads the vocabulary of `model` now, so that no request waits for it.
    pub fn warm(&self, model: &str) {
        Encoding::of(model).0.load();
    }
}

/// What the count of a text of `model` rests on at least.
pub(super) fn text_grounds(model: &str) -> Grounds {
    let is_own = Encoding::of(model).1;
    if is_own { Ground::Text.into() } else { Ground::OtherVocabulary.into() }
}

/// The cheap estimate of the tokens in `bytes` bytes of text.
#[must_use]
pub const fn rough(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(ROUGH_BYTES_PER_TOKEN)
}

/// The tokens of a whole text by one vocabulary, and whether every cut in it was at a boundary. `None` if the
/// tokenizer gave up on a piece.
pub(super) fn count_pieces(encoding: Encoding, text: &str) -> Option<(u64, bool)> {
    let vocabulary = encoding.load();
    let (mut tokens, mut is_exact) = (0_u64, true);
    let mut rest = text;
    while !rest.is_empty() {
        let end = piece_end(rest);
        is_exact &= end.is_some();
        let (piece, after) = rest.split_at(end.unwrap_or_else(|| rest.floor_char_boundary(LONGEST_RUN)));
        tokens += catch_unwind(AssertUnwindSafe(|| vocabulary.count_ordinary(piece))).ok()? as u64;
        rest = after;
    }
    Some((tokens, is_exact))
}

/// Where the first piece of a text ends; `None` in a run that is too long.
fn piece_end(text: &str) -> Option<usize> {
    if text.len() <= PIECE {
        return Some(text.len());
    }
    let usual = text.floor_char_boundary(PIECE);
    if let Some(end) = last_boundary(&text[..usual], 0) {
        return Some(end);
    }
    if text.len() <= LONGEST_RUN {
        return Some(first_boundary(text, usual).unwrap_or(text.len()));
    }
    first_boundary(&text[..text.floor_char_boundary(LONGEST_RUN)], usual)
}

fn extrapolate(tokens: u64, counted: usize, all: usize) -> u64 {
    let scaled = (u128::from(tokens) * all as u128).div_ceil(counted.max(1) as u128);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
