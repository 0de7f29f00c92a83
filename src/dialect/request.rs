//! The facts of a request body that the walk needs: model, stream, caps. Reads in one pass, borrows,
//! keeps byte places for splicing, and never fails on what an upstream might still accept.

use std::ops::Range;

use serde_json::value::RawValue;

use super::ceiling::{InputCeiling, input_ceiling};
use super::form::Form;
use super::members::{Fields, Outer};
use super::path::{Endpoint, Metering, Operation};
use super::survey;

/// What a request body says. A member of an unexpected type counts as absent: the upstream judges it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestFacts {
    /// The model, if it is a string that is not empty.
    pub model: Option<String>,
    /// Where its value stands in the body: a JSON string with its quotes, or a bare multipart value.
    pub model_at: Option<Range<usize>>,
    /// How the body is written, and so how a value is spliced into it.
    pub form: BodyForm,
    /// Whether an event stream is asked for (`"stream": true`).
    pub stream: bool,
    /// `stream_options.include_usage`, if it is a boolean.
    pub include_usage: Option<bool>,
    /// Where stream options stand.
    pub stream_options: StreamOptions,
    /// The most output tokens per choice; the larger if several are given; `None` if there is none or
    /// one is given that cannot be read, so that nobody reserves less than the upstream may take.
    pub output_cap: Option<u64>,
    /// Where output caps stand that this operation's upstream reads, `null` ones too.
    pub caps: Vec<Cap>,
    /// Whether the request asks for output that the answer does not show as text: reasoning, audio, images,
    /// predictions that may be turned down.
    pub asks_hidden: bool,
    /// The part of the output cap that is set aside for thinking (Anthropic).
    pub thinking_budget: Option<u64>,
    /// Web searches that the answer may make at most, as far as the request bounds them.
    pub web_searches: u64,
    /// The model that may make images on the way of a response; empty where the tool names none.
    pub image_tool: Option<String>,
    /// Answers that are made: `n` or `best_of`, times the prompts of a legacy completion. At least 1
    /// once a body was scanned.
    pub choices: u64,
    /// The end user as the client names them: `user`, `safety_identifier` or `metadata.user_id`.
    pub user: Option<String>,
    /// A background response: its usage appears only when it is read later.
    pub background: bool,
    /// Service tier asked for.
    pub service_tier: Option<String>,
    /// Speed asked for (Anthropic).
    pub speed: Option<String>,
    /// What spans say about sampling.
    pub sampling: Sampling,
}

/// An output cap in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// Where its value stands.
    pub at: Range<usize>,
    /// What it says; `None` for `null`, and for what cannot be read.
    pub tokens: Option<u64>,
}

/// How a request body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyForm {
    /// One JSON object.
    Json,
    /// `multipart/form-data`.
    Multipart,
    /// Not read: a path without a body of ours to know.
    #[default]
    Unread,
}

/// Where `stream_options` stands in a body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StreamOptions {
    /// There is none.
    #[default]
    Absent,
    /// It is `null`, here.
    Null(Range<usize>),
    /// It is an object, here.
    Object {
        /// The object with its braces.
        at: Range<usize>,
        /// The value of its `include_usage`, if it has one.
        include_usage_at: Option<Range<usize>>,
        /// Whether it has no members at all.
        is_empty: bool,
    },
    /// It is something that no upstream accepts.
    Other,
}

/// Request attributes of the upstream span (TELEMETRY 1.3).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// `temperature`
    pub temperature: Option<f64>,
    /// `top_p`
    pub top_p: Option<f64>,
    /// `top_k`, Anthropic and several compatible servers.
    pub top_k: Option<u64>,
    /// `frequency_penalty`
    pub frequency_penalty: Option<f64>,
    /// `presence_penalty`
    pub presence_penalty: Option<f64>,
    /// `seed`
    pub seed: Option<i64>,
    /// `stop` or `stop_sequences`, at most [`MAX_STOPS`] of them.
    pub stop: Vec<String>,
    /// `reasoning_effort`, or `reasoning.effort` of a response.
    pub reasoning_level: Option<String>,
}

/// Stop sequences kept for the span; upstreams take 4 to 16.
pub const MAX_STOPS: usize = 16;

/// A body that cannot be what its path asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// For the client, to stand behind "the request body cannot be read:": what is wrong and where.
    pub message: String,
}

