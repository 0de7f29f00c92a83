//! What is said in a socket: which responses a client asks for, which begin and end, and what they used. Realtime,
//! Responses and Live have most words in common; each event is read by itself, and lanes may interleave.

use super::facts::{Facts, Reading};
use super::messages::Message;
use super::path::Operation;
use super::read_socket::{self, ClientEvent, UpstreamEvent};
use super::{read_responses, usage_openai};
use crate::base::usage::Usage;

/// What a client asks for with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A response.
    Response(Wanted),
    /// Other settings from here on.
    Session(Settings),
    /// Something that makes no response by itself.
    Other,
    /// No event that can be read: nobody here knows what an upstream makes of it.
    Unreadable,
}

/// A response that a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The client's own id of the event, which an error refers to; may be empty.
    pub event_id: String,
    /// The lane; may be empty.
    pub stream_id: String,
    /// The most output tokens, if the event says so.
    pub output_cap: Option<u64>,
    /// The model that stands in the response's own settings; may be empty.
    pub model: String,
}

/// Settings of a session, as far as its bills depend on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The model that answers.
    pub model: Option<String>,
    /// The model that writes down what is said to it.
    pub transcription_model: Option<String>,
    /// The most output tokens of one response; [`UNCAPPED`] for as many as there may be.
    pub output_cap: Option<u64>,
}

/// An output cap that is none, such as `inf`.
pub const UNCAPPED: u64 = u64::MAX;

/// What an upstream tells with a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The session's settings.
    Session(Settings),
    /// A response has begun; the model that it names may be empty.
    Began(Lane, String),
    /// Something of a response.
    Going(Lane),
    /// A response has ended, well or not.
    Ended(Lane),
    /// What a user said was written down, by another model than the one that answers.
    Transcribed(Box<Reading>),
    /// Seconds of the whole session so far, not since the last word on them.
    Seconds(u64),
    /// What was asked for is not done.
    Refused(Refused),
    /// Nothing that is billed.
    Nothing,
}

/// Where an event belongs. Either may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lane {
    /// The upstream's id of the response.
    pub response_id: String,
    /// The lane as the client named it.
    pub stream_id: String,
}

/// An error event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// The client's event that it is about; may be empty.
    pub event_id: String,
    /// Whether that is what it names as its cause: it may be the id of the error itself.
    pub names_cause: bool,
    /// The lane; may be empty.
    pub stream_id: String,
    /// Its code or type.
    pub code: String,
}

/// Whether a client's message of which this is the beginning may be an event. Some upstreams read binary ones, too.
#[must_use]
pub fn may_be_event(is_text: bool, beginning: &[u8]) -> bool {
    let shown = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
    is_text || shown.first().is_none_or(|first| *first == b'{')
}

/// Reads a client's message.
#[must_use]
pub fn asked(operation: Operation, message: &Message<'_>) -> Asked {
    if message.is_clipped || message.is_unread {
        return Asked::Unreadable;
    }
    let Some(event) = read_socket::client(message.bytes) else {
        return if message.is_text { Asked::Unreadable } else { Asked::Other };
    };
    match &*event.kind {
        RESPONSE_CREATE => Asked::Response(wanted(operation, &event)),
        "session.update" => Asked::Session(event.session.map(read_socket::settings).unwrap_or_default()),
        _ => Asked::Other,
    }
}

const RESPONSE_CREATE: &str = "response.create";

fn wanted(operation: Operation, event: &ClientEvent<'_>) -> Wanted {
    // a socket of the Responses API has the body in the event itself, which is scanned as every body is
    let is_nested = operation == Operation::Realtime;
    Wanted {
        event_id: event.event_id.to_string(),
        stream_id: event.stream_id.to_string(),
        output_cap: event.response.filter(|_| is_nested).and_then(read_socket::output_cap),
        model: event.response.map(read_socket::model_of).unwrap_or_default(),
    }
}

