//! What is learned of one answer while it passes. The readers of each dialect write here; the meter hands it out.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::{Label, Text, clipped};
use super::shown::{Lane, Part, Shown};
use super::usage_openai::Counted;
use crate::base::usage::Usage;

/// The most bytes of visible output that are kept for the tokenizer.
pub const MAX_OUTPUT_TEXT: usize = 1 << 20;
/// `n` may be 128; more finish reasons than that say nothing.
const MAX_FINISH_REASONS: usize = 128;
const MAX_EXTRA: usize = 16;
const MAX_LABEL: usize = 256;
const MAX_MESSAGE: usize = 1024;

/// How the work stands that an answer tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Work {
    /// It says nothing of work that outlasts it.
    #[default]
    Untold,
    /// It goes on after this answer.
    Pending,
    /// It is over, with whatever was made.
    Ended,
    /// It is over and came to nothing.
    Failed,
}

/// What an answer said about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate fact that a record or a metric shows")]
pub struct Reading {
    /// The last usage that the upstream reported.
    pub usage: Option<Usage>,
    /// `usage` has the input but only an opening count of the output (Anthropic `message_start`): when the
    /// stream ends here, the output must be estimated.
    pub usage_is_opening: bool,
    /// A count was not an integer from 0 to 10^9, and it, or the whole usage, was ignored; or parts were larger
    /// than their total, and were cut down to it.
    pub usage_invalid: bool,
    /// The model that the answer names.
    pub model: Option<String>,
    /// The upstream's id of the answer.
    pub response_id: Option<String>,
    /// Finish, stop or status words, each once; at most 128.
    pub finish_reasons: Vec<String>,
    /// The service tier that was really used.
    pub service_tier: Option<String>,
    /// Anthropic's speed that was really used.
    pub speed: Option<String>,
    /// An error frame in a stream, or the error of an error body.
    pub error: Option<StreamError>,
    /// A stream's own end was seen; a JSON body was whole. True for what has no end of its own, and to be
    /// asked only of what could be decoded.
    pub ended: bool,
    /// Events of a stream.
    pub events: u64,
    /// Events, or a body, that are not the JSON that they should be.
    pub malformed: u64,
    /// Events, or a body, too long to be kept whole; their usage was looked for in the tail.
    pub clipped: u64,
    /// The content encoding is unknown, broken or a bomb: nothing after it was read.
    pub undecodable: bool,
    /// Visible output that was not taken out on the way: content, refusals, reasoning, tool arguments; at most 1 MiB.
    pub output: Shown,
    /// Bytes of visible output, also of what is not kept.
    pub output_text_bytes: u64,
    /// Choices seen.
    pub choices: u32,
    /// Other models billed by the same answer; an empty name means the model of the answer.
    pub extra: Vec<(String, Usage)>,
    /// How the work stands: of a background response, a batch.
    pub work: Work,
    /// Over how many answers the usage is summed up; 0 stands for one.
    pub answers: u64,
    /// The file that a batch wrote its answers to.
    pub output_file: Option<String>,
    /// What a stored object said of itself. The answer that carried it used nothing.
    pub stored: Option<Box<Reading>>,
}

/// An error that an upstream reported in its answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamError {
    /// The upstream's code, else its type; may be empty.
    pub code: String,
    /// The upstream's message, shortened; may be empty.
    pub message: String,
}

/// A reading under way.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) reading: Reading,
    pub(super) collect_text: bool,
    /// Where output goes.
    pub(super) lane: Lane,
    /// What the event under way has said so far that is not just said again.
    pub(super) told: Told,
}

/// What an event said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Told {
    #[default]
    Nothing,
    /// One word of output.
    Word {
        /// Its address.
        at: usize,
        bytes: usize,
        lane: Lane,
    },
    /// More than that.
    More,
}

impl Facts {
    /// Notes usage; a later one replaces an earlier one, they are never added.
    pub(super) fn usage(&mut self, usage: Option<Usage>, opening: bool) {
        self.told = Told::More;
        if let Some(usage) = usage {
            self.reading.usage = Some(usage);
            self.reading.usage_is_opening = opening;
        }
    }

