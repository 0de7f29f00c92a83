//! How much output a stream may still show before its budgets are asked again. Arithmetic only: no lock, no
//! money, no text.

/// The output tokens that are held for one answer, against the bytes that it has shown.
///
/// A byte of text is never more than one token. So whoever follows the bytes is never behind the tokens; and
/// counting, which is dear, waits until the bytes have used up what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Tokens of output that are held, over all choices.
    held: u64,
    /// What was counted: tokens, of so many bytes.
    counted: u64,
    counted_bytes: u64,
    /// Tokens that no text shows: what opens and closes a choice.
    unseen: u64,
    /// What is held is the caller's own cap, which the upstream is told too.
    is_capped: bool,
}

/// Tokens of output that a stream holds ahead: at 50 to 100 tokens a second, money for less than a minute,
/// and at 4 bytes a token it asks for more every 512 tokens.
pub(super) const SLICE: u64 = 2_048;
/// Around the text of a choice: its role, its end, the marks of a tool call.
const UNSEEN: u64 = 16;
/// New bytes that make counting worth its while; fewer free too few tokens.
const WORTH_COUNTING: u64 = 64;
/// What may pass unlooked at beyond a caller's cap: one read from the upstream's connection.
const ONE_READ: u64 = 16 << 10;
const USUAL_BYTES_PER_TOKEN: u64 = 4;
/// A cap is not looked at more often than this, in bytes.
const LEAST_LOOK: u64 = 256;

impl Allowance {
    /// For a stream that holds a slice of its output.
    pub(super) fn sliced(held: u64, choices: u64) -> Self {
        let unseen = UNSEEN.saturating_mul(choices.max(1));
        Self { held, counted: 0, counted_bytes: 0, unseen, is_capped: false }
    }

    /// For a stream that holds all that its upstream was told to write at most.
    pub(super) fn capped(held: u64) -> Self {
        Self { held, counted: 0, counted_bytes: 0, unseen: 0, is_capped: true }
    }

    /// Tokens of output that are held.
    pub(super) const fn held(&self) -> u64 {
        self.held
    }

    /// Bytes of output that were counted.
    pub(super) const fn counted_bytes(&self) -> u64 {
        self.counted_bytes
    }

    /// The most tokens that so many bytes of output can be, counted ones as they were counted.
    pub(super) const fn most(&self, bytes: u64) -> u64 {
        let fresh = bytes.saturating_sub(self.counted_bytes);
        self.counted.saturating_add(fresh).saturating_add(self.unseen)
    }

    /// Whether so many bytes may have been shown without asking anyone.
    pub(super) fn covers(&self, bytes: u64) -> bool {
        if !self.is_capped {
            return self.most(bytes) <= self.held;
        }
        // an upstream that keeps the cap needs no eye on it; one that does not is caught within a read
        let room = self.held.saturating_sub(self.counted);
        let usual = room.saturating_mul(USUAL_BYTES_PER_TOKEN);
        let look_after = usual.min(room.saturating_add(ONE_READ)).max(LEAST_LOOK);
        bytes.saturating_sub(self.counted_bytes) <= look_after
    }

    /// Whether the text has to be counted before anything else is asked: bytes say little about a cap.
    pub(super) const fn counts_first(&self) -> bool {
        self.is_capped
    }

    /// Whether counting could make room.
    pub(super) const fn is_worth_counting(&self, bytes: u64) -> bool {
        bytes.saturating_sub(self.counted_bytes) >= WORTH_COUNTING
    }

    /// What to hold to be a slice ahead.
    pub(super) const fn wanted(&self, bytes: u64) -> u64 {
        self.most(bytes).saturating_add(SLICE)
    }

    /// Tokens of output that were counted.
    pub(super) const fn counted(&self) -> u64 {
        self.counted
    }

    /// Takes over a count of all that was shown. A caller's cap that this passes is none.
    pub(super) fn note_counted(&mut self, tokens: u64, is_exact: bool, bytes: u64) {
        self.counted = tokens;
        self.counted_bytes = bytes;
        // the model's own vocabulary may have a quarter fewer tokens for the text than ours: the largest have
        let slack = if is_exact { 0 } else { self.held / 4 };
        if self.is_capped && self.counted > self.held.saturating_add(slack) {
            self.is_capped = false;
        }
    }

    /// All that the upstream was told to write at most is held.
    pub(super) const fn trust_cap(&mut self) {
        (self.is_capped, self.unseen) = (true, 0);
    }

    /// Takes over what is held now.
    pub(super) const fn hold(&mut self, held: u64) {
        self.held = held;
    }
}

#[cfg(test)]
#[path = "allowance_tests.rs"]
mod tests;