/// Reads an upstream's message; `json` is what an answer's own meter reads.
#[must_use]
pub fn told(message: &Message<'_>) -> Told {
    if !message.is_text || message.is_unread {
        return Told::Nothing;
    }
    if message.is_clipped {
        return clipped(message);
    }
    read_socket::upstream(message.bytes).map_or(Told::Nothing, |event| tell(&event))
}

fn tell(event: &UpstreamEvent<'_>) -> Told {
    let kind = &*event.kind.0;
    match kind {
        "session.created" | "session.updated" => {
            Told::Session(event.session.map(read_socket::settings).unwrap_or_default())
        }
        "session.usage.updated" | "session.closed" => seconds(event).map_or(Told::Nothing, Told::Seconds),
        "response.created" => Told::Began(event.lane(), event.model()),
        TRANSCRIBED => {
            transcribed(event).map_or(Told::Nothing, |reading| Told::Transcribed(Box::new(reading)))
        }
        // what a live session has others do is told as they tell it
        "response.event" => event.inner().map_or(Told::Nothing, |inner| tell(&inner)),
        "error" => Told::Refused(event.refused()),
        _ if read_responses::is_end(kind) => Told::Ended(event.lane()),
        _ if kind.starts_with("response.") => Told::Going(event.lane()),
        _ => Told::Nothing,
    }
}

const TRANSCRIBED: &str = "conversation.item.input_audio_transcription.completed";

/// Of what is too long to be kept, the beginning says what it is and whose; or else the end does.
fn clipped(message: &Message<'_>) -> Told {
    let Some(kind) = read_socket::kind_between(message.head, message.bytes) else { return Told::Nothing };
    let lane = read_socket::lane_in(message.head);
    match kind.as_str() {
        _ if read_responses::is_end(&kind) => Told::Ended(lane),
        "response.created" => Told::Began(lane, String::new()),
        _ => Told::Going(lane),
    }
}

fn transcribed(event: &UpstreamEvent<'_>) -> Option<Reading> {
    let mut facts = Facts { collect_text: true, ..Facts::default() };
    facts.counted(usage_openai::read(event.usage?.get()));
    facts.reading.ended = true;
    facts.response_id(&event.item_id);
    facts.output(&event.transcript.0);
    Some(facts.reading)
}

fn seconds(event: &UpstreamEvent<'_>) -> Option<u64> {
    let usage = event.usage.or_else(|| event.session.and_then(read_socket::usage_of))?;
    usage_openai::read(usage.get()).usage.map(|usage| usage.seconds)
}

/// Reads one response out of the events that are its own.
#[derive(Debug)]
pub struct AnswerReader {
    facts: Facts,
}

impl Default for AnswerReader {
    fn default() -> Self {
        Self { facts: Facts { collect_text: true, ..Facts::default() } }
    }
}

impl AnswerReader {
    /// Looks at an event of this response.
    pub fn observe(&mut self, message: &Message<'_>) {
        self.facts.reading.events += 1;
        let text = String::from_utf8_lossy(message.bytes);
        if message.is_clipped {
            self.facts.reading.clipped += 1;
            let kind = read_socket::kind_between(message.head, message.bytes).unwrap_or_default();
            if let Some(usage) = super::scribe::last_usage(&text) {
                read_responses::clipped_end(&kind, usage, &mut self.facts);
            }
            return;
        }
        let inner = read_socket::upstream(message.bytes).and_then(|event| event.inner_json());
        let json = inner.unwrap_or(&text);
        if !read_responses::event(json, &mut self.facts) {
            self.facts.reading.malformed += 1;
        }
    }

    /// Bytes of visible output so far.
    #[must_use]
    pub const fn output_so_far(&self) -> u64 {
        self.facts.reading.output_text_bytes
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> Reading {
        self.facts.reading
    }
}

/// What so many seconds of a live session come to.
#[must_use]
pub fn seconds_used(seconds: u64) -> Reading {
    let usage = Usage { seconds, ..Usage::default() };
    Reading { usage: Some(usage), ended: true, ..Reading::default() }
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
