//! Watches an answer go by and reads its usage, model, end and errors. It changes and delays nothing.

use super::decode::Decoder;
use super::facts::Facts;
pub use super::facts::{MAX_OUTPUT_TEXT, Reading, StreamError, Work};
use super::jsonl::Lines;
use super::kept::Kept;
use super::path::{ObjectKind, Operation};
use super::read_batches::Answers;
use super::scribe::{Scribe, Wire};
use super::shown::Shown;
use super::sse::{Reader, TAIL};

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
            scribe: Scribe::new(wire, !(200..300).contains(&status), facts),
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
            scribe: Scribe::new(wire, !(200..300).contains(&status), facts),
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
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("text/event-stream") {
            return Self::Events(Reader::new());
        }
        let begins =
            |prefix: &str| kind.get(..prefix.len()).is_some_and(|own| own.eq_ignore_ascii_case(prefix));
        if ["audio/", "image/", "video/", "application/octet-stream"].into_iter().any(begins) {
            return Self::Opaque { bytes: 0 };
        }
        Self::Body(Kept::new(MAX_BODY, TAIL))
    }
}

#[cfg(test)]
#[path = "meter_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "stored_tests.rs"]
mod stored_tests;