/// Reads the facts of a body, and the most input that it can cost.
///
/// # Errors
/// As [`scan`].
pub fn read(
    endpoint: &Endpoint,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<(RequestFacts, InputCeiling), BadRequest> {
    if let Some(read) = read_at_once(endpoint, content_type, body) {
        return Ok(read);
    }
    let facts = scan(endpoint, content_type, body)?;
    let ceiling = input_ceiling(endpoint, facts.model.as_deref().unwrap_or_default(), body);
    Ok((facts, ceiling))
}

/// The same for a body that is written as most are, in one pass.
fn read_at_once(
    endpoint: &Endpoint,
    content_type: Option<&str>,
    body: &[u8],
) -> Option<(RequestFacts, InputCeiling)> {
    let is_form = || content_type.is_some_and(|content_type| Form::of(endpoint, content_type).is_some());
    if !has_body(endpoint.operation) || is_form() {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let (fields, survey) = survey::read(text)?;
    let facts = json_facts(endpoint.operation, &fields, &Outer::new(body));
    let ceiling = survey.ceiling(facts.model.as_deref().unwrap_or_default());
    Some((facts, ceiling))
}

/// Reads the facts of a body.
///
/// # Errors
/// If the path wants JSON and the body is no JSON object; and if it says twice what decides its cost.
pub fn scan(
    endpoint: &Endpoint,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<RequestFacts, BadRequest> {
    let operation = endpoint.operation;
    if !has_body(operation) {
        return Ok(RequestFacts { choices: 1, ..RequestFacts::default() });
    }
    // elsewhere a form is refused whatever its label says: some upstreams never read the label
    if let Some(mut form) = content_type.and_then(|content_type| Form::of(endpoint, content_type)) {
        form.push(body);
        return form.facts();
    }
    match Fields::read(body) {
        Ok(Fields { ambiguous: Some(name), .. }) => {
            Err(BadRequest { message: format!("`{name}` stands in it more than once, or in other letters") })
        }
        Ok(fields) => Ok(json_facts(operation, &fields, &Outer::new(body))),
        Err(_) if takes_files(operation) => Ok(RequestFacts { choices: 1, ..RequestFacts::default() }),
        Err(fault) => Err(BadRequest { message: format!("not a JSON object: {fault}") }),
    }
}

fn has_body(operation: Operation) -> bool {
    match operation {
        Operation::Moderations | Operation::CountTokens => true,
        _ => operation.metering() == Metering::Billed,
    }
}

/// Operations whose bodies may be files: what cannot be read is forwarded.
pub(super) const fn takes_files(operation: Operation) -> bool {
    matches!(operation, Operation::Images | Operation::Transcriptions | Operation::Translations)
}

fn json_facts(operation: Operation, fields: &Fields<'_>, body: &Outer<'_>) -> RequestFacts {
    let (include_usage, stream_options) = stream_options(fields, body);
    let model = fields.model.and_then(Fields::text);
    let sampling = sampling(fields);
    RequestFacts {
        model_at: model.as_ref().and_then(|_| fields.model.map(|raw| body.range(raw))),
        model: model.filter(|model| !model.is_empty()),
        form: BodyForm::Json,
        stream: fields.stream.is_some_and(|raw| raw == "true"),
        include_usage,
        stream_options,
        output_cap: output_cap(operation, fields),
        caps: caps(operation, fields)
            .map(|raw| Cap { at: body.range(raw), tokens: Fields::count(raw) })
            .collect(),
        asks_hidden: asks_hidden(fields, &sampling),
        thinking_budget: thinking(fields).and_then(|inner| inner.budget_tokens).and_then(Fields::count),
        web_searches: web_searches(fields),
        image_tool: image_tool(fields).filter(|_| operation == Operation::Responses),
        choices: choices(operation, fields),
        user: user(fields),
        background: fields.background.is_some_and(|raw| raw == "true"),
        service_tier: fields.service_tier.and_then(Fields::text),
        speed: fields.speed.and_then(Fields::text),
        sampling,
    }
}

fn stream_options(fields: &Fields<'_>, body: &Outer<'_>) -> (Option<bool>, StreamOptions) {
    let Some(raw) = fields.stream_options else { return (None, StreamOptions::Absent) };
    let at = body.range(raw);
    if raw == "null" {
        return (None, StreamOptions::Null(at));
    }
    let Ok(options) = Fields::read(raw.as_bytes()) else { return (None, StreamOptions::Other) };
    let include_usage = options.include_usage.and_then(|raw| raw.parse().ok());
    let include_usage_at = options.include_usage.map(|raw| body.range(raw));
    (include_usage, StreamOptions::Object { at, include_usage_at, is_empty: options.is_empty })
}

/// Only the caps that this operation's upstream reads: another's would be ignored there, and must not
/// make a reservation small here.
fn output_cap(operation: Operation, fields: &Fields<'_>) -> Option<u64> {
    let mut largest = None;
    for raw in caps(operation, fields).filter(|raw| *raw != "null") {
        largest = largest.max(Some(Fields::count(raw)?));
    }
    largest
}

fn caps<'a>(operation: Operation, fields: &Fields<'a>) -> impl Iterator<Item = &'a str> {
    let caps = match operation {
        Operation::ChatCompletions => [fields.max_completion_tokens, fields.max_tokens],
        Operation::Completions | Operation::Messages => [fields.max_tokens, None],
        Operation::Responses | Operation::ResponsesCompact | Operation::Decisions => {
            [fields.max_output_tokens, None]
        }
        _ => [None, None],
    };
    caps.into_iter().flatten()
}

fn asks_hidden(fields: &Fields<'_>, sampling: &Sampling) -> bool {
    let is_said = |raw: Option<&str>| raw.is_some_and(|raw| raw != "null");
    let reasons = sampling.reasoning_level.as_ref().is_some_and(|level| level != "none");
    let thinks = thinking(fields)
        .is_some_and(|inner| inner.r#type.and_then(Fields::text).is_none_or(|kind| kind != "disabled"));
    let beside_text =
        fields.modalities.is_some_and(|raw| Fields::texts(raw).iter().any(|kind| kind != "text"));
    reasons || thinks || beside_text || is_said(fields.prediction)
}

fn thinking<'a>(fields: &Fields<'a>) -> Option<Fields<'a>> {
    fields.thinking.and_then(|raw| Fields::read(raw.as_bytes()).ok())
}

