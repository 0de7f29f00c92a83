//! Usage as `OpenAI` and those compatible with it write it: chat, completions, embeddings, responses, images, audio.

use serde::Deserialize;

use super::cursor::{Cursor, once};
use super::fields::{Count, Seconds};
use crate::base::usage::Usage;

/// What a usage object came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counted {
    /// The usage, if the object holds one that can be used.
    pub(super) usage: Option<Usage>,
    /// A count in it was no count.
    pub(super) invalid: bool,
}

/// Reads a usage object.
pub(super) fn read(json: &str) -> Counted {
    match serde_json::from_str::<Wire>(json) {
        // An array would be read as the fields in their order.
        Ok(wire) if json.starts_with('{') => wire.counted(),
        _ => Counted { usage: None, invalid: true },
    }
}

impl Counted {
    /// Walks a usage that is written as most are.
    pub(super) fn walk(cursor: &mut Cursor<'_>) -> Option<Self> {
        Wire::walk(cursor).map(|wire| wire.counted())
    }
}

/// Every spelling at once: no upstream uses two of them with different meanings.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    prompt_tokens: Count,
    completion_tokens: Count,
    input_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    prompt_tokens_details: Option<InputDetails>,
    input_tokens_details: Option<InputDetails>,
    /// Transcription and realtime spell it so.
    input_token_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    output_tokens_details: Option<OutputDetails>,
    output_token_details: Option<OutputDetails>,
    /// The image tool of Responses has it at the top.
    cached_tokens: Count,
    /// `DeepSeek`.
    prompt_cache_hit_tokens: Count,
    /// `Databricks`.
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    /// Modal, Databricks, and `svg_usage`.
    reasoning_tokens: Count,
    /// Perplexity.
    num_search_queries: Count,
    /// Transcription by duration.
    seconds: Seconds,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
    cache_write_tokens_details: Option<WriteDetails>,
    audio_tokens: Count,
    image_tokens: Count,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct WriteDetails {
    ttl_30m_tokens: Count,
    ttl_12h_tokens: Count,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Count,
    audio_tokens: Count,
    image_tokens: Count,
}

/// Fills a count that stands once and is none of the two that say nothing.
fn fill(place: &mut Count, cursor: &mut Cursor<'_>) -> Option<()> {
    let is_first = *place == Count::Absent;
    *place = Count::walk(cursor)?;
    (is_first && *place != Count::Absent).then_some(())
}

impl InputDetails {
    fn walk(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut read = Self::default();
        cursor.object(|cursor, name| match name {
            "cached_tokens" => fill(&mut read.cached_tokens, cursor),
            "cache_write_tokens" => fill(&mut read.cache_write_tokens, cursor),
            "cache_write_tokens_details" => None,
            "audio_tokens" => fill(&mut read.audio_tokens, cursor),
            "image_tokens" => fill(&mut read.image_tokens, cursor),
            _ => cursor.skip(),
        })?;
        Some(read)
    }
}

impl OutputDetails {
    fn walk(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut read = Self::default();
        cursor.object(|cursor, name| match name {
            "reasoning_tokens" => fill(&mut read.reasoning_tokens, cursor),
            "audio_tokens" => fill(&mut read.audio_tokens, cursor),
            "image_tokens" => fill(&mut read.image_tokens, cursor),
            _ => cursor.skip(),
        })?;
        Some(read)
    }
}

impl Wire {
    fn counted(&self) -> Counted {
        let stated = self.usage();
        let usage = stated.map(parts_within_totals);
        Counted { usage, invalid: self.is_invalid() || usage != stated }
    }

    /// Walks the spellings of chats and responses.
    fn walk(cursor: &mut Cursor<'_>) -> Option<Self> {
        let mut read = Self::default();
        cursor.object(|cursor, name| match name {
            "prompt_tokens" => fill(&mut read.prompt_tokens, cursor),
            "completion_tokens" => fill(&mut read.completion_tokens, cursor),
            "input_tokens" => fill(&mut read.input_tokens, cursor),
            "output_tokens" => fill(&mut read.output_tokens, cursor),
            "total_tokens" => fill(&mut read.total_tokens, cursor),
            "prompt_tokens_details" => once(&mut read.prompt_tokens_details, InputDetails::walk(cursor)?),
            "input_tokens_details" => once(&mut read.input_tokens_details, InputDetails::walk(cursor)?),
            "completion_tokens_details" => {
                once(&mut read.completion_tokens_details, OutputDetails::walk(cursor)?)
            }
            "output_tokens_details" => once(&mut read.output_tokens_details, OutputDetails::walk(cursor)?),
            "cached_tokens" => fill(&mut read.cached_tokens, cursor),
            "prompt_cache_hit_tokens" => fill(&mut read.prompt_cache_hit_tokens, cursor),
            "cache_read_input_tokens" => fill(&mut read.cache_read_input_tokens, cursor),
            "cache_creation_input_tokens" => fill(&mut read.cache_creation_input_tokens, cursor),
            "reasoning_tokens" => fill(&mut read.reasoning_tokens, cursor),
            "num_search_queries" => fill(&mut read.num_search_queries, cursor),
            "input_token_details" | "output_token_details" | "seconds" => None,
            _ => cursor.skip(),
        })?;
        Some(read)
    }

