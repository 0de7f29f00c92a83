//! Counts against published figures, and bounds on what a hostile text can do.

use http::Method;
use serde_json::{Value, json};

use super::super::StreamCount;
use super::*;
use crate::dialect::outline::{input_ceiling, outline};
use crate::dialect::path::classify;

fn prompt_of(tail: &str, body: &Value) -> (String, PromptOutline, u64) {
    let endpoint = classify(&Method::POST, &format!("/v1/{tail}"));
    let model = body["model"].as_str().unwrap().to_owned();
    let body = serde_json::to_vec(body).unwrap();
    let ceiling = input_ceiling(&endpoint, &model, &body).tokens;
    (model, outline(&endpoint, &body), ceiling)
}

fn cookbook_chat(model: &str) -> Value {
    json!({"model": model, "messages": [
        {"role": "system", "content":
            "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
        {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
        {"role": "system", "name": "example_assistant", "content":
            "Things working well together will increase revenue."},
        {"role": "system", "name": "example_user", "content":
            "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
        {"role": "system", "name": "example_assistant", "content":
            "Let's talk later when we're less busy about how to do better."},
        {"role": "user", "content":
            "This late pivot means we don't have time to boil the ocean for the client deliverable."},
    ]})
}

#[test]
fn chat_prompts_count_as_the_provider_counts_them() {
    for (model, tokens) in
        [("gpt-4", 129), ("gpt-3.5-turbo-0125", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)]
    {
        let (model, prompt, _) = prompt_of("chat/completions", &cookbook_chat(model));
        let count = Tokenizer.count_prompt(&model, &prompt);
        assert_eq!((count.tokens, count.grounds.words().as_str()), (tokens, "chat"), "{model}");
    }
}

#[test]
fn tools_count_as_the_provider_counts_them() {
    for (model, tokens) in [("gpt-4o", 101), ("gpt-4", 105)] {
        let (model, prompt, _) = prompt_of(
            "chat/completions",
            &json!({"model": model, "messages": [
                {"role": "system", "content":
                    "You are a helpful assistant that can answer to questions about the weather."},
                {"role": "user", "content": "What's the weather like in San Francisco?"},
            ], "tools": [{"type": "function", "function": {
                "name": "get_current_weather",
                "description": "Get the current weather in a given location",
                "parameters": {"type": "object", "properties": {
                    "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                    "unit": {"type": "string", "description": "The unit of temperature to return",
                        "enum": ["celsius", "fahrenheit"]},
                }, "required": ["location"]},
            }}]}),
        );
        assert_eq!(Tokenizer.count_prompt(&model, &prompt).tokens, tokens, "{model}");
    }
}

#[test]
fn no_prompt_counts_above_its_ceiling() {
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object",
        "properties": {"a": {"enum": ["", "b", "c"]}, "b": {"type": "object", "properties": {"c": {}}}}}}}]);
    let many: Vec<Value> = (0..500).map(|_| json!({"role": "", "content": ""})).collect();
    for (tail, body) in [
        ("chat/completions", cookbook_chat("gpt-4")),
        ("chat/completions", json!({"model": "gpt-4o", "messages": many})),
        ("chat/completions", json!({"model": "gpt-4", "messages": [], "tools": tools})),
        (
            "chat/completions",
            json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "😀𝕏\u{7f}\u{200d}".repeat(99)}]}),
        ),
        (
            "chat/completions",
            json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://x"}}, {"type": "image_url", "image_url": {"url": "https://y"}}]}]}),
        ),
        ("embeddings", json!({"model": "text-embedding-3-small", "input": [[1, 2, 3], [4]]})),
        ("responses", json!({"model": "gpt-5", "input": many, "instructions": "<|endoftext|>"})),
        ("messages", json!({"model": "claude-x", "max_tokens": 1, "messages": many, "system": "s"})),
    ] {
        let (model, prompt, ceiling) = prompt_of(tail, &body);
        let counted = Tokenizer.count_prompt(&model, &prompt).tokens;
        assert!(counted <= ceiling, "{counted} > {ceiling}: {tail} {model}");
    }
}

#[test]
fn special_tokens_in_a_text_are_plain_text() {
    assert_eq!(Tokenizer.count("gpt-4o", "<|endoftext|>").tokens, 7);
}

