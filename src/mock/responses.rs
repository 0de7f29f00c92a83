//! The Responses API, as JSON and as named events with sequence numbers. Usage is on the last event, always.

use serde_json::{Value, json};

use crate::base::usage::Usage;

use super::answer::{Answer, with_usage};
use super::ask::Ask;
use super::plan::{Finish, Output, Plan};
use super::wire::Event;

pub(super) fn answer(ask: &Ask, plan: &Plan) -> Answer {
    let reported = ask.knobs.usage.is_right();
    if ask.stream {
        return Answer::stream(ask, events(ask, plan), plan.usage, reported);
    }
    let visible = plan.usage.output_tokens - plan.usage.reasoning_tokens;
    let mut answer = Answer::json(&finished(ask, plan), plan.usage, visible);
    answer.usage_reported = reported;
    answer
}

/// How work in the background stands that has no usage yet: `queued`, `in_progress`.
pub(super) fn standing(ask: &Ask, status: &str) -> Answer {
    Answer::json(&response(ask, status, &json!([]), Some(Value::Null)), Usage::default(), 0)
}

/// Work in the background that was ended, and what it had used by then: all of it.
pub(super) fn cancelled(ask: &Ask, plan: &Plan) -> Answer {
    let usage = ask.knobs.usage.spell(usage_json(&plan.usage), "output_tokens");
    let mut answer = Answer::json(&response(ask, "cancelled", &json!([]), usage), plan.usage, 0);
    answer.usage_reported = ask.knobs.usage.is_right();
    answer
}

fn events(ask: &Ask, plan: &Plan) -> Vec<Event> {
    let mut story = Story { events: Vec::new() };
    let started = response(ask, "in_progress", &json!([]), Some(Value::Null));
    story.tell("response.created", &json!({"response": started}), 0);
    story.tell("response.in_progress", &json!({"response": started}), 0);
    let output = output(plan);
    let item = item_json(ask, output, "completed");
    let opened = item_json(ask, &emptied(output), "in_progress");
    story.tell("response.output_item.added", &json!({"output_index": 0, "item": opened}), 0);
    match output {
        Output::Text(pieces) => tell_text(&mut story, ask, pieces),
        Output::ToolCall { arguments, .. } => tell_call(&mut story, ask, arguments),
    }
    story.tell("response.output_item.done", &json!({"output_index": 0, "item": item}), 0);
    let last = if is_cut_short(plan) { "response.incomplete" } else { "response.completed" };
    story.tell(last, &json!({"response": finished(ask, plan)}), 0);
    story.events
}

fn tell_text(story: &mut Story, ask: &Ask, pieces: &[String]) {
    let place = || json!({"item_id": item_id(ask), "output_index": 0, "content_index": 0});
    let with = |name: &str, value: Value| {
        let mut body = place();
        body[name] = value;
        body
    };
    story.tell("response.content_part.added", &with("part", part("")), 0);
    for piece in pieces {
        let mut delta = with("delta", json!(piece));
        delta["logprobs"] = json!([]);
        story.tell("response.output_text.delta", &delta, 1);
    }
    let mut done = with("text", json!(pieces.concat()));
    done["logprobs"] = json!([]);
    story.tell("response.output_text.done", &done, 0);
    story.tell("response.content_part.done", &with("part", part(&pieces.concat())), 0);
}

fn tell_call(story: &mut Story, ask: &Ask, arguments: &[String]) {
    for piece in arguments {
        let delta = json!({"item_id": item_id(ask), "output_index": 0, "delta": piece});
        story.tell("response.function_call_arguments.delta", &delta, 1);
    }
    let done = json!({"item_id": item_id(ask), "output_index": 0, "arguments": arguments.concat()});
    story.tell("response.function_call_arguments.done", &done, 0);
}

/// The events of a stream, numbered as they are told.
struct Story {
    events: Vec<Event>,
}

impl Story {
    fn tell(&mut self, name: &'static str, said: &Value, tokens: u64) {
        let mut data = json!({"type": name});
        for (member, value) in said.as_object().into_iter().flatten() {
            data[member] = value.clone();
        }
        data["sequence_number"] = json!(self.events.len());
        self.events.push(Event::named(name, &data, tokens));
    }
}

fn finished(ask: &Ask, plan: &Plan) -> Value {
    let status = if is_cut_short(plan) { "incomplete" } else { "completed" };
    let usage = ask.knobs.usage.spell(usage_json(&plan.usage), "output_tokens");
    response(ask, status, &json!([item_json(ask, output(plan), "completed")]), usage)
}

fn response(ask: &Ask, status: &str, output: &Value, usage: Option<Value>) -> Value {
    let details = if status == "incomplete" { json!({"reason": "max_output_tokens"}) } else { Value::Null };
    let body = json!({"id": ask.id("resp_"), "object": "response", "created_at": ask.created(),
        "status": status, "background": ask.body["background"] == Value::Bool(true), "error": null, "incomplete_details": details,
        "instructions": ask.body["instructions"], "max_output_tokens": null, "model": ask.knobs.reported,
        "output": output, "parallel_tool_calls": true, "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "service_tier": ask.knobs.tier.as_deref().unwrap_or("default"), "store": true, "temperature": 1.0,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "truncation": "disabled", "user": null, "metadata": {}});
    with_usage(body, usage)
}

pub(super) fn usage_json(usage: &Usage) -> Value {
    let mut json = json!({"input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens()});
    if usage.cache_write_tokens > 0 {
        json["input_tokens_details"]["cache_write_tokens"] = json!(usage.cache_write_tokens);
    }
    json
}

fn item_json(ask: &Ask, output: &Output, status: &str) -> Value {
    match output {
        Output::Text(pieces) => {
            let content = if status == "completed" { json!([part(&pieces.concat())]) } else { json!([]) };
            json!({"id": item_id(ask), "type": "message", "status": status, "role": "assistant",
                "content": content})
        }
        Output::ToolCall { name, arguments } => json!({"id": item_id(ask), "type": "function_call",
            "status": status, "call_id": ask.id("call_"), "name": name, "arguments": arguments.concat()}),
    }
}

/// The same kind of output with nothing said yet.
fn emptied(output: &Output) -> Output {
    match output {
        Output::Text(_) => Output::Text(Vec::new()),
        Output::ToolCall { name, .. } => Output::ToolCall { name: name.clone(), arguments: Vec::new() },
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn item_id(ask: &Ask) -> String {
    ask.id("item_")
}

/// This API has no `n`: there is one choice.
fn output(plan: &Plan) -> &Output {
    &plan.choices.first().expect("a plan has at least one choice").output
}

fn is_cut_short(plan: &Plan) -> bool {
    plan.choices.iter().any(|choice| choice.finish == Finish::Length)
}
