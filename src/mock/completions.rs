//! The older completions endpoint, as JSON and as a stream.

use serde_json::{Value, json};

use super::answer::{Answer, with_usage};
use super::ask::Ask;
use super::chat::{StreamUsage, usage_json};
use super::plan::{Finish, Plan};
use super::wire::Event;

pub(super) fn answer(ask: &Ask, plan: &Plan) -> Answer {
    if ask.stream {
        return stream(ask, plan);
    }
    let choices: Vec<Value> = plan
        .choices
        .iter()
        .enumerate()
        .map(|(index, choice)| {
            choice_json(index, &choice.output.pieces().concat(), Some(finish_reason(choice.finish)))
        })
        .collect();
    let spelling = ask.knobs.usage;
    let usage = spelling.spell(usage_json(&plan.usage), "completion_tokens");
    let body = with_usage(envelope(ask, &json!(choices)), usage);
    let mut answer = Answer::json(&body, plan.usage, plan.usage.output_tokens);
    answer.usage_reported = spelling.is_right();
    answer
}

fn stream(ask: &Ask, plan: &Plan) -> Answer {
    let usage = StreamUsage::of(ask);
    let mut so_far = plan.usage;
    so_far.output_tokens = plan.usage.reasoning_tokens;
    let mut events = Vec::new();
    for (index, choice) in plan.choices.iter().enumerate() {
        for piece in choice.output.pieces() {
            so_far.output_tokens += 1;
            let chunk = envelope(ask, &json!([choice_json(index, piece, None)]));
            events.push(Event::data(&with_usage(chunk, usage.on_chunk(&so_far)), 1));
        }
        let last = index + 1 == plan.choices.len();
        let member = if last { usage.on_finish(&so_far) } else { usage.on_chunk(&so_far) };
        let finish = choice_json(index, "", Some(finish_reason(choice.finish)));
        events.push(Event::data(&with_usage(envelope(ask, &json!([finish])), member), 0));
    }
    if let Some(total) = usage.on_last(&plan.usage) {
        events.push(Event::data(&with_usage(envelope(ask, &json!([])), Some(total)), 0));
    }
    events.push(Event::done());
    Answer::stream(ask, events, plan.usage, usage.is_reported())
}

fn envelope(ask: &Ask, choices: &Value) -> Value {
    json!({"id": ask.id("cmpl-"), "object": "text_completion", "created": ask.created(),
        "model": ask.knobs.reported, "choices": choices})
}

fn choice_json(index: usize, text: &str, finish: Option<&str>) -> Value {
    json!({"text": text, "index": index, "logprobs": null, "finish_reason": finish})
}

const fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCall => "stop",
        Finish::Length => "length",
    }
}
