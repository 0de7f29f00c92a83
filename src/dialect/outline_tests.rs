//! What is taken out of prompts, shape by shape.

use http::Method;
use serde_json::json;

use super::*;
use crate::dialect::path::classify;

fn outline_of(tail: &str, body: &Value) -> PromptOutline {
    outline(&classify(&Method::POST, &format!("/v1/{tail}")), &serde_json::to_vec(body).unwrap())
}

#[test]
fn a_chat_has_overhead_roles_names_and_texts() {
    let prompt = outline_of(
        "chat/completions",
        &json!({"model": "gpt-4o", "messages": [
            {"role": "system", "name": "rules", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": ""}]},
        ]}),
    );
    assert_eq!(prompt.texts, ["system", "Be brief.", "rules", "user", "Hi"]);
    assert_eq!(prompt.fixed_tokens, 2 * PER_MESSAGE + PER_NAME + PRIMING);
    assert_eq!(prompt.grounds.words(), "chat");
}

#[test]
fn tool_calls_and_their_results_count_as_text() {
    let prompt = outline_of(
        "chat/completions",
        &json!({"messages": [
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        ]}),
    );
    assert_eq!(prompt.texts, ["assistant", "f", "{\"a\":1}", "tool", "42"]);
    assert_eq!(prompt.grounds.words(), "tools+chat");
}

#[test]
fn functions_follow_the_cookbook() {
    let tool = json!({"type": "function", "function": {"name": "weather", "description": "Get it.", "parameters":
        {"type": "object", "properties": {
            "city": {"type": "string", "description": "Where."},
            "unit": {"type": "string", "enum": ["C", "F"]}}}}});
    for (model, per_function) in [("gpt-4o", 7), ("gpt-4", 10), ("gpt-3.5-turbo", 10), ("gpt-4.1", 7)] {
        let prompt =
            outline_of("chat/completions", &json!({"model": model, "messages": [], "tools": [tool]}));
        assert_eq!(prompt.texts, ["weather:Get it", "city:string:Where", "unit:string:", "C", "F"]);
        assert_eq!(prompt.fixed_tokens, 3 + per_function + 3 + 3 + 2 * 3 + 12, "{model}");
    }
}

#[test]
fn images_count_by_size_and_remote_ones_as_the_largest() {
    let small = "data:image/gif;base64,R0lGODlhgALgAQAAAA==";
    for (url, detail, tokens) in [(small, "high", 425), (small, "low", 85), ("https://x/y.png", "auto", 1445)]
    {
        let prompt = outline_of(
            "chat/completions",
            &json!({"model": "gpt-4o", "messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": url, "detail": detail}}]}]}),
        );
        assert_eq!(prompt.fixed_tokens, 6 + tokens, "{url}");
        assert_eq!(prompt.texts, ["user"], "base64 is no text");
    }
}

#[test]
fn a_prompt_rests_on_its_least_sure_part() {
    let inline = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAMACAIAAAA=";
    for (model, part, tokens, grounds) in [
        ("gpt-4o", json!({"type": "text", "text": "Hi"}), 0, "chat"),
        ("gpt-4o", json!({"type": "image_url", "image_url": {"url": inline}}), 765, "image+chat"),
        (
            "gpt-4o",
            json!({"type": "image_url", "image_url": {"url": inline, "detail": "low"}}),
            85,
            "image+chat",
        ),
        ("gpt-4.1-mini", json!({"type": "image_url", "image_url": {"url": inline}}), 1_245, "image+chat"),
        (
            "gpt-4o",
            json!({"type": "image_url", "image_url": {"url": "https://x/y.png"}}),
            1_445,
            "ceiling+chat",
        ),
        ("some-model", json!({"type": "image_url", "image_url": {"url": inline}}), 765, "ceiling+chat"),
        ("gpt-4o", json!({"type": "input_audio", "input_audio": {"data": "AAAA"}}), 0, "unseen+chat"),
        ("gpt-4o", json!({"type": "file", "file": {"file_id": "f"}}), 0, "unseen+chat"),
    ] {
        let prompt = outline_of(
            "chat/completions",
            &json!({"model": model, "n": 3, "messages": [{"role": "user", "content": [part]}]}),
        );
        assert_eq!(
            (prompt.fixed_tokens, prompt.grounds.words().as_str()),
            (6 + tokens, grounds),
            "{model} {part}"
        );
    }
}

