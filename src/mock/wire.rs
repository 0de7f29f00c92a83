//! Server-sent events as the providers write them, and the bytes they become.

use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

use super::knobs::Knobs;

/// Bytes that go out together, and the visible output tokens they carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) tokens: u64,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: Option<&'static str>,
    pub(super) data: String,
    pub(super) tokens: u64,
}

impl Event {
    /// An event without a name, as chat streams have.
    pub(super) fn data(data: &Value, tokens: u64) -> Self {
        Self { name: None, data: data.to_string(), tokens }
    }

    /// An event with a name.
    pub(super) fn named(name: &'static str, data: &Value, tokens: u64) -> Self {
        Self { name: Some(name), data: data.to_string(), tokens }
    }

    /// The end of a chat stream.
    pub(super) fn done() -> Self {
        Self { name: None, data: "[DONE]".into(), tokens: 0 }
    }

    fn write(&self, line_end: &str, to: &mut String) {
        if let Some(name) = self.name {
            to.push_str("event: ");
            to.push_str(name);
            to.push_str(line_end);
        }
        to.push_str("data: ");
        to.push_str(&self.data);
        to.push_str(line_end);
        to.push_str(line_end);
    }
}

/// The frames of a stream; `error` is the event that ends it when the knobs ask for one.
pub(super) fn frames(mut events: Vec<Event>, error: Event, knobs: &Knobs) -> Vec<Frame> {
    if let Some(after) = knobs.error_frame {
        events.truncate(usize::try_from(after).unwrap_or(usize::MAX));
        events.push(error);
    }
    let line_end = if knobs.crlf { "\r\n" } else { "\n" };
    let mut frames = Vec::with_capacity(events.len());
    for event in &events {
        let mut text = String::with_capacity(event.data.len() + 64);
        if knobs.comments {
            text.push_str(": keep-alive");
            text.push_str(line_end);
            text.push_str(line_end);
        }
        event.write(line_end, &mut text);
        frames.push(Frame { bytes: text.into(), tokens: event.tokens });
    }
    frames
}
/// See [`super::Mock::tokens_in`].
pub(super) fn tokens_in(stream: &[u8]) -> u64 {
    let ends =
        [&b"\n\n"[..], b"\n\r\n"].map(|blank| memmem::rfind(stream, blank).map_or(0, |at| at + blank.len()));
    let text = String::from_utf8_lossy(&stream[..ends[0].max(ends[1])]);
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let says = |event: &Value| {
        let choice = &event["choices"][0];
        let is_delta = event["type"] == "response.output_text.delta";
        let texts = [&choice["delta"]["content"], &choice["text"], &event["delta"]["text"]];
        is_delta || texts.iter().any(|text| text.as_str().is_some_and(|text| !text.is_empty()))
    };
    events.filter(says).count() as u64
}