    /// Notes what a usage object came to.
    pub(super) fn counted(&mut self, counted: Counted) {
        self.usage(counted.usage, false);
        self.reading.usage_invalid |= counted.invalid;
    }

    /// Notes the model; the first that has a name counts (Azure's first chunk has none).
    pub(super) fn model(&mut self, model: &Text<'_>) {
        note(&mut self.reading.model, model);
    }

    pub(super) fn response_id(&mut self, id: &Text<'_>) {
        note(&mut self.reading.response_id, id);
    }

    /// Notes the service tier; the last one counts, as usage does.
    pub(super) fn service_tier(&mut self, tier: &Text<'_>) {
        if let Some(tier) = tier.some() {
            self.reading.service_tier = Some(clipped(tier, MAX_LABEL).to_owned());
        }
    }

    pub(super) fn output_file(&mut self, id: &Text<'_>) {
        note(&mut self.reading.output_file, id);
    }

    pub(super) fn speed(&mut self, speed: &Text<'_>) {
        if let Some(speed) = speed.some() {
            self.reading.speed = Some(clipped(speed, MAX_LABEL).to_owned());
        }
    }

    pub(super) fn finish_reason(&mut self, reason: &Text<'_>) {
        let Some(reason) = reason.some() else { return };
        self.told = Told::More;
        let reason = clipped(reason, MAX_LABEL);
        let reasons = &mut self.reading.finish_reasons;
        if reasons.len() < MAX_FINISH_REASONS && !reasons.iter().any(|known| known == reason) {
            reasons.push(reason.to_owned());
        }
    }

    pub(super) fn choice(&mut self, index: u64) {
        let seen = u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1);
        self.reading.choices = self.reading.choices.max(seen);
    }

    /// From here on, output is of this part of this choice or output item.
    pub(super) fn lane(&mut self, choice: u64, part: Part, index: u64) {
        self.lane = Lane::new(choice, part, index);
    }

    pub(super) fn output(&mut self, text: &str) {
        self.told = match self.told {
            told if text.is_empty() => told,
            Told::Nothing => Told::Word { at: text.as_ptr().addr(), bytes: text.len(), lane: self.lane },
            Told::Word { .. } | Told::More => Told::More,
        };
        let reading = &mut self.reading;
        reading.output_text_bytes += text.len() as u64;
        let taken = reading.output.size();
        if self.collect_text && taken < MAX_OUTPUT_TEXT {
            reading.output.push(self.lane, clipped(text, MAX_OUTPUT_TEXT - taken));
        }
    }

    /// Replaces what other models used: the last list counts.
    pub(super) fn extra(&mut self, mut extra: Vec<(String, Usage)>) {
        self.told = Told::More;
        extra.truncate(MAX_EXTRA);
        self.reading.extra = extra;
    }

    /// Notes an error written as `{"code","message"}`, `{"type","message"}` or a bare string.
    pub(super) fn error(&mut self, raw: &RawValue) {
        let body: ErrorBody<'_> = match serde_json::from_str(raw.get()) {
            Ok(body) => body,
            Err(_) => ErrorBody {
                message: serde_json::from_str(raw.get()).unwrap_or_default(),
                ..ErrorBody::default()
            },
        };
        self.error_body(&body);
    }

    pub(super) fn error_body(&mut self, body: &ErrorBody<'_>) {
        self.told = Told::More;
        let code = if body.code.0.is_empty() { &body.kind.0 } else { &body.code.0 };
        self.reading.error = Some(StreamError {
            code: code.clone(),
            message: clipped(&body.message.0, MAX_MESSAGE).to_owned(),
        });
    }
}

/// An error object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorBody<'a> {
    pub(super) code: Label,
    #[serde(rename = "type")]
    pub(super) kind: Label,
    #[serde(borrow)]
    pub(super) message: Text<'a>,
}

fn note(place: &mut Option<String>, text: &Text<'_>) {
    if place.is_none()
        && let Some(text) = text.some()
    {
        *place = Some(clipped(text, MAX_LABEL).to_owned());
    }
}
