//! Anthropic messages, as JSON and as named events. Input tokens EXCLUDE what was cached, unlike elsewhere.

use serde_json::{Value, json};

use crate::base::usage::Usage;

use super::answer::{Answer, with_usage};
use super::ask::Ask;
use super::plan::{self, Finish, Output, Plan};
use super::wire::Event;

pub(super) fn answer(ask: &Ask, plan: &Plan) -> Answer {
    let reported = ask.knobs.usage.is_right();
    if ask.stream {
        return Answer::stream(ask, events(ask, plan), plan.usage, reported);
    }
    let content = json!([block(ask, output(plan))]);
    let body = message(ask, &content, Some(stop_reason(plan)), &plan.usage);
    let visible = plan.usage.output_tokens - plan.usage.reasoning_tokens;
    let mut answer = Answer::json(&body, plan.usage, visible);
    answer.usage_reported = reported;
    answer
}

/// `count_tokens`: a count, not spend.
pub(super) fn count(ask: &Ask) -> Answer {
    let tokens = ask.knobs.input.unwrap_or_else(|| plan::input_tokens(&ask.body));
    Answer::json(&json!({"input_tokens": tokens}), Usage::default(), 0)
}

fn events(ask: &Ask, plan: &Plan) -> Vec<Event> {
    let output = output(plan);
    let first = Usage { output_tokens: 1, reasoning_tokens: 0, ..plan.usage };
    let opened = message(ask, &json!([]), None, &first);
    let mut events = vec![
        named("message_start", &json!({"message": opened}), 0),
        named("content_block_start", &json!({"index": 0, "content_block": opened_block(ask, output)}), 0),
        named("ping", &json!({}), 0),
    ];
    for piece in output.pieces() {
        let delta = match output {
            Output::Text(_) => json!({"type": "text_delta", "text": piece}),
            Output::ToolCall { .. } => json!({"type": "input_json_delta", "partial_json": piece}),
        };
        events.push(named("content_block_delta", &json!({"index": 0, "delta": delta}), 1));
    }
    events.push(named("content_block_stop", &json!({"index": 0}), 0));
    let delta = json!({"delta": {"stop_reason": stop_reason(plan), "stop_sequence": null}});
    let cumulative = json!({"output_tokens": plan.usage.output_tokens});
    let cumulative = ask.knobs.usage.spell(cumulative, "output_tokens");
    events.push(named("message_delta", &with_usage(delta, cumulative), 0));
    events.push(named("message_stop", &json!({}), 0));
    events
}

fn named(name: &'static str, said: &Value, tokens: u64) -> Event {
    let mut data = json!({"type": name});
    for (member, value) in said.as_object().into_iter().flatten() {
        data[member] = value.clone();
    }
    Event::named(name, &data, tokens)
}

fn message(ask: &Ask, content: &Value, stop_reason: Option<&str>, usage: &Usage) -> Value {
    let body = json!({"id": ask.id("msg_"), "type": "message", "role": "assistant",
        "model": ask.knobs.reported, "content": content, "stop_reason": stop_reason,
        "stop_sequence": null});
    with_usage(body, ask.knobs.usage.spell(usage_json(ask, usage), "output_tokens"))
}

fn usage_json(ask: &Ask, usage: &Usage) -> Value {
    let uncached = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens;
    let mut json = json!({"input_tokens": uncached,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.output_tokens,
        "service_tier": ask.knobs.tier.as_deref().unwrap_or("standard")});
    if usage.reasoning_tokens > 0 {
        json["output_tokens_details"] = json!({"thinking_tokens": usage.reasoning_tokens});
    }
    json
}

fn block(ask: &Ask, output: &Output) -> Value {
    match output {
        Output::Text(pieces) => json!({"type": "text", "text": pieces.concat()}),
        Output::ToolCall { name, arguments } => {
            // arguments cut short by the cap are no JSON; the real answer has what could be parsed
            let input = serde_json::from_str(&arguments.concat()).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": ask.id("toolu_"), "name": name, "input": input})
        }
    }
}

fn opened_block(ask: &Ask, output: &Output) -> Value {
    match output {
        Output::Text(_) => json!({"type": "text", "text": ""}),
        Output::ToolCall { name, .. } => {
            json!({"type": "tool_use", "id": ask.id("toolu_"), "name": name, "input": {}})
        }
    }
}

/// Messages has no `n`: there is one choice.
fn output(plan: &Plan) -> &Output {
    &plan.choices.first().expect("a plan has at least one choice").output
}

fn stop_reason(plan: &Plan) -> &'static str {
    match plan.choices.first().map(|choice| choice.finish) {
        Some(Finish::Length) => "max_tokens",
        Some(Finish::ToolCall) => "tool_use",
        Some(Finish::Stop) | None => "end_turn",
    }
}