#[test]
fn a_function_call_in_a_history_is_counted_like_a_tool_call() {
    let prompt = outline_of(
        "chat/completions",
        &json!({"messages": [
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "42"},
        ]}),
    );
    assert_eq!(prompt.texts, ["assistant", "f", "{}", "function", "42", "f"]);
    assert_eq!(prompt.fixed_tokens, 2 * PER_MESSAGE + PER_NAME + PRIMING);
}

#[test]
fn inputs_are_texts_or_token_ids() {
    for (input, texts, fixed) in [
        (json!("a b"), vec!["a b"], 0),
        (json!(["a", "b"]), vec!["a", "b"], 0),
        (json!([1, 2, 3]), vec![], 3),
        (json!([[1, 2], [3]]), vec![], 3),
        (json!(null), vec![], 0),
    ] {
        for (tail, member) in [("embeddings", "input"), ("completions", "prompt"), ("moderations", "input")] {
            let prompt = outline_of(tail, &json!({"model": "m", member: input}));
            assert_eq!(
                (prompt.texts.as_slice(), prompt.fixed_tokens, prompt.grounds),
                (
                    texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().as_slice(),
                    fixed,
                    Grounds::default()
                )
            );
        }
    }
}

#[test]
fn a_response_is_read_as_text_or_as_items() {
    let plain =
        outline_of("responses", &json!({"model": "gpt-5", "instructions": "Be kind.", "input": "Hi"}));
    assert_eq!(plain.texts, ["Be kind.", "Hi"]);
    let items = outline_of(
        "responses",
        &json!({"model": "gpt-5", "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"},
                {"type": "input_image", "image_url": "https://x", "detail": "low"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "output": "done"},
        ], "tools": [{"type": "function", "name": "f", "parameters": {}}]}),
    );
    assert_eq!(items.texts, ["user", "Hi", "f", "{}", "done", "f:"]);
    assert!(items.fixed_tokens >= 3 * PER_MESSAGE + PRIMING + 70);
    assert_eq!(items.grounds.words(), "ceiling+tools+chat");
}

#[test]
fn anthropic_messages_are_read_with_system_and_blocks() {
    let prompt = outline_of(
        "messages",
        &json!({"model": "claude-x", "system": [{"type": "text", "text": "S"}], "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm"},
                {"type": "tool_use", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "R"}]},
                {"type": "image", "source": {"type": "base64", "data": "R0lGODlhgALgAQAAAA=="}}]},
        ], "tools": [{"name": "f", "description": "D", "input_schema": {"properties": {"a": {"type": "integer"}}}}]}),
    );
    assert_eq!(
        prompt.texts,
        ["S", "user", "Hi", "assistant", "Hm", "f", "{\"a\":1}", "user", "R", "f:D", "a:integer:"]
    );
    assert_eq!(prompt.fixed_tokens, 3 * 3 + 3 + (23 * 18) + 7 + 3 + 3 + 12);
}

#[test]
fn speech_counts_characters() {
    let prompt = outline_of("audio/speech", &json!({"model": "tts-1", "input": "Grüße", "voice": "alloy"}));
    assert_eq!((prompt.characters, prompt.texts), (5, vec!["Grüße".to_owned()]));
}

#[test]
fn what_cannot_be_taken_apart_is_skipped() {
    let chat = classify(&Method::POST, "/v1/chat/completions");
    let huge = vec![b' '; MAX_BODY + 1];
    let crowded = [b"{\"messages\":[", "1,".repeat(MAX_VALUES).as_bytes(), b"1]}"].concat();
    for body in [&b"not json"[..], &huge, &crowded] {
        let prompt = outline(&chat, body);
        assert_eq!((prompt.skipped_bytes, prompt.grounds), (body.len(), Ground::Bytes.into()));
        assert_eq!((prompt.texts, prompt.fixed_tokens), (Vec::new(), 0));
    }
    let picture = format!("data:image/png;base64,{}", "A".repeat(MAX_BODY));
    let large = outline_of(
        "chat/completions",
        &json!({"messages": [{"content": [{"image_url": {"url": picture}}]}]}),
    );
    assert!(large.skipped_bytes < 20_000, "an image is not skipped as text: {}", large.skipped_bytes);
    for odd in [json!([]), json!({"messages": {"a": 1}}), json!({"messages": [1, "x", null, {"content": 5}]})]
    {
        assert_eq!(outline_of("chat/completions", &odd).texts, Vec::<String>::new());
    }
}
