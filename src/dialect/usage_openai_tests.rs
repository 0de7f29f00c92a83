use super::read;
use crate::base::usage::Usage;

fn usage(json: &str) -> Usage {
    let counted = read(json);
    assert!(!counted.invalid, "{json}");
    counted.usage.unwrap()
}

#[test]
fn chat_details_are_parts_of_their_totals() {
    let json = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
        "prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":30,"audio_tokens":5,"image_tokens":7},
        "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":4,"rejected_prediction_tokens":1}}"#;
    let expected = Usage {
        input_tokens: 100,
        cached_input_tokens: 40,
        cache_write_tokens: 30,
        input_audio_tokens: 5,
        input_image_tokens: 7,
        output_tokens: 50,
        reasoning_tokens: 20,
        output_audio_tokens: 4,
        ..Usage::default()
    };
    assert_eq!(usage(json), expected);
}

#[test]
fn responses_split_their_cache_writes_by_lifetime() {
    let json = r#"{"input_tokens":100,"input_tokens_details":{"cached_tokens":10,"cache_write_tokens":50,
        "cache_write_tokens_details":{"ttl_30m_tokens":30,"ttl_12h_tokens":20}},
        "output_tokens":5,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":105}"#;
    let read = usage(json);
    assert_eq!(
        (read.cached_input_tokens, read.cache_write_tokens, read.cache_write_long_tokens),
        (10, 30, 20)
    );
    assert_eq!((read.input_tokens, read.output_tokens, read.reasoning_tokens), (100, 5, 3));
}

#[test]
fn embeddings_have_no_output_and_audio_may_have_only_seconds() {
    assert_eq!(
        usage(r#"{"prompt_tokens":8,"total_tokens":8}"#),
        Usage { input_tokens: 8, ..Usage::default() }
    );
    assert_eq!(usage(r#"{"type":"duration","seconds":9}"#), Usage { seconds: 9, ..Usage::default() });
    assert_eq!(usage(r#"{"type":"duration","seconds":8.01}"#).seconds, 9, "a fraction is rounded up");
}

#[test]
fn transcription_and_llama_cpp_spell_their_details_differently() {
    for key in ["input_token_details", "input_tokens_details"] {
        let json = format!(
            r#"{{"type":"tokens","input_tokens":14,"{key}":{{"text_tokens":0,"audio_tokens":14}},"output_tokens":45}}"#
        );
        let read = usage(&json);
        assert_eq!((read.input_tokens, read.input_audio_tokens, read.output_tokens), (14, 14, 45));
    }
}

#[test]
fn wire_38_what_the_total_has_over_the_prompt_was_output() {
    let xai = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":35,
        "completion_tokens_details":{"reasoning_tokens":20}}"#;
    assert_eq!((usage(xai).output_tokens, usage(xai).reasoning_tokens), (25, 20));
    let smaller = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":12}"#;
    assert_eq!(usage(smaller).output_tokens, 5);
}

#[test]
fn vendors_keep_cache_and_reasoning_at_the_top() {
    let deepseek = r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":6,"prompt_cache_miss_tokens":4}"#;
    assert_eq!(usage(deepseek).cached_input_tokens, 6);
    let modal = r#"{"prompt_tokens":10,"completion_tokens":5,"reasoning_tokens":4}"#;
    assert_eq!(usage(modal).reasoning_tokens, 4);
    let databricks = r#"{"prompt_tokens":10,"completion_tokens":5,"cache_read_input_tokens":3}"#;
    assert_eq!(usage(databricks).cached_input_tokens, 3);
}

#[test]
fn wire_37_parts_are_clamped_to_their_totals() {
    let json = r#"{"prompt_tokens":10,"completion_tokens":5,
        "prompt_tokens_details":{"cached_tokens":8,"cache_write_tokens":8,"audio_tokens":11,"image_tokens":11},
        "completion_tokens_details":{"reasoning_tokens":9,"audio_tokens":3,"image_tokens":9}}"#;
    let counted = read(json);
    assert!(counted.invalid, "and it is told");
    let read = counted.usage.unwrap();
    assert_eq!((read.cached_input_tokens, read.cache_write_tokens), (8, 2));
    assert_eq!((read.input_audio_tokens, read.input_image_tokens), (10, 0));
    assert_eq!((read.reasoning_tokens, read.output_audio_tokens, read.output_image_tokens), (5, 3, 2));
}

#[test]
fn a_total_that_is_no_count_voids_the_usage() {
    for value in [
        "-1",
        "9223372036854775808",
        "1e308",
        "1e999",
        "\"12\"",
        "1.0",
        "1.5",
        "true",
        "[]",
        "{}",
        "1000000001",
    ] {
        for key in ["prompt_tokens", "completion_tokens"] {
            let other = if key == "prompt_tokens" { "completion_tokens" } else { "prompt_tokens" };
            let read = read(&format!(r#"{{"{key}":{value},"{other}":7}}"#));
            assert_eq!((read.usage, read.invalid), (None, true), "{key}: {value}");
        }
    }
}

#[test]
fn a_part_that_is_no_count_is_left_out_and_flagged() {
    let json = r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":-3}}"#;
    let read = read(json);
    assert!(read.invalid);
    assert_eq!(read.usage, Some(Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() }));
}

#[test]
fn missing_and_null_counts_are_no_fault() {
    let read_empty = read(r#"{"prompt_tokens":null,"cost":0.1,"prompt_tokens_details":null}"#);
    assert_eq!((read_empty.usage, read_empty.invalid), (None, false));
    assert_eq!(usage(r#"{"prompt_tokens":1000000000,"completion_tokens":null}"#).input_tokens, 1_000_000_000);
    for not_an_object in ["\"12\"", "7", "[1]", "true"] {
        assert!(read(not_an_object).invalid, "{not_an_object}");
    }
}

#[test]
fn wire_38_searches_stand_beside_the_tokens_at_perplexity() {
    let read = usage(r#"{"prompt_tokens":9,"completion_tokens":5,"num_search_queries":2}"#);
    assert_eq!((read.total_tokens(), read.web_searches), (14, 2));
}
