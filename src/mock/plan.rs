//! What an answer will say and use, decided before its first byte: the same for every dialect.

use serde_json::Value;

use crate::base::usage::Usage;

use super::ask::Ask;
use super::sample::{self, Dice};

/// One answer, before it has a wire shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Usage,
}

/// One of the `n` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) output: Output,
    pub(super) finish: Finish,
}

/// What is said, in pieces of one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    Text(Vec<String>),
    ToolCall { name: String, arguments: Vec<String> },
}

impl Output {
    /// The pieces, whatever they say.
    pub(super) fn pieces(&self) -> &[String] {
        match self {
            Self::Text(pieces) | Self::ToolCall { arguments: pieces, .. } => pieces,
        }
    }
}

/// Why it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCall,
}

impl Plan {
    /// The answer to `ask`; `tokens` is the output length where neither model name nor chance decide.
    pub(super) fn of(ask: &Ask, tokens: Option<u64>) -> Self {
        let mut dice = Dice::new(ask.seed);
        let count = ask.body["n"].as_u64().unwrap_or(1).clamp(1, MAX_CHOICES);
        let cap = if ask.knobs.ignore_cap { u64::MAX } else { cap(&ask.body) };
        let reasoning = ask.knobs.reasoning.min(cap);
        let choices: Vec<Choice> =
            (0..count).map(|_| choice(ask, cap - reasoning, tokens, &mut dice)).collect();
        let visible: u64 = choices.iter().map(|choice| choice.output.pieces().len() as u64).sum();
        let input = ask.knobs.input.unwrap_or_else(|| input_tokens(&ask.body));
        let cached = ask.knobs.cached.min(input);
        let usage = Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: ask.knobs.cache_write.min(input - cached),
            output_tokens: visible + reasoning * count,
            reasoning_tokens: reasoning * count,
            ..Usage::default()
        };
        Self { choices, usage }
    }
}

fn choice(ask: &Ask, cap: u64, tokens: Option<u64>, dice: &mut Dice) -> Choice {
    let (output, finish) = match (tool(ask), schema(&ask.body)) {
        (Some((name, parameters)), _) => {
            let arguments = sample::pieces(&sample::fitting(&parameters, dice).to_string());
            (Output::ToolCall { name, arguments }, Finish::ToolCall)
        }
        (None, Some(schema)) => {
            (Output::Text(sample::pieces(&sample::fitting(&schema, dice).to_string())), Finish::Stop)
        }
        (None, None) => {
            let count = ask.knobs.out.or(tokens).unwrap_or_else(|| 12 + dice.below(13));
            let text = Output::Text(sample::words(dice, count.min(cap)));
            return Choice { output: text, finish: if count > cap { Finish::Length } else { Finish::Stop } };
        }
    };
    shortened(output, finish, cap)
}

fn shortened(mut output: Output, finish: Finish, cap: u64) -> Choice {
    let cap = usize::try_from(cap).unwrap_or(usize::MAX);
    let (Output::Text(pieces) | Output::ToolCall { arguments: pieces, .. }) = &mut output;
    let finish = if pieces.len() > cap { Finish::Length } else { finish };
    pieces.truncate(cap);
    Choice { output, finish }
}

/// The caller's limit on output, in any dialect's spelling.
fn cap(body: &Value) -> u64 {
    ["max_completion_tokens", "max_output_tokens", "max_tokens"]
        .into_iter()
        .find_map(|name| body[name].as_u64())
        .unwrap_or(u64::MAX)
}

/// The tool to call, if one should be: its name and the schema of its arguments.
fn tool(ask: &Ask) -> Option<(String, Value)> {
    let choice = &ask.body["tool_choice"];
    let kind = choice.as_str().or_else(|| choice["type"].as_str()).unwrap_or("auto");
    if kind == "none" {
        return None;
    }
    let tools: Vec<(&str, &Value)> = ask.body["tools"].as_array()?.iter().filter_map(function).collect();
    let wanted = choice["name"].as_str().or_else(|| choice["function"]["name"].as_str());
    let said = last_user_text(&ask.body).to_lowercase();
    let forced = ask.knobs.tool || matches!(kind, "required" | "any");
    let found = match wanted {
        Some(name) => tools.iter().find(|(tool, _)| *tool == name),
        None if forced || said.contains("tool") => tools.first(),
        None => tools.iter().find(|(tool, _)| said.contains(&tool.to_lowercase())),
    };
    found.map(|(name, parameters)| ((*name).to_owned(), (*parameters).clone()))
}

/// Name and schema of a function tool, in any dialect's spelling.
fn function(tool: &Value) -> Option<(&str, &Value)> {
    let inner = if tool["function"].is_object() { &tool["function"] } else { tool };
    let schema = if inner["input_schema"].is_object() { "input_schema" } else { "parameters" };
    Some((inner["name"].as_str()?, &inner[schema]))
}

/// The schema that the answer must fit, in any dialect's spelling.
fn schema(body: &Value) -> Option<Value> {
    // the last one is Anthropic's, from before `output_config`
    let format = [
        &body["response_format"],
        &body["text"]["format"],
        &body["output_config"]["format"],
        &body["output_format"],
    ]
    .into_iter()
    .find(|format| format.is_object())?;
    match format["type"].as_str()? {
        "json_schema" if format["json_schema"].is_object() => Some(format["json_schema"]["schema"].clone()),
        "json_schema" => Some(format["schema"].clone()),
        "json_object" => Some(serde_json::json!({"properties": {"answer": {"type": "string"}}})),
        _ => None,
    }
}

/// The text of the last message, when the user wrote it.
fn last_user_text(body: &Value) -> String {
    let messages = if body["messages"].is_array() { &body["messages"] } else { &body["input"] };
    if let Some(text) = messages.as_str() {
        return text.to_owned();
    }
    let Some(last) = messages.as_array().and_then(|all| all.last()) else { return String::new() };
    if last["role"] != "user" {
        return String::new();
    }
    match &last["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// Input tokens: one per word, three per message and three for the answer's start (the rule that
/// `OpenAI`'s cookbook gives, with words for tokens).
pub(super) fn input_tokens(body: &Value) -> u64 {
    let said = ["messages", "system", "input", "instructions", "prompt", "tools"];
    let words: u64 = said.into_iter().map(|name| words_in(&body[name])).sum();
    let messages = body["messages"].as_array().map_or(0, |all| all.len() as u64);
    words + if messages > 0 { 3 * messages + 3 } else { 0 }
}

fn words_in(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(_) => 1,
        Value::String(text) if text.starts_with("data:") => IMAGE_TOKENS,
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(items) => items.iter().map(words_in).sum(),
        Value::Object(members) => members.values().map(words_in).sum(),
    }
}

/// The provider's own limit.
const MAX_CHOICES: u64 = 128;

/// A low-detail image of the gpt-4o family.
const IMAGE_TOKENS: u64 = 85;
