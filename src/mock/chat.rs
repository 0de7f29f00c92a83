//! Chat completions, as JSON and as a stream (WIRE facts: the usage chunk only when asked for, and then
//! `"usage":null` on every other chunk).

use serde_json::{Value, json};

use crate::base::usage::Usage;

use super::answer::{Answer, with_usage};
use super::ask::Ask;
use super::knobs::UsageSpelling;
use super::plan::{Choice, Finish, Output, Plan};
use super::wire::Event;

pub(super) fn answer(ask: &Ask, plan: &Plan) -> Answer {
    if ask.stream { stream(ask, plan) } else { whole(ask, plan) }
}

/// Usage as chat completions and completions write it.
pub(super) fn usage_json(usage: &Usage) -> Value {
    let mut json = json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens(),
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    });
    if usage.cache_write_tokens > 0 {
        json["prompt_tokens_details"]["cache_write_tokens"] = json!(usage.cache_write_tokens);
    }
    json
}

/// Where usage goes in a stream of chunks.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamUsage {
    spelling: UsageSpelling,
    asked: bool,
}

impl StreamUsage {
    pub(super) fn of(ask: &Ask) -> Self {
        Self { spelling: ask.knobs.usage, asked: ask.include_usage }
    }

    /// The member on a chunk before the last one; `so_far` is what was used up to it.
    pub(super) fn on_chunk(self, so_far: &Usage) -> Option<Value> {
        match self.spelling {
            UsageSpelling::EveryChunk => Some(usage_json(so_far)),
            UsageSpelling::FinishChunk | UsageSpelling::Absent => None,
            _ => self.asked.then_some(Value::Null),
        }
    }

    /// The member on the last chunk with a finish reason.
    pub(super) fn on_finish(self, total: &Usage) -> Option<Value> {
        match self.spelling {
            UsageSpelling::FinishChunk => Some(usage_json(total)),
            _ => self.on_chunk(total),
        }
    }

    /// The member on the chunk without choices; without it there is no such chunk.
    pub(super) fn on_last(self, total: &Usage) -> Option<Value> {
        match self.spelling {
            UsageSpelling::EveryChunk => Some(usage_json(total)),
            UsageSpelling::FinishChunk => None,
            spelling if self.asked => spelling.spell(usage_json(total), "completion_tokens"),
            _ => None,
        }
    }

    /// Whether the stream mentions the right numbers.
    pub(super) fn is_reported(self) -> bool {
        let unasked = matches!(self.spelling, UsageSpelling::EveryChunk | UsageSpelling::FinishChunk);
        self.spelling.is_right() && (self.asked || unasked)
    }
}

fn whole(ask: &Ask, plan: &Plan) -> Answer {
    let choices: Vec<Value> = plan
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            json!({"index": index, "message": message(ask, index, &choice.output), "logprobs": null,
                "finish_reason": finish_reason(choice.finish)})
        })
        .collect();
    let body = json!({"id": ask.id("chatcmpl-"), "object": "chat.completion", "created": ask.created(),
        "model": ask.knobs.reported, "choices": choices, "service_tier": tier(ask),
        "system_fingerprint": FINGERPRINT});
    let spelling = ask.knobs.usage;
    let body = with_usage(body, spelling.spell(usage_json(&plan.usage), "completion_tokens"));
    let mut answer = Answer::json(&body, plan.usage, plan.usage.output_tokens - plan.usage.reasoning_tokens);
    answer.usage_reported = spelling.is_right();
    answer
}

fn message(ask: &Ask, index: usize, output: &Output) -> Value {
    match output {
        Output::Text(pieces) => json!({"role": "assistant", "content": pieces.concat(), "refusal": null,
            "annotations": []}),
        Output::ToolCall { name, arguments } => json!({"role": "assistant", "content": null,
            "tool_calls": [{"id": call_id(ask, index), "type": "function",
                "function": {"name": name, "arguments": arguments.concat()}}], "refusal": null,
            "annotations": []}),
    }
}

fn stream(ask: &Ask, plan: &Plan) -> Answer {
    let mut chunks = Chunks { ask, usage: StreamUsage::of(ask), so_far: plan.usage, events: Vec::new() };
    chunks.so_far.output_tokens = plan.usage.reasoning_tokens;
    for (index, choice) in plan.choices.iter().enumerate() {
        chunks.open(index, choice);
    }
    let longest = plan.choices.iter().map(|choice| choice.output.pieces().len()).max().unwrap_or(0);
    for place in 0..longest {
        for (index, choice) in plan.choices.iter().enumerate() {
            if let Some(piece) = choice.output.pieces().get(place) {
                chunks.so_far.output_tokens += 1;
                chunks.delta(index, &delta(&choice.output, piece), 1);
            }
        }
    }
    for (index, choice) in plan.choices.iter().enumerate() {
        let last = index + 1 == plan.choices.len();
        chunks.finish(index, finish_reason(choice.finish), last);
    }
    if let Some(usage) = chunks.usage.on_last(&plan.usage) {
        let chunk = with_usage(chunks.chunk(&json!([])), Some(usage));
        let again = ask.knobs.usage == UsageSpelling::Twice;
        for _ in 0..if again { 2 } else { 1 } {
            chunks.events.push(Event::data(&chunk, 0));
        }
    }
    chunks.events.push(Event::done());
    Answer::stream(ask, chunks.events, plan.usage, chunks.usage.is_reported())
}

/// The chunks of a stream, so far.
struct Chunks<'a> {
    ask: &'a Ask,
    usage: StreamUsage,
    so_far: Usage,
    events: Vec<Event>,
}

impl Chunks<'_> {
    fn open(&mut self, index: usize, choice: &Choice) {
        match &choice.output {
            Output::Text(_) => {
                self.delta(index, &json!({"role": "assistant", "content": "", "refusal": null}), 0);
            }
            Output::ToolCall { name, .. } => {
                let call = json!({"index": 0, "id": call_id(self.ask, index), "type": "function",
                    "function": {"name": name, "arguments": ""}});
                let delta = json!({"role": "assistant", "content": null, "tool_calls": [call],
                    "refusal": null});
                self.delta(index, &delta, 0);
            }
        }
    }

    fn delta(&mut self, index: usize, delta: &Value, tokens: u64) {
        let choice = json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": null}]);
        let chunk = with_usage(self.chunk(&choice), self.usage.on_chunk(&self.so_far));
        self.events.push(Event::data(&chunk, tokens));
    }

    fn finish(&mut self, index: usize, reason: &str, last: bool) {
        let choice = json!([{"index": index, "delta": {}, "logprobs": null, "finish_reason": reason}]);
        let usage = if last { self.usage.on_finish(&self.so_far) } else { self.usage.on_chunk(&self.so_far) };
        let chunk = with_usage(self.chunk(&choice), usage);
        self.events.push(Event::data(&chunk, 0));
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({"id": self.ask.id("chatcmpl-"), "object": "chat.completion.chunk",
            "created": self.ask.created(), "model": self.ask.knobs.reported, "service_tier": tier(self.ask),
            "system_fingerprint": FINGERPRINT, "choices": choices})
    }
}

fn delta(output: &Output, piece: &str) -> Value {
    match output {
        Output::Text(_) => json!({"content": piece}),
        Output::ToolCall { .. } => json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}),
    }
}

fn call_id(ask: &Ask, index: usize) -> String {
    ask.id(&format!("call_{index}"))
}

fn tier(ask: &Ask) -> &str {
    ask.knobs.tier.as_deref().unwrap_or("default")
}

const fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCall => "tool_calls",
    }
}

const FINGERPRINT: &str = "fp_mock";
