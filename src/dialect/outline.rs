//! What a tokenizer needs from a request: its texts, and the tokens that no text shows (WIRE 3.2).

use serde_json::Value;

pub use super::ceiling::{InputCeiling, input_ceiling};
use super::grounds::{Ground, Grounds};
use super::image::{self, Detail};
use super::path::{Endpoint, Operation};

/// The countable parts of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PromptOutline {
    /// Texts that are cut into tokens one by one.
    pub texts: Vec<String>,
    /// Tokens besides the texts: overhead per message and tool, token ids given as numbers, images.
    pub fixed_tokens: u64,
    /// Characters to speak, where speech is billed by them.
    pub characters: u64,
    /// Bytes that were not looked into; a rough share of tokens stands for them.
    pub skipped_bytes: usize,
    /// What the count of it will rest on, its texts aside.
    pub grounds: Grounds,
}

/// Bodies beyond this are not taken apart: more text than any model reads.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// Bodies with more values than this neither: each takes up to a hundred bytes of memory.
const MAX_VALUES: usize = 500_000;

/// Tokens that frame one chat message.
const PER_MESSAGE: u64 = 3;
/// Tokens that open the answer.
const PRIMING: u64 = 3;
/// The token in front of a message's `name`.
const PER_NAME: u64 = 1;
/// Tokens per function, by the cookbook's rule for the `gpt-4o` family and what came after it.
const PER_FUNCTION: u64 = 7;
/// The same for `gpt-4` and `gpt-3.5`.
const PER_FUNCTION_BEFORE_4O: u64 = 10;
/// Tokens for having parameters at all, and for each of them without an `enum`.
const PER_PROPERTY: u64 = 3;
/// Tokens per value of an `enum`; they replace the property's own three.
const PER_ENUM_ITEM: u64 = 3;
/// Tokens that close the list of functions.
const FUNCTIONS_END: u64 = 12;
/// Nested parameters are followed this deep.
const MAX_SCHEMA_DEPTH: usize = 8;

/// Takes a request body apart. A body that is not JSON of a known shape is skipped, not refused.
#[must_use]
pub fn outline(endpoint: &Endpoint, body: &[u8]) -> PromptOutline {
    let too_large = body.len() > MAX_BODY || too_many_values(body);
    let parsed = if too_large { None } else { serde_json::from_slice::<Value>(body).ok() };
    let Some(request) = parsed else { return skipped(endpoint, body) };
    let mut outliner = Outliner {
        model: request["model"].as_str().unwrap_or_default().to_owned(),
        prompt: PromptOutline::default(),
    };
    match endpoint.operation {
        Operation::ChatCompletions => outliner.chat(&request),
        Operation::Completions => outliner.inputs(&request["prompt"]),
        Operation::Embeddings | Operation::Moderations => outliner.inputs(&request["input"]),
        Operation::Responses | Operation::ResponsesCompact | Operation::Decisions => {
            outliner.response(&request);
        }
        Operation::Messages => outliner.anthropic(&request),
        Operation::CountTokens if request["messages"].is_array() => outliner.anthropic(&request),
        Operation::CountTokens => outliner.response(&request),
        Operation::Images => outliner.text(&request["prompt"]),
        Operation::Speech => outliner.speech(&request),
        // what a session holds is not in its events
        Operation::Realtime
        | Operation::ResponsesSocket
        | Operation::Live
        | Operation::RealtimeResponse
        | Operation::LiveSession => {}
        Operation::Transcriptions
        | Operation::Translations
        | Operation::Models
        | Operation::Batches
        | Operation::Stored
        | Operation::Unmetered => {}
    }
    outliner.prompt
}

/// A body that is not taken apart: its bytes without those of images and audio.
fn skipped(endpoint: &Endpoint, body: &[u8]) -> PromptOutline {
    let bytes = input_ceiling(endpoint, "", body).tokens;
    let skipped_bytes = usize::try_from(bytes).map_or(body.len(), |bytes| bytes.min(body.len()));
    PromptOutline { skipped_bytes, grounds: Ground::Bytes.into(), ..PromptOutline::default() }
}

/// Every value of a body but the first follows one of these marks.
fn too_many_values(body: &[u8]) -> bool {
    memchr::memchr3_iter(b',', b'[', b'{', body).nth(MAX_VALUES).is_some()
}

struct Outliner {
    model: String,
    prompt: PromptOutline,
}

impl Outliner {
    fn chat(&mut self, request: &Value) {
        for message in list(&request["messages"]) {
            self.message(message);
        }
        self.rests_on(Ground::Chat);
        self.fixed(PRIMING);
        let tools = list(&request["tools"]).iter().map(|tool| &tool["function"]);
        self.functions(tools.chain(list(&request["functions"])), "parameters");
        self.schema_text(&request["response_format"]["json_schema"]);
    }

    fn response(&mut self, request: &Value) {
        // no rule is published for the Responses API; the chat rule is near
        if request["instructions"].is_string() {
            self.fixed(PER_MESSAGE);
            self.text(&request["instructions"]);
        }
        match &request["input"] {
            Value::String(_) => {
                self.fixed(PER_MESSAGE + 1);
                self.text(&request["input"]);
            }
            input => list(input).iter().for_each(|item| self.message(item)),
        }
        self.rests_on(Ground::Chat);
        self.fixed(PRIMING);
        self.functions(list(&request["tools"]).iter(), "parameters");
        self.schema_text(&request["text"]["format"]["schema"]);
    }

    fn anthropic(&mut self, request: &Value) {
        self.content(&request["system"]);
        for message in list(&request["messages"]) {
            self.message(message);
        }
        self.rests_on(Ground::Chat);
        self.fixed(PRIMING);
        self.functions(list(&request["tools"]).iter(), "input_schema");
    }

