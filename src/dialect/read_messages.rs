//! Reads Anthropic messages: the events of a stream and the whole answer.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::facts::Facts;
use super::fields::{Count, Loose, Text};
use super::shown::Part;
use super::usage_anthropic::Running;

/// Reads one event of a stream; `false` if it is not JSON of this shape.
pub(super) fn event(json: &str, running: &mut Running, facts: &mut Facts) -> bool {
    let Ok(event) = serde_json::from_str::<Event<'_>>(json) else { return false };
    if let Some(message) = &event.message {
        message.note_head(facts);
        if let Some(usage) = message.usage {
            running.take(usage, true, facts);
        }
    }
    facts.lane(event.index.part(), Part::Words, 0);
    if let Some(block) = &event.content_block.0 {
        block.note(facts);
    }
    if let Some(delta) = &event.delta.0 {
        delta.note(facts);
        facts.finish_reason(&delta.stop_reason);
    }
    if let Some(usage) = event.usage {
        running.take(usage, false, facts);
    }
    if let Some(error) = event.error {
        facts.error(error);
    }
    facts.reading.ended |= &*event.kind.0 == "message_stop";
    true
}

/// Reads a whole answer; `false` if it is not JSON of this shape.
pub(super) fn body(json: &str, facts: &mut Facts) -> bool {
    let Ok(message) = serde_json::from_str::<Message<'_>>(json) else { return false };
    message.note_head(facts);
    for (place, block) in message.content.all().iter().enumerate() {
        facts.lane(place as u64, Part::Words, 0);
        block.note(facts);
    }
    if let Some(usage) = message.usage {
        Running::default().take(usage, false, facts);
    }
    if let Some(error) = message.error {
        facts.error(error);
    }
    true
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    /// Of a content block.
    index: Count,
    /// `message_start`.
    #[serde(borrow)]
    message: Option<Message<'a>>,
    /// `content_block_start`.
    #[serde(borrow)]
    content_block: Loose<Block<'a>>,
    /// `content_block_delta` and `message_delta`.
    #[serde(borrow)]
    delta: Loose<Block<'a>>,
    /// `message_delta`.
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    stop_reason: Text<'a>,
    #[serde(borrow)]
    content: Loose<Vec<Block<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A content block, or what is added to one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Block<'a> {
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    thinking: Text<'a>,
    #[serde(borrow)]
    partial_json: Text<'a>,
    /// Of a tool call.
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_reason: Text<'a>,
}

impl Message<'_> {
    fn note_head(&self, facts: &mut Facts) {
        facts.response_id(&self.id);
        facts.model(&self.model);
        facts.finish_reason(&self.stop_reason);
    }
}

impl Block<'_> {
    fn note(&self, facts: &mut Facts) {
        facts.output(&self.text.0);
        facts.output(&self.thinking.0);
        facts.output(&self.name.0);
        facts.output(&self.partial_json.0);
        // A stream opens a tool call with an empty input and sends it in parts.
        if let Some(input) = self.input.filter(|input| input.get() != "{}") {
            facts.output(input.get());
        }
    }
}
