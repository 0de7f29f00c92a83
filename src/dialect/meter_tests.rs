use proptest::prelude::{prop_assert_eq, proptest};

use super::super::corpus::{AZURE, CHAT, CORPUS, MESSAGES, RESPONSES, VLLM};
use super::super::decode::tests::flushed;
use super::super::path::Operation;
use super::super::shown::Lane;
use super::super::slices::{cuts, sliced};
use super::{MAX_BODY, MAX_OUTPUT_TEXT, Meter, Reading, StreamError};
use crate::base::usage::Usage;

const SSE: &str = "text/event-stream; charset=utf-8";

fn read<'a>(operation: Operation, kind: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut meter = Meter::new(operation, 200, Some(kind), None);
    for piece in pieces {
        meter.observe(piece);
    }
    meter.finish()
}

fn stream(operation: Operation, text: &str) -> Reading {
    read(operation, SSE, [text.as_bytes()])
}

fn body(operation: Operation, text: &str) -> Reading {
    read(operation, "application/json", [text.as_bytes()])
}

fn chat(text: &str) -> Reading {
    stream(Operation::ChatCompletions, text)
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage { input_tokens: input, output_tokens: output, ..Usage::default() }
}

#[test]
fn wire_14_a_chat_stream_is_read_whole() {
    let read = chat(CHAT);
    assert_eq!(read.usage, Some(tokens(10, 5)));
    assert_eq!((read.model.as_deref(), read.response_id.as_deref()), (Some("gpt-x"), Some("c1")));
    assert_eq!(read.service_tier.as_deref(), Some("priority"), "the tier that was really used");
    assert_eq!(read.finish_reasons, ["stop", "tool_calls"]);
    assert_eq!(read.output.as_str(), "H\u{e9} \"usage\":nullwhyf{\"a\":1}no");
    assert_eq!(read.output_text_bytes, read.output.len() as u64);
    assert_eq!((read.choices, read.events, read.malformed), (3, 8, 0));
    assert!(read.ended && !read.usage_invalid && !read.usage_is_opening);
}

#[test]
fn wire_12_the_model_comes_from_the_first_chunk_that_names_one() {
    let read = chat(AZURE);
    assert_eq!((read.model.as_deref(), read.response_id.as_deref()), (Some("gpt-z"), Some("z")));
    assert_eq!((read.usage, read.output.as_str(), read.ended), (None, "A", true));
}

#[test]
fn usage_is_found_behind_a_null_of_the_same_name_and_in_escapes() {
    let head = "data: {\"id\":\"a\",\"model\":\"m\",\"choices\":[]}\n\n";
    for chunk in [
        r#"{"choices":[{"index":0,"usage":null}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
        r#"{"choices":[{"index":0}],"\u0075sage":{"prompt_tokens":7,"completion_tokens":2}}"#,
        r#"{"choices":[{"index":0}],"usag\u0065":{"prompt_tokens":7,"completion\u005Ftokens":2}}"#,
    ] {
        assert_eq!(chat(&format!("{head}data: {chunk}\n\n")).usage, Some(tokens(7, 2)), "{chunk}");
    }
    let error = chat(&format!("{head}data: {{\"choices\":[],\"\\u0065rror\":{{\"code\":\"c\"}}}}\n\n")).error;
    assert_eq!(error.map(|error| error.code).as_deref(), Some("c"));
}

#[test]
fn wire_10_a_running_usage_is_replaced_and_never_added() {
    let read = chat(VLLM);
    assert_eq!((read.usage, read.ended), (Some(tokens(7, 2)), true));
}

#[test]
fn usage_is_found_where_vendors_hide_it() {
    let groq = r#"data: {"choices":[{"finish_reason":"stop"}],"x_groq":{"id":"r","usage":{"prompt_tokens":1,"completion_tokens":2}}}"#;
    let moonshot =
        r#"data: {"choices":[{"finish_reason":"stop","usage":{"prompt_tokens":1,"completion_tokens":2}}]}"#;
    for text in [groq, moonshot] {
        assert_eq!(chat(text).usage, Some(tokens(1, 2)), "{text}");
    }
}

