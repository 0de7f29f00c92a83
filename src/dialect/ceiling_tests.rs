//! Upper bounds: high enough for what they see, honest about what they do not.

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::dialect::path::classify;

fn ceiling_of(tail: &str, model: &str, body: &Value) -> InputCeiling {
    let endpoint = classify(&Method::POST, &format!("/v1/{tail}"));
    input_ceiling(&endpoint, model, &serde_json::to_vec(body).unwrap())
}

fn chat_part(part: &Value) -> InputCeiling {
    ceiling_of("chat/completions", "gpt-4o", &json!({"messages": [{"role": "user", "content": [part]}]}))
}

#[test]
fn every_byte_of_text_counts_wherever_it_stands() {
    let text = "é".repeat(5_000);
    for body in [
        json!({"messages": [{"role": "user", "content": text}]}),
        json!({"messages": [{"role": text, "content": ""}]}),
        json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": text}}]}]}),
        json!({"tools": [{"type": "function", "function": {"name": "f", "description": text}}]}),
        json!({"tools": [{"type": "function", "function": {"parameters": {"properties": {text.as_str(): {}}}}}]}),
        json!({"messages": [{"content": [{"type": "tool_use", "input": {"source": {"data": text}}}]}]}),
        json!({"messages": [{"content": [{"type": "image", "source": {"type": "base64", "data": text}}]}]}),
        json!({"unheard_of": text}),
        json!({"input": [text]}),
        json!({"instructions": text}),
    ] {
        let ceiling = ceiling_of("chat/completions", "gpt-4o", &body);
        assert!(ceiling.tokens >= 10_000 && ceiling.tokens < 13_000, "{ceiling:?} {body}");
        assert!(!ceiling.is_open);
    }
}

#[test]
fn a_picture_counts_as_a_picture_not_as_its_base64() {
    let picture = format!("data:image/png;base64,iVBORw0KGgo{}", "A".repeat(4_000_000));
    let image = json!({"type": "image_url", "image_url": {"url": picture}});
    let shown = chat_part(&image);
    assert!(shown.tokens >= 1445 && shown.tokens < 5_000 && !shown.is_open, "{shown:?}");
    let remote = chat_part(&json!({"type": "image_url", "image_url": {"url": "https://x/y"}}));
    assert!(remote.tokens >= 1445 && !remote.is_open, "{remote:?}");
    let source = json!({"type": "image", "source": {"type": "base64", "data": &picture["data:image/png;base64,".len()..]}});
    let anthropic = ceiling_of("messages", "claude-x", &json!({"messages": [{"content": [source]}]}));
    assert!(anthropic.tokens >= 4784 && anthropic.tokens < 10_000 && !anthropic.is_open, "{anthropic:?}");
}

#[test]
fn a_short_request_reserves_little_and_tools_a_bit_more() {
    let plain = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]});
    let plain = ceiling_of("chat/completions", "gpt-4o", &plain).tokens;
    assert!(plain < 250, "{plain}");
    let tools = json!({"messages": [], "tools": [{"type": "function", "function": {"name": "f"}}]});
    assert!(ceiling_of("chat/completions", "gpt-4o", &tools).tokens > 700);
}

