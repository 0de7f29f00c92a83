//! Writes down what the events and bodies of one answer say, in the words of its dialect.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;

use super::facts::{Facts, Told};
use super::jsonl::Line;
use super::kept::Kept;
use super::path::Operation;
use super::read_batches::Answers;
use super::shown::Lane;
use super::sse::Event;
use super::stencil::Stencil;
use super::usage_anthropic::Running;
use super::{read_batches, read_chat, read_media, read_messages, read_responses, usage_openai};

/// The scribe of one answer.
#[derive(Debug)]
pub(super) struct Scribe {
    wire: Wire,
    pub(super) failed: bool,
    running: Running,
    pub(super) facts: Facts,
    /// The event before this one, if it added a word and nothing else, and the lane of the word.
    alike: Option<(Stencil, Lane)>,
}

/// The family of shapes that an operation answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Chat,
    Responses,
    Messages,
    Images,
    Media,
    Batch,
}

impl Wire {
    pub(super) const fn of(operation: Operation) -> Option<Self> {
        match operation {
            Operation::ChatCompletions | Operation::Completions => Some(Self::Chat),
            Operation::Responses | Operation::ResponsesCompact | Operation::Decisions => {
                Some(Self::Responses)
            }
            Operation::Messages => Some(Self::Messages),
            Operation::Images => Some(Self::Images),
            Operation::Embeddings
            | Operation::Transcriptions
            | Operation::Translations
            | Operation::Speech
            | Operation::Moderations => Some(Self::Media),
            Operation::Batches => Some(Self::Batch),
            Operation::Models | Operation::CountTokens | Operation::Stored | Operation::Unmetered => None,
            // their messages have readers of their own
            Operation::Realtime | Operation::ResponsesSocket | Operation::Live => None,
            Operation::RealtimeResponse | Operation::LiveSession => None,
        }
    }
}

impl Scribe {
    pub(super) fn new(wire: Wire, failed: bool, facts: Facts) -> Self {
        Self { wire, failed, running: Running::default(), facts, alike: None }
    }

    pub(super) fn event(&mut self, event: Event<'_>) {
        self.facts.reading.events += 1;
        match event.data.trim_ascii() {
            b"[DONE]" => self.facts.reading.ended = true,
            b"" => {}
            _ => self.told(event),
        }
    }

    /// What stands at the end without a blank line: an event, or the stump of one, which is no fault of its own.
    pub(super) fn last_event(&mut self, event: Event<'_>) {
        let before = (self.facts.reading.malformed, self.facts.reading.usage_invalid);
        self.event(event);
        let reading = &mut self.facts.reading;
        if reading.malformed > before.0 {
            (reading.malformed, reading.usage_invalid) = before;
        }
    }

    /// An event that says something.
    fn told(&mut self, event: Event<'_>) {
        if event.clipped {
            self.facts.reading.clipped += 1;
            self.alike = None;
            self.tail(event.name, event.data);
            return;
        }
        if self.adds_a_word(event.data) {
            return;
        }
        let json = text(event.data);
        self.facts.told = Told::Nothing;
        let (running, facts) = (&mut self.running, &mut self.facts);
        let read = match self.wire {
            Wire::Chat => read_chat::event(&json, facts),
            Wire::Responses => read_responses::event(&json, facts),
            Wire::Messages => read_messages::event(&json, running, facts),
            Wire::Images | Wire::Media => read_media::event(&json, facts),
            Wire::Batch => read_batches::body(&json, facts),
        };
        if read {
            self.alike = self.stencil_of(event.data);
        } else {
            self.alike = None;
            self.malformed(&json);
        }
    }

    /// Whether this event is the one before it with another word, which is all that it adds.
    fn adds_a_word(&mut self, event: &[u8]) -> bool {
        let Some((stencil, lane)) = &self.alike else { return false };
        let Some(word) = stencil.fit(event).and_then(|fit| stencil.word(fit, event)) else { return false };
        self.facts.lane = *lane;
        self.facts.output(&word);
        true
    }

    /// The event that was just read as a stencil, if it said nothing that does not still hold, but for one word.
    fn stencil_of(&self, event: &[u8]) -> Option<(Stencil, Lane)> {
        let Told::Word { at, bytes, lane } = self.facts.told else { return None };
        // what was unescaped stands elsewhere
        let start = at.checked_sub(event.as_ptr().addr()).filter(|start| start + bytes < event.len())?;
        let is_id_known = self.facts.reading.response_id.is_some();
        let stencil = Stencil::cut(event, start..start + bytes).filter(|_| is_id_known)?;
        Some((stencil, lane))
    }

    pub(super) fn body(&mut self, body: &Kept) {
        if body.is_clipped() {
            self.facts.reading.clipped += 1;
            self.facts.reading.ended = body.bytes().trim_ascii_end().ends_with(b"}");
            self.tail(b"", body.bytes());
            return;
        }
        let json = text(body.bytes());
        let facts = &mut self.facts;
        let read = match self.wire {
            Wire::Chat => read_chat::body(&json, facts),
            Wire::Responses => read_responses::body(&json, facts),
            Wire::Messages => read_messages::body(&json, facts),
            Wire::Images | Wire::Media => read_media::body(&json, facts, self.wire == Wire::Images),
            Wire::Batch => read_batches::body(&json, facts),
        };
        let is_json = json.trim_start().starts_with(['{', '[']);
        facts.reading.ended = read || !is_json;
        if self.wire == Wire::Media && !is_json && !self.failed {
            // Transcripts also come as text, SRT or VTT.
            facts.output(&json);
        } else if !read && json.trim_end().ends_with('}') {
            self.malformed(&json);
        } else if !read && !json.is_empty() {
            // Cut off, or another format: no word on its usage.
            facts.reading.malformed += 1;
        }
    }

    /// An answer of a batch.
    pub(super) fn line(&mut self, line: Line<'_>, answers: &mut Answers) {
        let in_its_end = |tail: &str, facts: &mut Facts| {
            if let Some(usage) = last_usage(tail) {
                facts.counted(usage_openai::read(usage.get()));
            }
        };
        self.facts.reading.events += 1;
        self.facts.reading.clipped += u64::from(line.is_clipped);
        self.facts.reading.malformed += u64::from(!answers.take(line, in_its_end));
    }

    fn malformed(&mut self, json: &str) {
        self.facts.reading.malformed += 1;
        self.facts.reading.usage_invalid |= json.contains("\"usage\"");
    }

    /// Looks for usage in the end of what was too long to keep: that is where upstreams write it.
    fn tail(&mut self, name: &[u8], tail: &[u8]) {
        let (tail, name) = (text(tail), text(name));
        let Some(usage) = last_usage(&tail) else { return };
        let facts = &mut self.facts;
        match self.wire {
            Wire::Messages => self.running.take(usage, false, facts),
            Wire::Images => read_media::clipped_image(&name, usage, facts),
            Wire::Responses => read_responses::clipped_end(&name, usage, facts),
            Wire::Chat | Wire::Media | Wire::Batch => facts.counted(usage_openai::read(usage.get())),
        }
    }
}

/// The bytes as text. Broken UTF-8 in one string must not lose the rest of the event.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// The value of the last member `"usage"` that is an object.
pub(super) fn last_usage(tail: &str) -> Option<&RawValue> {
    let key = memmem::rfind(tail.as_bytes(), b"\"usage\"")?;
    let value = tail[key + b"\"usage\"".len()..].trim_start().strip_prefix(':')?;
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<&RawValue>();
    values.next()?.ok().filter(|value| value.get().starts_with('{'))
}

#[cfg(test)]
#[path = "scribe_tests.rs"]
mod tests;