#[test]
fn a_usage_that_is_no_count_does_not_replace_a_good_one() {
    let bad = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":-2}}\n\n";
    let read = chat(&format!("{VLLM}{bad}"));
    assert_eq!((read.usage, read.usage_invalid), (Some(tokens(7, 2)), true));
    for value in ["{\"prompt_tokens\":NaN}", "\"12\"", "{\"prompt_tokens\":1e999,\"completion_tokens\":1}"] {
        let read = chat(&format!("data: {{\"choices\":[],\"usage\":{value}}}\n\n"));
        assert_eq!((read.usage, read.usage_invalid), (None, true), "{value}");
    }
}

#[test]
fn s_03_one_malformed_event_loses_nothing_but_itself() {
    let read = chat(&format!("data: {{oops\n\n{CHAT}"));
    assert_eq!((read.malformed, read.usage), (1, Some(tokens(10, 5))));
    let broken_utf8 =
        [b"data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"", &[0xff][..], b"\"}}]}\n\n"];
    let read = super::tests::read(Operation::ChatCompletions, SSE, broken_utf8);
    assert_eq!((read.model.as_deref(), read.malformed), (Some("m"), 0));
}

#[test]
fn a_stream_cut_within_its_usage_has_none_and_is_not_to_blame() {
    let cut = &CHAT[..CHAT.find("\"completion_tokens\"").unwrap()];
    let read = chat(cut);
    assert_eq!((read.usage, read.usage_invalid, read.malformed, read.ended), (None, false, 0, false));
    let read = body(Operation::ChatCompletions, r#"{"choices":[],"usage":{"prompt_tokens":1"#);
    assert_eq!((read.usage, read.usage_invalid, read.ended), (None, false, false));
}

#[test]
fn an_unknown_shape_of_a_part_loses_no_usage() {
    let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2}"#;
    for part in
        [r#""choices":7"#, r#""choices":[{"index":null,"delta":3}]"#, r#""id":7,"model":[],"x_groq":1"#]
    {
        let json = format!("{{{part},{usage}}}");
        assert_eq!(body(Operation::ChatCompletions, &json).usage, Some(tokens(1, 2)), "{part}");
    }
    let usage = r#""usage":{"input_tokens":1,"output_tokens":2}"#;
    for part in
        [r#""output":[{"content":"x"},3]"#, r#""tool_usage":[],"tools":{}"#, r#""incomplete_details":"x""#]
    {
        let json = format!("{{{part},{usage}}}");
        assert_eq!(body(Operation::Responses, &json).usage, Some(tokens(1, 2)), "{part}");
        let event = format!("data: {{\"type\":\"response.completed\",\"response\":{json}}}\n\n");
        assert_eq!(stream(Operation::Responses, &event).usage, Some(tokens(1, 2)), "{part}");
    }
    let json = format!(r#"{{"content":"x",{usage}}}"#);
    assert_eq!(body(Operation::Messages, &json).usage, Some(tokens(1, 2)));
}

#[test]
fn wire_16_error_frames_are_read_in_every_spelling() {
    let of = |code: &str, message: &str| Some(StreamError { code: code.into(), message: message.into() });
    let cases = [
        (Operation::ChatCompletions, r#"{"error":{"message":"m","code":429}}"#, of("429", "m")),
        (Operation::ChatCompletions, r#"{"error":{"message":"m","code":null,"type":"t"}}"#, of("t", "m")),
        (Operation::ChatCompletions, r#"{"error":"m"}"#, of("", "m")),
        (Operation::Responses, r#"{"type":"error","code":"c","message":"m","param":null}"#, of("c", "m")),
        (
            Operation::Responses,
            r#"{"type":"error","error":{"type":"t","code":"c","message":"m"}}"#,
            of("c", "m"),
        ),
        (
            Operation::Responses,
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"c","message":"m"}}}"#,
            of("c", "m"),
        ),
        (
            Operation::Messages,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            of("overloaded_error", "m"),
        ),
    ];
    for (operation, json, expected) in cases {
        assert_eq!(stream(operation, &format!("event: error\ndata: {json}\n\n")).error, expected, "{json}");
        if !json.contains("\"type\":\"response")
            && !json.contains("\"code\":\"c\",\"message\":\"m\",\"param\"")
        {
            assert_eq!(body(operation, json).error, expected, "{json}");
        }
    }
}

#[test]
fn wire_23_anthropic_input_includes_its_cache_and_the_last_output_counts() {
    let read = stream(Operation::Messages, MESSAGES);
    let expected = Usage {
        input_tokens: 100,
        cached_input_tokens: 60,
        cache_write_tokens: 20,
        cache_write_long_tokens: 10,
        output_tokens: 40,
        reasoning_tokens: 5,
        web_searches: 2,
        ..Usage::default()
    };
    assert_eq!(read.usage, Some(expected));
    assert_eq!((read.model.as_deref(), read.response_id.as_deref()), (Some("claude-x"), Some("msg_1")));
    assert_eq!((read.service_tier.as_deref(), read.speed.as_deref()), (Some("standard"), Some("fast")));
    assert_eq!((read.output.as_str(), read.finish_reasons), ("hmHif{\"a\":1}", vec!["tool_use".to_owned()]));
    assert!(read.ended && !read.usage_is_opening);
}

#[test]
fn a_message_cut_before_its_delta_has_only_an_opening_count() {
    let cut = &MESSAGES[..MESSAGES.find("event: message_delta").unwrap()];
    let read = stream(Operation::Messages, cut);
    assert_eq!(read.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), Some((100, 1)));
    assert!(read.usage_is_opening && !read.ended);
}

#[test]
fn wire_23_a_message_delta_may_restate_the_input() {
    let again = MESSAGES
        .replace("\"usage\":{\"output_tokens\":40", "\"usage\":{\"input_tokens\":12,\"output_tokens\":40");
    assert_eq!(stream(Operation::Messages, &again).usage.map(|usage| usage.input_tokens), Some(102));
}

#[test]
fn wire_24_compactions_and_other_models_are_billed_apart() {
    let json = r#"{"id":"m","model":"claude-x","stop_reason":"end_turn","content":[{"type":"text","text":"Hi"}],
        "usage":{"input_tokens":10,"output_tokens":5,"iterations":[
        {"type":"compaction","input_tokens":100,"output_tokens":20},
        {"type":"message","input_tokens":10,"output_tokens":5},
        {"type":"advisor_message","model":"claude-y","input_tokens":3,"cache_read_input_tokens":4,"output_tokens":2}]}}"#;
    let read = body(Operation::Messages, json);
    assert_eq!((read.usage, read.ended, read.output.as_str()), (Some(tokens(10, 5)), true, "Hi"));
    let advisor = Usage { cached_input_tokens: 4, ..tokens(7, 2) };
    assert_eq!(read.extra, [(String::new(), tokens(100, 20)), ("claude-y".to_owned(), advisor)]);
}

#[test]
fn wire_17_a_response_stream_prices_its_tools_apart() {
    let read = stream(Operation::Responses, RESPONSES);
    assert_eq!(read.usage, Some(Usage { reasoning_tokens: 1, web_searches: 2, ..tokens(20, 3) }));
    assert_eq!(
        read.extra,
        [("gpt-image-x".to_owned(), Usage { output_image_tokens: 100, ..tokens(4, 100) })]
    );
    assert_eq!((read.output.as_str(), read.service_tier.as_deref()), ("Hello", Some("priority")));
    assert!(read.ended);
    for end in ["incomplete", "failed"] {
        let other = RESPONSES.replace("completed", end);
        let read = stream(Operation::Responses, &other);
        assert_eq!((read.usage.map(|usage| usage.output_tokens), read.ended), (Some(3), true), "{end}");
    }
}

#[test]
fn whole_answers_are_read_too() {
    let read = body(
        Operation::ChatCompletions,
        r#"{"id":"c","model":"m","choices":[{"index":0,"message":{"content":"Hi","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#,
    );
    assert_eq!((read.usage, read.ended, read.output.as_str()), (Some(tokens(3, 1)), true, "Hi"));
    let read = body(Operation::Completions, r#"{"model":"m","choices":[{"text":"Hi","index":1}]}"#);
    assert_eq!((read.usage, read.choices, read.output.as_str()), (None, 2, "Hi"));
    let read = body(
        Operation::Embeddings,
        r#"{"data":[{"embedding":[0.1]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
    );
    assert_eq!((read.usage, read.model.as_deref()), (Some(tokens(8, 0)), Some("e")));
    let read =
        body(Operation::Responses, r#"{"id":"r","status":"queued","model":"m","usage":null,"output":[]}"#);
    assert_eq!((read.usage, read.finish_reasons), (None, vec!["queued".to_owned()]));
    let cut = body(Operation::ChatCompletions, r#"{"id":"c","model":"m","choi"#);
    assert!(!cut.ended && cut.malformed == 1);
    let empty = body(Operation::ChatCompletions, "");
    assert!(empty.ended && empty.malformed == 0, "HEAD, 204 and 304 have no end of their own");
}

#[test]
fn images_and_audio_are_counted_in_their_own_units() {
    let read = body(
        Operation::Images,
        r#"{"data":[{"b64_json":"AA"},{"b64_json":"BB"}],"usage":{"input_tokens":5,"input_tokens_details":{"image_tokens":2},"output_tokens":9},"svg_usage":{"model":"s","input_tokens":1,"output_tokens":2}}"#,
    );
    assert_eq!(read.usage, Some(Usage { images: 2, input_image_tokens: 2, ..tokens(5, 9) }));
    assert_eq!(read.extra, [("s".to_owned(), tokens(1, 2))]);
    let done = "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"AA\",\"usage\":{\"input_tokens\":5,\"output_tokens\":9}}\n\n";
    assert_eq!(stream(Operation::Images, done).usage, Some(Usage { images: 1, ..tokens(5, 9) }));
    let speech = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"QQ==\"}\n\ndata: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":5,\"output_tokens\":9}}\n\n";
    let read = stream(Operation::Speech, speech);
    assert_eq!((read.usage, read.ended, read.output_text_bytes), (Some(tokens(5, 9)), true, 0));
    let transcript = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}\n\ndata: {\"type\":\"transcript.text.done\",\"text\":\"Hi\",\"usage\":{\"input_tokens\":5,\"output_tokens\":9}}\n\n";
    let read = stream(Operation::Transcriptions, transcript);
    assert_eq!((read.usage, read.output.as_str()), (Some(tokens(5, 9)), "Hi"));
    let verbose = body(Operation::Translations, r#"{"duration":8.47,"text":"Hi"}"#);
    assert_eq!(verbose.usage, Some(Usage { seconds: 9, ..Usage::default() }));
    let srt = read_text("1\n00:00:00,000 --> 00:00:01,000\nHi\n");
    assert_eq!((srt.usage, srt.ended, srt.malformed), (None, true, 0));
}

fn read_text(text: &str) -> Reading {
    read(Operation::Transcriptions, "text/plain", [text.as_bytes()])
}

#[test]
fn what_is_not_spend_is_not_read() {
    let json = br#"{"input_tokens":5,"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    for operation in [Operation::Stored, Operation::CountTokens, Operation::Models, Operation::Unmetered] {
        assert_eq!(read(operation, "application/json", [&json[..]]).usage, None);
    }
    let mut refused = Meter::new(Operation::ChatCompletions, 429, Some("application/json"), None);
    refused
        .observe(br#"{"error":{"code":"rate_limit_exceeded","message":"slow"},"usage":{"prompt_tokens":1}}"#);
    let read = refused.finish();
    assert_eq!((read.usage, read.error.unwrap().code.as_str()), (None, "rate_limit_exceeded"));
}

#[test]
fn output_and_the_end_are_seen_as_they_pass() {
    let mut meter = Meter::new(Operation::ChatCompletions, 200, Some(SSE), None);
    assert!(meter.is_stream());
    meter.observe(b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n");
    assert!(!meter.output_seen());
    meter.observe(b"data: {\"choices\":[{\"delta\":{\"content\":\"four\"}}]}\n\n");
    assert!(meter.output_seen() && !meter.is_complete());
    assert_eq!(meter.output_so_far(), 4);
    meter.observe(b"data: [DONE]\n\n");
    assert!(meter.is_complete());
}

#[test]
fn text_is_counted_but_not_kept_when_nobody_wants_it() {
    let mut meter = Meter::new(Operation::ChatCompletions, 200, Some(SSE), None).collect_text(false);
    meter.observe(CHAT.as_bytes());
    let read = meter.finish();
    assert_eq!((read.output.as_str(), read.output_text_bytes), ("", 29));
}

#[test]
fn kept_text_is_bounded() {
    let chunk =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "\u{e9}".repeat(50_001));
    let read = chat(&chunk.repeat(30));
    assert!(read.output.len() <= MAX_OUTPUT_TEXT && read.output.len() > MAX_OUTPUT_TEXT - 64);
    assert_eq!(read.output_text_bytes, 30 * 100_002);
}

#[test]
fn usage_at_the_end_of_what_is_too_long_is_still_found() {
    let image = "A".repeat(3 << 20);
    let event = format!(
        "event: image_generation.completed\ndata: {{\"type\":\"image_generation.completed\",\"b64_json\":\"{image}\",\"usage\":{{\"input_tokens\":5,\"output_tokens\":9}}}}\n\n"
    );
    let read = read_sliced(Operation::Images, &event);
    assert_eq!((read.usage, read.clipped, read.ended), (Some(Usage { images: 1, ..tokens(5, 9) }), 1, true));
    let long = "A".repeat(MAX_BODY);
    let json = format!(
        "{{\"choices\":[{{\"message\":{{\"content\":\"{long}\"}}}}],\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":9}}}}"
    );
    let read = body(Operation::ChatCompletions, &json);
    assert_eq!((read.usage, read.clipped, read.ended), (Some(tokens(5, 9)), 1, true));
}

fn read_sliced(operation: Operation, text: &str) -> Reading {
    read(operation, SSE, text.as_bytes().chunks(16_384))
}

#[test]
fn wire_25_encoded_streams_are_metered_as_they_pass() {
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let events: Vec<&str> = MESSAGES.split_inclusive("\n\n").collect();
        let mut meter = Meter::new(Operation::Messages, 200, Some(SSE), Some(encoding));
        let parts = flushed(encoding, &events);
        for (at, part) in parts.iter().enumerate() {
            assert_eq!(meter.output_seen(), at > 2, "{encoding}, event {at}");
            meter.observe(part);
        }
        assert_eq!(meter.finish(), stream(Operation::Messages, MESSAGES), "{encoding}");
    }
    let mut unknown = Meter::new(Operation::Messages, 200, Some(SSE), Some("compress"));
    unknown.observe(MESSAGES.as_bytes());
    assert!(unknown.finish().undecodable);
}

#[test]
fn every_single_cut_gives_the_same_reading() {
    for (operation, text) in CORPUS {
        let whole = stream(operation, text);
        for at in 0..=text.len() {
            let (left, right) = text.as_bytes().split_at(at);
            assert_eq!(read(operation, SSE, [left, right]), whole, "{operation:?} cut at {at}");
        }
    }
}

proptest! {
    #[test]
    fn slicing_never_changes_the_reading(cuts in cuts(), which in 0..CORPUS.len()) {
        let (operation, text) = CORPUS[which];
        prop_assert_eq!(read(operation, SSE, sliced(text.as_bytes(), &cuts)), stream(operation, text));
    }

    #[test]
    fn no_bytes_can_panic_it(bytes in proptest::collection::vec(0_u8.., 0..300), which in 0..CORPUS.len(), at in 0_usize..300) {
        let (operation, text) = CORPUS[which];
        let mut mixed = text.as_bytes().to_vec();
        let at = at.min(mixed.len());
        mixed.splice(at..at, bytes);
        let streamed = read(operation, SSE, [&mixed[..]]);
        let kept = read(operation, "application/json", [&mixed[..]]);
        prop_assert_eq!((streamed.undecodable, kept.events), (false, 0));
    }
}

/// The texts of a reading, each whole, in the order in which they began.
fn texts(read: &Reading) -> Vec<String> {
    let mut all: Vec<(Lane, String)> = Vec::new();
    for (lane, text) in read.output.runs() {
        match all.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, whole)) => whole.push_str(text),
            None => all.push((lane, text.to_owned())),
        }
    }
    all.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn wire_14_the_texts_of_an_answer_are_told_apart_however_they_interleave() {
    let chunks = [
        r#"{"index":0,"delta":{"reasoning":"Hm","reasoning_content":"Hm"}}"#,
        r#"{"index":1,"delta":{"content":"Bon"}},{"index":0,"delta":{"reasoning_content":"m."}}"#,
        r#"{"index":0,"delta":{"content":"Hel"}},{"index":1,"delta":{"content":"jour"}}"#,
        r#"{"index":0,"delta":{"content":"lo"}},{"index":1,"delta":{"refusal":"No"}}"#,
        r#"{"index":2,"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}"#,
        r#"{"index":2,"delta":{"tool_calls":[{"index":1,"function":{"name":"g","arguments":"{"}}]}}"#,
        r#"{"index":2,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}"#,
        r#"{"index":2,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]}}"#,
        r#"{"index":3,"delta":{"function_call":{"name":"h","arguments":"[]"},"audio":{"transcript":"La"}}}"#,
        r#"{"index":4,"text":"old"}"#,
    ];
    let events: String = chunks.iter().map(|chunk| format!("data: {{\"choices\":[{chunk}]}}\n\n")).collect();
    let read = chat(&events);
    assert_eq!(texts(&read), ["Hmm.", "Bonjour", "Hello", "No", "f{}", "g{}", "h[]", "La", "old"]);
    assert_eq!((read.choices, read.output.len() as u64), (5, read.output_text_bytes));
}

