//! Watches an answer go by and reads its usage, model, end and errors. It changes and delays nothing.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;

use super::decode::Decoder;
use super::facts::Facts;
pub use super::facts::{MAX_OUTPUT_TEXT, Reading, StreamError, Work};
use super::jsonl::{Line, Lines};
use super::kept::Kept;
use super::path::{ObjectKind, Operation};
use super::read_batches::Answers;
use super::shown::Shown;
use super::sse::{Event, Reader, TAIL};
use super::usage_anthropic::Running;
use super::{read_batches, read_chat, read_media, read_messages, read_responses, usage_openai};

/// The most bytes of a body that are kept to be parsed whole.
pub const MAX_BODY: usize = if cfg!(fuzzing) { 2 << 10 } else { 16 << 20 };

/// The meter of one answer.
#[derive(Debug)]
pub struct Meter {
    decoder: Decoder,
    intake: Intake,
    scribe: Scribe,
    /// It tells of something stored: what that used, this answer has not.
    is_stored: bool,
}

/// How the decoded bytes are taken in.
#[derive(Debug)]
enum Intake {
    Events(Reader),
    Body(Kept),
    /// The answers of a batch, one line each.
    Lines(Lines, Answers),
    /// Audio, images, or an operation that has no usage.
    Opaque {
        bytes: u64,
    },
}

/// Writes down what events and bodies say, in the words of one dialect.
#[derive(Debug)]
struct Scribe {
    wire: Wire,
    failed: bool,
    running: Running,
    facts: Facts,
}

/// The family of shapes that an operation answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Chat,
    Responses,
    Messages,
    Images,
    Media,
    Batch,
}