    fn input_details(&self) -> InputDetails {
        self.prompt_tokens_details
            .or(self.input_tokens_details)
            .or(self.input_token_details)
            .unwrap_or_default()
    }

    fn output_details(&self) -> OutputDetails {
        self.completion_tokens_details
            .or(self.output_tokens_details)
            .or(self.output_token_details)
            .unwrap_or_default()
    }

    fn usage(&self) -> Option<Usage> {
        let input = self.prompt_tokens.or(self.input_tokens);
        let output = self.completion_tokens.or(self.output_tokens);
        if input.is_invalid() || output.is_invalid() || self.seconds.0.is_invalid() {
            return None;
        }
        input.get().or(output.get()).or(self.seconds.0.get())?;
        let details = self.input_details();
        let writes = details.cache_write_tokens_details.unwrap_or_default();
        let long = writes.ttl_12h_tokens.part();
        let written = match details.cache_write_tokens.or(self.cache_creation_input_tokens).get() {
            Some(written) => written,
            None => long.saturating_add(writes.ttl_30m_tokens.part()),
        };
        let cached = details
            .cached_tokens
            .or(self.cached_tokens)
            .or(self.prompt_cache_hit_tokens)
            .or(self.cache_read_input_tokens);
        let made = self.output_details();
        let usage = Usage {
            input_tokens: input.part(),
            cached_input_tokens: cached.part(),
            cache_write_tokens: written.saturating_sub(long),
            cache_write_long_tokens: long,
            input_audio_tokens: details.audio_tokens.part(),
            input_image_tokens: details.image_tokens.part(),
            output_tokens: output_of(input.part(), output.part(), self.total_tokens.part()),
            reasoning_tokens: made.reasoning_tokens.or(self.reasoning_tokens).part(),
            output_audio_tokens: made.audio_tokens.part(),
            output_image_tokens: made.image_tokens.part(),
            seconds: self.seconds.0.part(),
            web_searches: self.num_search_queries.part(),
            ..Usage::default()
        };
        Some(usage)
    }

    fn is_invalid(&self) -> bool {
        let details = self.input_details();
        let writes = details.cache_write_tokens_details.unwrap_or_default();
        let made = self.output_details();
        [
            self.prompt_tokens,
            self.completion_tokens,
            self.input_tokens,
            self.output_tokens,
            self.total_tokens,
            self.cached_tokens,
            self.prompt_cache_hit_tokens,
            self.cache_read_input_tokens,
            self.cache_creation_input_tokens,
            self.reasoning_tokens,
            self.num_search_queries,
            self.seconds.0,
            details.cached_tokens,
            details.cache_write_tokens,
            details.audio_tokens,
            details.image_tokens,
            writes.ttl_30m_tokens,
            writes.ttl_12h_tokens,
            made.reasoning_tokens,
            made.audio_tokens,
            made.image_tokens,
        ]
        .iter()
        .any(|count| count.is_invalid())
    }
}

/// xAI and Gemini leave reasoning out of the completion but not out of the total: what the total has over
/// the prompt was output.
fn output_of(input: u64, output: u64, total: u64) -> u64 {
    output.max(total.saturating_sub(input))
}

/// A part is never more than its total, whatever the upstream says.
pub(super) fn parts_within_totals(mut usage: Usage) -> Usage {
    let mut left = usage.input_tokens;
    for part in
        [&mut usage.cached_input_tokens, &mut usage.cache_write_long_tokens, &mut usage.cache_write_tokens]
    {
        *part = (*part).min(left);
        left -= *part;
    }
    // Audio and images may be cached, so they share the input anew.
    usage.input_audio_tokens = usage.input_audio_tokens.min(usage.input_tokens);
    usage.input_image_tokens = usage.input_image_tokens.min(usage.input_tokens - usage.input_audio_tokens);
    usage.reasoning_tokens = usage.reasoning_tokens.min(usage.output_tokens);
    usage.output_audio_tokens = usage.output_audio_tokens.min(usage.output_tokens);
    usage.output_image_tokens =
        usage.output_image_tokens.min(usage.output_tokens - usage.output_audio_tokens);
    usage
}

#[cfg(test)]
#[path = "usage_openai_tests.rs"]
mod tests;