/// Searches of the upstream's own tools: as many as a tool allows, or as answers usually make at most.
fn web_searches(fields: &Fields<'_>) -> u64 {
    let by_option = fields.web_search_options.filter(|raw| *raw != "null").map(|_| 1);
    let by_tools = tools(fields, "web_search").into_iter().filter_map(|raw| {
        let tool = Fields::read(raw.get().as_bytes()).ok()?;
        let kind = tool.r#type.and_then(Fields::text)?;
        let most = tool.max_uses.and_then(Fields::count).unwrap_or(USUAL_SEARCHES);
        kind.starts_with("web_search").then_some(most)
    });
    by_option.into_iter().chain(by_tools).fold(0, u64::saturating_add)
}

fn image_tool(fields: &Fields<'_>) -> Option<String> {
    tools(fields, "image_generation").into_iter().find_map(|raw| {
        let tool = Fields::read(raw.get().as_bytes()).ok()?;
        let is_image = tool.r#type.and_then(Fields::text)?.starts_with("image_generation");
        is_image.then(|| tool.model.and_then(Fields::text).unwrap_or_default())
    })
}

/// The tools, if one of them may be of this kind, be it written with escapes.
fn tools<'a>(fields: &Fields<'a>, kind: &str) -> Vec<&'a RawValue> {
    let listed = fields.tools.filter(|raw| raw.contains(kind) || raw.contains("\\u"));
    listed.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
}

/// Where a tool says no number. Agents rarely search more often in one answer, and what they do is billed
/// by the answer's own count.
const USUAL_SEARCHES: u64 = 10;

fn choices(operation: Operation, fields: &Fields<'_>) -> u64 {
    let count = |raw: Option<_>| raw.and_then(Fields::count).unwrap_or(1).max(1);
    match operation {
        Operation::ChatCompletions | Operation::Images => count(fields.n),
        Operation::Completions => {
            let prompts = fields.prompt.map_or(1, Fields::prompts);
            count(fields.n).max(count(fields.best_of)).saturating_mul(prompts)
        }
        _ => 1,
    }
}

fn user(fields: &Fields<'_>) -> Option<String> {
    let named = |raw: Option<_>| raw.and_then(Fields::text).filter(|name| !name.is_empty());
    named(fields.user).or_else(|| named(fields.safety_identifier)).or_else(|| {
        let metadata = Fields::read(fields.metadata?.as_bytes()).ok()?;
        named(metadata.user_id)
    })
}

fn sampling(fields: &Fields<'_>) -> Sampling {
    let reasoning = fields.reasoning.and_then(|raw| Fields::read(raw.as_bytes()).ok());
    let effort = fields.reasoning_effort.or_else(|| reasoning.and_then(|inner| inner.effort));
    Sampling {
        temperature: fields.temperature.and_then(Fields::number),
        top_p: fields.top_p.and_then(Fields::number),
        top_k: fields.top_k.and_then(Fields::count),
        frequency_penalty: fields.frequency_penalty.and_then(Fields::number),
        presence_penalty: fields.presence_penalty.and_then(Fields::number),
        seed: fields.seed.and_then(|raw| raw.parse().ok()),
        stop: fields.stop.or(fields.stop_sequences).map(Fields::texts).unwrap_or_default(),
        reasoning_level: effort.and_then(Fields::text),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