impl Wire {
    const fn of(operation: Operation) -> Option<Self> {
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

impl Meter {
    /// A meter for the answer with this head. Whether it is a stream is told by its content type alone.
    #[must_use]
    pub fn new(
        operation: Operation,
        status: u16,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Self {
        let wire = Wire::of(operation);
        let intake = match wire {
            Some(_) => Intake::of(content_type.unwrap_or_default()),
            None => Intake::Opaque { bytes: 0 },
        };
        let facts = Facts { collect_text: true, ..Facts::default() };
        let wire = wire.unwrap_or(Wire::Media);
        Self {
            decoder: Decoder::new(content_encoding),
            intake,
            scribe: Scribe {
                wire,
                failed: !(200..300).contains(&status),
                running: Running::default(),
                facts,
            },
            is_stored: false,
        }
    }

    /// A meter for an answer that tells of something stored. Only what came whole tells anything: not a part
    /// of a file that was asked for.
    #[must_use]
    pub fn of_stored(
        kind: ObjectKind,
        status: u16,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Self {
        let (wire, intake) = match kind {
            ObjectKind::Response => (Wire::Responses, Intake::of(content_type.unwrap_or_default())),
            ObjectKind::Batch => (Wire::Batch, Intake::of(content_type.unwrap_or_default())),
            // whatever they are called: files are `application/octet-stream`
            ObjectKind::Results | ObjectKind::File => {
                (Wire::Batch, Intake::Lines(Lines::new(), Answers::default()))
            }
        };
        let is_told = status == 200;
        let facts = Facts { collect_text: false, ..Facts::default() };
        Self {
            decoder: Decoder::new(content_encoding),
            intake: if is_told { intake } else { Intake::Opaque { bytes: 0 } },
            scribe: Scribe {
                wire,
                failed: !(200..300).contains(&status),
                running: Running::default(),
                facts,
            },
            is_stored: is_told,
        }
    }

    /// Whether a copy of the output text is kept (it is, unless told otherwise). Its bytes count either way.
    #[must_use]
    pub const fn collect_text(mut self, collect: bool) -> Self {
        self.scribe.facts.collect_text = collect;
        self
    }

    /// Whether the answer is a stream of events.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self.intake, Intake::Events(_))
    }

    /// Looks at the next bytes of the answer, as the upstream sent them.
    pub fn observe(&mut self, input: &[u8]) {
        let (intake, scribe) = (&mut self.intake, &mut self.scribe);
        if let Intake::Opaque { bytes } = intake {
            *bytes += input.len() as u64;
            return;
        }
        let decoded = self.decoder.push(input, |plain| match intake {
            Intake::Events(reader) => reader.push(plain, |event| scribe.event(event)),
            Intake::Body(body) => body.extend(plain),
            Intake::Lines(lines, answers) => lines.push(plain, |line| scribe.line(line, answers)),
            Intake::Opaque { .. } => {}
        });
        scribe.facts.reading.undecodable |= decoded.is_err();
    }

    /// Whether output was seen: text, reasoning or a tool call in a stream, any byte of a body.
    #[must_use]
    pub const fn output_seen(&self) -> bool {
        match &self.intake {
            Intake::Events(_) => self.scribe.facts.reading.output_text_bytes > 0,
            Intake::Body(body) => !body.is_empty(),
            Intake::Lines(lines, _) => !lines.is_empty(),
            Intake::Opaque { bytes } => *bytes > 0,
        }
    }

    /// Whether the upstream has reported a usage.
    #[must_use]
    pub const fn usage_seen(&self) -> bool {
        self.scribe.facts.reading.usage.is_some()
    }

    /// Whether the dialect's own end was seen: a client that leaves now has everything. Never for a body.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.scribe.facts.reading.ended
    }

    /// Whether a finish reason was read and the dialect's own end was not: what is left is the count. Never for
    /// a body.
    #[must_use]
    pub const fn is_finishing(&self) -> bool {
        let reading = &self.scribe.facts.reading;
        self.is_stream() && !reading.finish_reasons.is_empty() && !reading.ended
    }

    /// Whether the answer comes in a content encoding.
    #[must_use]
    pub const fn is_encoded(&self) -> bool {
        !self.decoder.is_identity()
    }

    /// Bytes of visible output so far. A body shows its output only at its end.
    #[must_use]
    pub const fn output_so_far(&self) -> u64 {
        self.scribe.facts.reading.output_text_bytes
    }

    /// Bytes of memory that output takes which was not taken out.
    #[must_use]
    pub const fn output_kept(&self) -> usize {
        self.scribe.facts.reading.output.size()
    }

    /// Takes out the visible output since the last time, as far as it was kept.
    pub fn take_output(&mut self) -> Shown {
        std::mem::take(&mut self.scribe.facts.reading.output)
    }

    /// The model that the answer names, once it has.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.scribe.facts.reading.model.as_deref()
    }

    /// Ends the answer, wherever it is, and says what was read.
    #[must_use]
    pub fn finish(mut self) -> Reading {
        match &mut self.intake {
            Intake::Events(reader) => reader.finish(|event| self.scribe.last_event(event)),
            Intake::Body(body) => self.scribe.body(body),
            Intake::Lines(lines, answers) => {
                lines.finish(|line| self.scribe.line(line, answers));
                self.scribe.facts.reading.ended = true;
                std::mem::take(answers).tell(&mut self.scribe.facts);
            }
            Intake::Opaque { .. } => self.scribe.facts.reading.ended = true,
        }
        let mut reading = self.scribe.facts.reading;
        if self.scribe.failed {
            // What an error costs is nothing, whatever else its body says.
            reading.usage = None;
            reading.extra.clear();
        }
        if self.is_stored {
            let (ended, undecodable) = (reading.ended, reading.undecodable);
            return Reading { ended, undecodable, stored: Some(Box::new(reading)), ..Reading::default() };
        }
        reading
    }
}

impl Intake {
    fn of(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "text/event-stream" {
            return Self::Events(Reader::new());
        }
        let binary = ["audio/", "image/", "video/", "application/octet-stream"];
        if binary.iter().any(|prefix| kind.starts_with(prefix)) {
            return Self::Opaque { bytes: 0 };
        }
        Self::Body(Kept::new(MAX_BODY, TAIL))
    }
}

impl Scribe {
    fn event(&mut self, event: Event<'_>) {
        self.facts.reading.events += 1;
        match event.data.trim_ascii() {
            b"[DONE]" => self.facts.reading.ended = true,
            b"" => {}
            _ => self.told(event),
        }
    }

    /// What stands at the end without a blank line: an event, or the stump of one, which is no fault of its own.
    fn last_event(&mut self, event: Event<'_>) {
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
            self.tail(event.name, event.data);
            return;
        }
        let json = text(event.data);
        let (running, facts) = (&mut self.running, &mut self.facts);
        let read = match self.wire {
            Wire::Chat => read_chat::event(&json, facts),
            Wire::Responses => read_responses::event(&json, facts),
            Wire::Messages => read_messages::event(&json, running, facts),
            Wire::Images | Wire::Media => read_media::event(&json, facts),
            Wire::Batch => read_batches::body(&json, facts),
        };
        if !read {
            self.malformed(&json);
        }
    }

    fn body(&mut self, body: &Kept) {
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
    fn line(&mut self, line: Line<'_>, answers: &mut Answers) {
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
#[path = "meter_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "stored_tests.rs"]
mod stored_tests;
