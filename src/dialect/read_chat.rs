//! Reads chat completions and completions: the chunks of a stream and the whole answer have one shape.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::cursor::{Cursor, once};
use super::escape::has_escaped_letter;
use super::facts::Facts;
use super::fields::{Count, Loose, Raw, Text};
use super::shown::Part;
use super::usage_openai::{self, Counted};

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"choices\":"));

/// Reads one chunk of a stream; `false` if it is not JSON of this shape.
pub(super) fn event(json: &str, facts: &mut Facts) -> bool {
    if let Some(chunk) = walked(json) {
        chunk.note(facts);
        return true;
    }
    let known = facts.reading.model.is_some() && facts.reading.response_id.is_some();
    let lean = if known { only_choices(json) } else { None };
    let Some(choices) = lean else { return parsed(json, facts) };
    for choice in &choices {
        choice.note(facts);
    }
    true
}

/// The choices of a chunk that can hold nothing else of interest; most chunks are so, and reading no more
/// than this costs half. None where in doubt.
fn only_choices(json: &str) -> Option<Vec<Choice<'_>>> {
    let bytes = json.as_bytes();
    for at in USAGE.find_iter(bytes) {
        let value = json[at + USAGE.needle().len()..].trim_start().strip_prefix(':')?;
        value.trim_start().strip_prefix("null")?;
    }
    if ERROR.find(bytes).is_some() || has_escaped_letter(bytes) {
        return None;
    }
    let value = &json[CHOICES.find(bytes)? + CHOICES.needle().len()..];
    Vec::deserialize(&mut serde_json::Deserializer::from_str(value)).ok()
}

/// Reads one chunk, or one whole answer; `false` if it is not JSON of this shape.
pub(super) fn body(json: &str, facts: &mut Facts) -> bool {
    if let Some(chunk) = walked(json) {
        chunk.note(facts);
        return true;
    }
    parsed(json, facts)
}

/// A chunk or an answer that is written as most are, in a third of the time of a full parser.
fn walked(json: &str) -> Option<Chunk<'_>> {
    let mut cursor = Cursor::new(json);
    let chunk = Chunk::walk(&mut cursor)?;
    cursor.end()?;
    Some(chunk)
}

fn parsed(json: &str, facts: &mut Facts) -> bool {
    let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(json) else { return false };
    chunk.note(facts);
    true
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    service_tier: Text<'a>,
    #[serde(borrow)]
    choices: Loose<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<Raw<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Groq's place for the usage of a stream.
    #[serde(borrow)]
    x_groq: Loose<Groq<'a>>,
    /// The usage, where it was walked.
    #[serde(skip)]
    counted: Option<Counted>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Groq<'a> {
    #[serde(borrow)]
    usage: Option<Raw<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Choice<'a> {
    index: Count,
    /// Completions.
    #[serde(borrow)]
    text: Text<'a>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Text<'a>,
    /// Moonshot's place for the usage of a stream.
    #[serde(borrow)]
    usage: Option<Raw<'a>>,
}

/// A `delta` or a `message`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Text<'a>,
    #[serde(borrow)]
    refusal: Text<'a>,
    #[serde(borrow)]
    reasoning: Text<'a>,
    #[serde(borrow)]
    reasoning_content: Text<'a>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
    #[serde(borrow)]
    audio: Option<Audio<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolCall<'a> {
    /// Only in streams.
    index: Count,
    #[serde(borrow)]
    function: Option<Function<'a>>,
    #[serde(borrow)]
    custom: Option<Function<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Text<'a>,
    /// A custom tool's.
    #[serde(borrow)]
    input: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Audio<'a> {
    #[serde(borrow)]
    transcript: Text<'a>,
}

impl<'a> Chunk<'a> {
    fn note(&self, facts: &mut Facts) {
        facts.model(&self.model);
        facts.response_id(&self.id);
        facts.service_tier(&self.service_tier);
        if let Some(error) = self.error {
            facts.error(error);
        }
        let choices = self.choices.all();
        for choice in choices {
            choice.note(facts);
        }
        let from_vendor = self.x_groq.0.as_ref().and_then(|groq| groq.usage);
        let from_choice = || choices.iter().find_map(|choice| choice.usage);
        let read =
            || self.usage.or(from_vendor).or_else(from_choice).map(|usage| usage_openai::read(usage.0));
        if let Some(counted) = self.counted.or_else(read) {
            facts.counted(counted);
            let closing = counted.usage.is_some() && choices.is_empty() && self.choices.0.is_some();
            facts.reading.ended |= closing && !facts.reading.finish_reasons.is_empty();
        }
    }