#[test]
fn wire_14_messages_and_responses_have_their_texts_by_block_and_item() {
    let messages = [
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"xyz"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"me"}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
    ];
    let as_events =
        |events: &[&str]| -> String { events.iter().map(|event| format!("data: {event}\n\n")).collect() };
    assert_eq!(texts(&stream(Operation::Messages, &as_events(&messages))), ["Let", "me", "f{}"]);
    let responses = [
        r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"Su"}"#,
        r#"{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":1,"delta":"Two"}"#,
        r#"{"type":"response.reasoning_text.delta","output_index":1,"content_index":0,"delta":"Why"}"#,
        r#"{"type":"response.output_text.delta","output_index":2,"content_index":0,"delta":"Hi","obfuscation":"zz"}"#,
        r#"{"type":"response.refusal.delta","output_index":2,"content_index":1,"delta":"No"}"#,
        r#"{"type":"response.output_item.added","output_index":3,"item":{"type":"function_call","name":"f","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":3,"delta":"{}"}"#,
        r#"{"type":"response.function_call_arguments.done","output_index":3,"arguments":"{}"}"#,
        r#"{"type":"response.audio.delta","output_index":2,"delta":"QUJD"}"#,
    ];
    let read = stream(Operation::Responses, &as_events(&responses));
    assert_eq!(texts(&read), ["Su", "Two", "Why", "Hi", "No", "f{}"]);
}

#[test]
fn output_that_was_taken_out_is_not_kept_and_still_counts() {
    let mut meter = Meter::new(Operation::ChatCompletions, 200, Some(SSE), None);
    let chunk = |text: &str| {
        format!("data: {{\"model\":\"m\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    meter.observe(chunk("four").as_bytes());
    assert_eq!((meter.take_output().as_str(), meter.output_kept(), meter.model()), ("four", 0, Some("m")));
    meter.observe(chunk("more").as_bytes());
    assert_eq!(meter.output_so_far(), 8);
    let read = meter.finish();
    assert_eq!((read.output.as_str(), read.output_text_bytes), ("more", 8));
}

#[test]
fn wire_09_a_null_is_no_usage_and_the_last_chunk_has_it() {
    let until = CHAT.find("data: {\"id\":\"c1\",\"model\":\"gpt-x\",\"service_tier\":\"priority\"").unwrap();
    let read = chat(&CHAT[..until]);
    assert_eq!((read.usage, read.usage_invalid, read.malformed), (None, false, 0));
    assert_eq!(chat(CHAT).usage, Some(tokens(10, 5)));
}