/// Ten megabytes of what images and files are sent as.
fn base64() -> String {
    let mut word = 1_u64;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let next = |_| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(letters[usize::try_from(word >> 58).unwrap()])
    };
    (0..10_000_000).map(next).collect()
}

#[test]
fn wire_39_a_hostile_megabyte_is_counted_and_nothing_panics() {
    // by the Python package, which panics on the first of them itself
    for (text, tokens) in [
        (" ".repeat(1_000_000), 7_813),
        ("a".repeat(1_000_000), 125_000),
        ("\n".repeat(1_000_000), 62_500),
        (" \n\t".repeat(333_333), 333_334),
        ("的".repeat(333_333), 333_333),
        ("A1b".repeat(333_333), 999_999),
        ("a".repeat(600_000) + &" ".repeat(400_000), 78_125),
    ] {
        let count = Tokenizer.count("gpt-4o", &text);
        assert!(count.tokens.abs_diff(tokens) * 1_000 <= tokens, "{count:?} of {:?}", text.get(..3));
        let mut stream = StreamCount::new("gpt-4o");
        stream.push(&text);
        let streamed = stream.count().tokens;
        assert!(streamed.abs_diff(tokens) * 100 <= tokens, "{streamed} of {:?}", text.get(..3));
    }
}

#[test]
fn wire_39_ten_megabytes_of_base64_are_counted_in_bounds() {
    let text = base64();
    let at_once = Tokenizer.count("gpt-4o", &text);
    let mut stream = StreamCount::new("gpt-4o");
    for part in text.as_bytes().chunks(65_521) {
        stream.push(std::str::from_utf8(part).unwrap());
    }
    let streamed = stream.count();
    let words = [at_once, streamed].map(|count| count.grounds.words());
    assert_eq!(words, ["extrapolated", "text"], "a stream is never extrapolated");
    assert!(at_once.tokens.abs_diff(streamed.tokens) * 100 <= streamed.tokens, "{at_once:?} {streamed:?}");
}

#[test]
fn text_beyond_the_limit_is_extrapolated_and_says_so() {
    let once = Tokenizer.count("gpt-4o", &"four words of text. ".repeat(MAX_TEXT / 20));
    let tenfold = Tokenizer.count("gpt-4o", &"four words of text. ".repeat(MAX_TEXT / 2));
    assert_eq!([once, tenfold].map(|count| count.grounds.words()), ["text", "extrapolated"]);
    assert!(tenfold.tokens.abs_diff(once.tokens * 10) < 100, "{once:?} {tenfold:?}");
}

#[test]
fn a_prompt_of_many_texts_is_bounded_as_a_whole() {
    let text = "four words of text. ".repeat(MAX_TEXT / 40);
    let once = Tokenizer.count("gpt-4o", &text).tokens;
    let prompt = PromptOutline { texts: vec![text; 10], fixed_tokens: 7, ..PromptOutline::default() };
    let count = Tokenizer.count_prompt("gpt-4o", &prompt);
    assert_eq!(count.grounds.words(), "extrapolated");
    assert!(count.tokens.abs_diff(once * 10 + 7) < 100, "{count:?} of ten times {once}");
}

#[test]
fn an_unknown_model_is_counted_and_says_so() {
    let unknown = Count { tokens: 2, grounds: Ground::OtherVocabulary.into() };
    assert_eq!(Tokenizer.count("gpt-6", "hello world"), unknown);
    assert_eq!(Tokenizer.count("gpt-4o", ""), Count::default());
}

#[test]
fn the_rough_estimate_rounds_up() {
    assert_eq!([0, 1, 4, 5, 1000].map(rough), [0, 1, 1, 2, 250]);
}

#[test]
fn pieces_add_up_to_the_whole() {
    let words =
        ["The ", "quick-brown fox, ", "it's 12345 ", "née ", "fn main() { }\n\n", "  x ", "日本語 text "];
    let text: String = (0..20_000_usize).map(|at| words[(at * at + at / 3) % words.len()]).collect();
    for model in ["gpt-4o", "gpt-4"] {
        let whole = Encoding::of(model).0.load().count_ordinary(&text) as u64;
        let exact = Count { tokens: whole, grounds: Ground::Text.into() };
        assert_eq!(Tokenizer.count(model, &text), exact, "{model}");
    }
}