    fn speech(&mut self, request: &Value) {
        let input = request["input"].as_str().unwrap_or_default();
        self.prompt.characters = input.chars().count() as u64;
        self.text(&request["input"]);
        self.text(&request["instructions"]);
    }

    /// A chat message, or an item of a response's input, which has the same members and a few more.
    fn message(&mut self, message: &Value) {
        self.fixed(PER_MESSAGE);
        self.text(&message["role"]);
        self.content(&message["content"]);
        self.content(&message["output"]);
        if message["name"].is_string() {
            self.fixed(PER_NAME);
            self.text(&message["name"]);
        }
        self.text(&message["refusal"]);
        self.text(&message["arguments"]);
        let calls = list(&message["tool_calls"]).iter().map(|call| &call["function"]);
        for call in calls.chain(message.get("function_call")) {
            self.rests_on(Ground::Tools);
            self.text(&call["name"]);
            self.text(&call["arguments"]);
        }
    }

    /// A string, or a list of parts.
    fn content(&mut self, content: &Value) {
        self.text(content);
        for part in list(content) {
            self.part(part);
        }
    }

    fn part(&mut self, part: &Value) {
        match part["type"].as_str().unwrap_or_default() {
            "text" | "input_text" | "output_text" | "summary_text" => self.text(&part["text"]),
            "refusal" => self.text(&part["refusal"]),
            "image_url" => {
                let image = &part["image_url"];
                self.image(image["url"].as_str(), &image["detail"]);
            }
            "input_image" => self.image(part["image_url"].as_str(), &part["detail"]),
            "image" => self.image(part["source"]["data"].as_str(), &Value::Null),
            "tool_result" => self.content(&part["content"]),
            "tool_use" => {
                self.rests_on(Ground::Tools);
                self.text(&part["name"]);
                self.json(&part["input"]);
            }
            "thinking" => self.text(&part["thinking"]),
            // audio, files and what is new: nothing here can count them
            _ => self.rests_on(Ground::Unseen),
        }
    }

    fn image(&mut self, data: Option<&str>, detail: &Value) {
        let detail = Detail::of(detail.as_str());
        let size = data.and_then(image::size_of_base64);
        // a remote image is never fetched; nor is the rule of a model known whose name has none
        let is_measured = size.is_some() && image::has_rule(&self.model);
        self.rests_on(if is_measured { Ground::Image } else { Ground::Ceiling });
        self.fixed(image::tokens(&self.model, detail, size));
    }

    /// The cookbook's rule for functions, approximate for anything it did not name.
    fn functions<'a>(&mut self, functions: impl Iterator<Item = &'a Value>, schema: &str) {
        let per_function = if is_before_4o(&self.model) { PER_FUNCTION_BEFORE_4O } else { PER_FUNCTION };
        let mut any = false;
        for function in functions.filter(|function| function["name"].is_string()) {
            any = true;
            self.fixed(per_function);
            let name = function["name"].as_str().unwrap_or_default();
            self.owned(format!("{name}:{}", description(function)));
            self.properties(&function[schema], MAX_SCHEMA_DEPTH);
        }
        if any {
            self.rests_on(Ground::Tools);
            self.fixed(FUNCTIONS_END);
        }
    }

    fn properties(&mut self, schema: &Value, depth: usize) {
        let Some(properties) = schema["properties"].as_object().filter(|all| !all.is_empty()) else { return };
        self.fixed(PER_PROPERTY);
        for (name, property) in properties {
            let kind = property["type"].as_str().unwrap_or_default();
            self.owned(format!("{name}:{kind}:{}", description(property)));
            match property["enum"].as_array() {
                None => self.fixed(PER_PROPERTY),
                Some(items) => {
                    for item in items {
                        self.fixed(PER_ENUM_ITEM);
                        self.text(item);
                    }
                }
            }
            if depth > 0 {
                self.properties(property, depth - 1);
                self.properties(&property["items"], depth - 1);
            }
        }
    }

    /// Embedding inputs and completion prompts: a text, texts, token ids, or lists of token ids.
    fn inputs(&mut self, input: &Value) {
        self.text(input);
        for item in list(input) {
            match item {
                Value::Number(_) => self.fixed(1),
                Value::Array(ids) => self.fixed(ids.len() as u64),
                _ => self.text(item),
            }
        }
    }

    fn schema_text(&mut self, schema: &Value) {
        if schema.is_object() {
            self.json(schema);
        }
    }

    fn json(&mut self, value: &Value) {
        self.rests_on(Ground::Tools);
        self.owned(value.to_string());
    }

    fn text(&mut self, value: &Value) {
        if let Some(text) = value.as_str() {
            self.owned(text.to_owned());
        }
    }

    fn owned(&mut self, text: String) {
        if !text.is_empty() {
            self.prompt.texts.push(text);
        }
    }

    fn rests_on(&mut self, ground: Ground) {
        self.prompt.grounds.add(ground);
    }

    fn fixed(&mut self, tokens: u64) {
        self.prompt.fixed_tokens = self.prompt.fixed_tokens.saturating_add(tokens);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is_before_4o(model: &str) -> bool {
    model == "gpt-4" || ["gpt-4-", "gpt-3.5", "gpt-35"].iter().any(|prefix| model.starts_with(prefix))
}

/// A description as it is counted: without its final full stop.
fn description(value: &Value) -> &str {
    let text = value["description"].as_str().unwrap_or_default();
    text.strip_suffix('.').unwrap_or(text)
}

#[cfg(test)]
#[path = "outline_tests.rs"]
mod tests;
