//! Reads chat completions and completions: the chunks of a stream and the whole answer have one shape.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::escape::has_escaped_letter;
use super::facts::Facts;
use super::fields::{Count, Loose, Text};
use super::shown::Part;
use super::usage_openai;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"choices\":"));

/// Reads one chunk of a stream; `false` if it is not JSON of this shape.
pub(super) fn event(json: &str, facts: &mut Facts) -> bool {
    let known = facts.reading.model.is_some() && facts.reading.response_id.is_some();
    let lean = if known { only_choices(json) } else { None };
    let Some(choices) = lean else { return body(json, facts) };
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
    let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(json) else { return false };
    facts.model(&chunk.model);
    facts.response_id(&chunk.id);
    facts.service_tier(&chunk.service_tier);
    if let Some(error) = chunk.error {
        facts.error(error);
    }
    let choices = chunk.choices.all();
    for choice in choices {
        choice.note(facts);
    }
    let from_vendor = chunk.x_groq.0.and_then(|groq| groq.usage);
    let from_choice = || choices.iter().find_map(|choice| choice.usage);
    if let Some(usage) = chunk.usage.or(from_vendor).or_else(from_choice) {
        let counted = usage_openai::read(usage.get());
        facts.counted(counted);
        let closing = counted.usage.is_some() && choices.is_empty() && chunk.choices.0.is_some();
        facts.reading.ended |= closing && !facts.reading.finish_reasons.is_empty();
    }
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
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    /// Groq's place for the usage of a stream.
    #[serde(borrow)]
    x_groq: Loose<Groq<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Groq<'a> {
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
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
    usage: Option<&'a RawValue>,
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