    /// Walks a chunk without an error.
    fn walk(cursor: &mut Cursor<'a>) -> Option<Self> {
        let (mut id, mut model, mut service_tier) = (None, None, None);
        let (mut choices, mut counted) = (None, None);
        cursor.object(|cursor, name| match name {
            "id" => once(&mut id, Text::walk(cursor)?),
            "model" => once(&mut model, Text::walk(cursor)?),
            "service_tier" => once(&mut service_tier, Text::walk(cursor)?),
            "choices" => {
                let mut all = Vec::with_capacity(1);
                cursor.array(|cursor| {
                    all.push(Choice::walk(cursor)?);
                    Some(())
                })?;
                once(&mut choices, all)
            }
            "usage" if cursor.is_null()? => once(&mut counted, None),
            "usage" => once(&mut counted, Some(Counted::walk(cursor)?)),
            "error" | "x_groq" => None,
            _ => cursor.skip(),
        })?;
        Some(Self {
            id: id.unwrap_or_default(),
            model: model.unwrap_or_default(),
            service_tier: service_tier.unwrap_or_default(),
            choices: Loose(choices),
            usage: None,
            error: None,
            x_groq: Loose(None),
            counted: counted.flatten(),
        })
    }
}

impl<'a> Choice<'a> {
    fn walk(cursor: &mut Cursor<'a>) -> Option<Self> {
        let (mut index, mut text, mut finish_reason) = (None, None, None);
        let (mut delta, mut message, mut usage) = (None, None, None);
        cursor.object(|cursor, name| match name {
            "index" => once(&mut index, Count::walk(cursor)?),
            "text" => once(&mut text, Text::walk(cursor)?),
            "finish_reason" => once(&mut finish_reason, Text::walk(cursor)?),
            "delta" => once(&mut delta, Delta::walk(cursor)?),
            "message" => once(&mut message, Delta::walk(cursor)?),
            "usage" if cursor.is_null()? => once(&mut usage, None),
            "usage" => once(&mut usage, Some(Raw(cursor.raw(Cursor::skip)?))),
            _ => cursor.skip(),
        })?;
        Some(Self {
            index: index.unwrap_or_default(),
            text: text.unwrap_or_default(),
            delta,
            message,
            finish_reason: finish_reason.unwrap_or_default(),
            usage: usage.flatten(),
        })
    }
}

impl<'a> Delta<'a> {
    fn walk(cursor: &mut Cursor<'a>) -> Option<Self> {
        let (mut content, mut refusal, mut reasoning, mut reasoning_content) = (None, None, None, None);
        let (mut tool_calls, mut function_call, mut audio) = (None, None, None);
        cursor.object(|cursor, name| match name {
            "content" => once(&mut content, Text::walk(cursor)?),
            "refusal" => once(&mut refusal, Text::walk(cursor)?),
            "reasoning" => once(&mut reasoning, Text::walk(cursor)?),
            "reasoning_content" => once(&mut reasoning_content, Text::walk(cursor)?),
            "tool_calls" => once(&mut tool_calls, cursor.parsed()?),
            "function_call" => once(&mut function_call, cursor.parsed()?),
            "audio" => once(&mut audio, cursor.parsed()?),
            _ => cursor.skip(),
        })?;
        Some(Self {
            content: content.unwrap_or_default(),
            refusal: refusal.unwrap_or_default(),
            reasoning: reasoning.unwrap_or_default(),
            reasoning_content: reasoning_content.unwrap_or_default(),
            tool_calls: tool_calls.flatten(),
            function_call: function_call.flatten(),
            audio: audio.flatten(),
        })
    }
}

impl Choice<'_> {
    fn note(&self, facts: &mut Facts) {
        let choice = self.index.part();
        facts.choice(choice);
        facts.finish_reason(&self.finish_reason);
        facts.lane(choice, Part::Words, 0);
        facts.output(&self.text.0);
        for delta in self.delta.iter().chain(&self.message) {
            delta.note(choice, facts);
        }
    }
}

impl Delta<'_> {
    fn note(&self, choice: u64, facts: &mut Facts) {
        // Some vLLM versions send the same reasoning under both names.
        let reasoning = self.reasoning_content.some().unwrap_or(&self.reasoning.0);
        facts.lane(choice, Part::Reasoning, 0);
        facts.output(reasoning);
        facts.lane(choice, Part::Words, 0);
        facts.output(&self.content.0);
        facts.lane(choice, Part::Refusal, 0);
        facts.output(&self.refusal.0);
        for (place, call) in self.tool_calls.iter().flatten().enumerate() {
            facts.lane(choice, Part::Call, call.index.get().unwrap_or(place as u64));
            for function in call.function.iter().chain(&call.custom) {
                function.note(facts);
            }
        }
        if let Some(function) = &self.function_call {
            facts.lane(choice, Part::Call, 0);
            function.note(facts);
        }
        if let Some(audio) = &self.audio {
            facts.lane(choice, Part::Words, 1);
            facts.output(&audio.transcript.0);
        }
    }
}

impl Function<'_> {
    fn note(&self, facts: &mut Facts) {
        facts.output(&self.name.0);
        facts.output(&self.arguments.0);
        facts.output(&self.input.0);
    }
}

#[cfg(test)]
#[path = "read_chat_tests.rs"]
mod tests;
