//! Embeddings, as lists of numbers or base64 (what the official SDKs ask for).

use serde_json::{Value, json};

use crate::base::usage::Usage;

use super::answer::{Answer, with_usage};
use super::ask::Ask;
use super::plan;
use super::sample::{self, Dice};

pub(super) fn answer(ask: &Ask) -> Answer {
    let base64 = ask.body["encoding_format"] == "base64";
    let length = ask.body["dimensions"].as_u64().unwrap_or_else(|| dimensions(&ask.knobs.reported));
    let data: Vec<Value> = (0..inputs(&ask.body["input"]))
        .map(|index| {
            let numbers = vector(ask.seed ^ index, length.min(MAX_DIMENSIONS));
            let embedding = if base64 { json!(coded(&numbers)) } else { json!(numbers) };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let input_tokens = ask.knobs.input.unwrap_or_else(|| plan::input_tokens(&ask.body));
    let usage = Usage { input_tokens, ..Usage::default() };
    let member = json!({"prompt_tokens": input_tokens, "total_tokens": input_tokens});
    let body = json!({"object": "list", "data": data, "model": ask.knobs.reported});
    let body = with_usage(body, ask.knobs.usage.spell(member, "prompt_tokens"));
    let mut answer = Answer::json(&body, usage, 0);
    answer.usage_reported = ask.knobs.usage.is_right();
    answer
}

/// A string and a list of tokens are one input; a list of strings or of token lists is many.
fn inputs(input: &Value) -> u64 {
    match input.as_array() {
        Some(items) if !items.first().is_some_and(Value::is_number) => items.len() as u64,
        _ => 1,
    }
}

/// Eighths of thousandths, exact in 32 bits, so that both encodings say the same.
fn vector(seed: u64, length: u64) -> Vec<f32> {
    let mut dice = Dice::new(seed);
    (0..length)
        .map(|_| {
            let number = i16::try_from(dice.below(2048)).unwrap_or(0) - 1024;
            f32::from(number) / 8192.0
        })
        .collect()
}

fn coded(numbers: &[f32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    sample::base64(&bytes)
}

fn dimensions(model: &str) -> u64 {
    if model.contains("large") { 3072 } else { 1536 }
}

/// The largest that a real model has.
const MAX_DIMENSIONS: u64 = 4096;
