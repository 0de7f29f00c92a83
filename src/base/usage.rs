//! What one answer used: counts of billable units and where each number came from.

use serde::{Deserialize, Serialize};

/// Counts of one answer. Totals INCLUDE their parts, as `OpenAI` reports them; a dialect that counts
/// otherwise (Anthropic: input excludes cache) is normalised by its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All input tokens, with cached, cache-write, audio and image tokens.
    pub input_tokens: u64,
    /// Part of input: read from the upstream's prompt cache.
    pub cached_input_tokens: u64,
    /// Part of input: written to the upstream's prompt cache for the short lifetime (5 or 30 min).
    pub cache_write_tokens: u64,
    /// Part of input: written for the long lifetime (1 h or 12 h).
    pub cache_write_long_tokens: u64,
    /// Part of input: audio.
    pub input_audio_tokens: u64,
    /// Part of input: images.
    pub input_image_tokens: u64,
    /// All output tokens, with reasoning and rejected prediction tokens.
    pub output_tokens: u64,
    /// Part of output: reasoning that the caller may not see.
    pub reasoning_tokens: u64,
    /// Part of output: audio.
    pub output_audio_tokens: u64,
    /// Part of output: images.
    pub output_image_tokens: u64,
    /// Seconds of audio in or out, rounded up by the upstream.
    pub seconds: u64,
    /// Characters of text to speak.
    pub characters: u64,
    /// Images made.
    pub images: u64,
    /// Web searches made by the upstream's tool.
    pub web_searches: u64,
}

impl Usage {
    /// Input and output tokens together: what token limits and token budgets count.
    #[must_use]
    pub const fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// The sum of two usages, unit by unit, held at the top of the range.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.counts();
        for (count, more) in sum.iter_mut().zip(other.counts()) {
            *count = count.saturating_add(more);
        }
        Self::from_counts(sum)
    }

    /// The counts in the order in which they are declared; [`Usage::from_counts`] takes them back.
    #[must_use]
    pub const fn counts(&self) -> [u64; UNITS] {
        [
            self.input_tokens,
            self.cached_input_tokens,
            self.cache_write_tokens,
            self.cache_write_long_tokens,
            self.input_audio_tokens,
            self.input_image_tokens,
            self.output_tokens,
            self.reasoning_tokens,
            self.output_audio_tokens,
            self.output_image_tokens,
            self.seconds,
            self.characters,
            self.images,
            self.web_searches,
        ]
    }

    /// The usage of these counts.
    #[must_use]
    pub const fn from_counts(counts: [u64; UNITS]) -> Self {
        let [
            input_tokens,
            cached_input_tokens,
            cache_write_tokens,
            cache_write_long_tokens,
            input_audio_tokens,
            input_image_tokens,
            output_tokens,
            reasoning_tokens,
            output_audio_tokens,
            output_image_tokens,
            seconds,
            characters,
            images,
            web_searches,
        ] = counts;
        Self {
            input_tokens,
            cached_input_tokens,
            cache_write_tokens,
            cache_write_long_tokens,
            input_audio_tokens,
            input_image_tokens,
            output_tokens,
            reasoning_tokens,
            output_audio_tokens,
            output_image_tokens,
            seconds,
            characters,
            images,
            web_searches,
        }
    }
}

/// How many kinds of units a usage counts.
pub const UNITS: usize = 14;

/// Where the counts came from (DESIGN, decision 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageSource {
    /// The upstream reported them.
    Reported,
    /// The upstream reported them, but the answer was cut before its end.
    Partial,
    /// Counted here, with a tokenizer or from what was relayed.
    Estimated,
    /// Nothing to count: refused, free, unmetered, or answered from cache.
    #[default]
    None,
}

impl UsageSource {
    /// The word in the ledger, logs and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Partial => "partial",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}