#[test]
fn a_sound_counts_by_its_length() {
    let sound = "A".repeat(640_000);
    let ceiling = chat_part(&json!({"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}));
    assert!(ceiling.tokens >= 10_000 && ceiling.tokens < 13_000 && !ceiling.is_open, "{ceiling:?}");
}

#[test]
fn what_the_body_does_not_show_is_said_to_be_open() {
    for part in [
        json!({"type": "file", "file": {"file_id": "file-1"}}),
        json!({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0x"}}),
        json!({"type": "input_file", "file_url": "https://x/y.pdf"}),
        json!({"type": "input_image", "file_id": "file-1"}),
        json!({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}),
        json!({"type": "document", "source": {"type": "base64", "data": "JVBERi0xLjQ"}}),
        json!({"type": "document", "source": {"type": "file", "file_id": "file-1"}}),
    ] {
        assert!(chat_part(&part).is_open, "{part}");
    }
    for body in [
        json!({"input": "x", "previous_response_id": "resp_1"}),
        json!({"input": "x", "conversation": "conv_1"}),
        json!({"input": [{"type": "item_reference", "id": "msg_1"}]}),
        json!({"prompt": {"id": "pmpt_1"}}),
        json!({"input": "x", "tools": [{"type": "web_search"}]}),
        json!({"input": "x", "tools": [{"type": "mcp", "server_url": "https://x"}]}),
    ] {
        assert!(ceiling_of("responses", "gpt-5", &body).is_open, "{body}");
    }
}

#[test]
fn ordinary_tools_and_absent_references_are_not_open() {
    for body in [
        json!({"input": "x", "previous_response_id": null, "conversation": null, "prompt": null}),
        json!({"input": "x", "tools": [{"type": "function", "name": "web_search"}]}),
        json!({"messages": [], "tools": [{"name": "f", "input_schema": {"properties": {"type": {"type": "x"}}}}]}),
        json!({"messages": [], "tools": [{"type": "bash_20250124", "name": "bash"}]}),
        json!({"prompt": "text of a legacy completion"}),
    ] {
        assert!(!ceiling_of("responses", "gpt-5", &body).is_open, "{body}");
    }
}

#[test]
fn json_that_only_an_upstream_can_read_is_open() {
    let chat = classify(&Method::POST, "/v1/chat/completions");
    let deep = format!("{{\"messages\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    for body in [&br#"{"messages":[{"content":"\ud800"}]}"#[..], deep.as_bytes(), b"{\"a\":\"\xff\"}"] {
        let ceiling = input_ceiling(&chat, "gpt-4o", body);
        assert!(ceiling.is_open && ceiling.tokens >= body.len() as u64, "{ceiling:?}");
    }
}

#[test]
fn forms_count_their_files_by_kind() {
    let mut form = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n".to_vec();
    form.resize(6_400_000, 0);
    let speech = input_ceiling(&classify(&Method::POST, "/v1/audio/transcriptions"), "whisper-1", &form);
    assert!(speech.tokens >= 100_000 && speech.tokens < 300_000, "{speech:?}");
    let edit = input_ceiling(&classify(&Method::POST, "/v1/images/edits"), "gpt-image-1", &form);
    assert!(edit.tokens >= 12_000 && edit.tokens < 200_000, "{edit:?}");
}

/// FAULTS B4
#[test]
fn the_window_bounds_text_and_neither_billed_images_nor_a_list_of_texts() {
    let text = json!({"messages": [{"role": "user", "content": "x".repeat(10_000)}]});
    let bound = |ceiling: InputCeiling, operation| ceiling.within(Some(8_000), operation);
    assert_eq!(bound(ceiling_of("chat/completions", "m", &text), Operation::ChatCompletions), 8_000);
    let image = json!({"type": "image_url", "image_url": {"url": "https://h/x.png"}});
    let pictures = json!({"messages": [{"role": "user", "content": [image, image, image]}]});
    let pictures = ceiling_of("chat/completions", "gpt-4o-mini", &pictures);
    // 48,169 tokens each, by what that model bills
    assert_eq!(pictures.of_images, 3 * 48_169);
    assert!(bound(pictures, Operation::ChatCompletions) > 3 * 48_169);
    let many = json!({"input": ["x".repeat(6_000), "x".repeat(6_000)]});
    assert!(bound(ceiling_of("embeddings", "m", &many), Operation::Embeddings) > 12_000);
    let open = json!({"previous_response_id": "r", "input": "hi"});
    let open = ceiling_of("responses", "m", &open);
    assert_eq!(
        (bound(open, Operation::Responses), open.within(None, Operation::Responses)),
        (8_000, 200_000)
    );
}
