//! What is read from bodies (WIRE, cases 27 to 29).

use http::Method;
use proptest::prelude::*;

use super::*;
use crate::dialect::answers::Dice;
use crate::dialect::any_json::any_object;
use crate::dialect::path::classify;

fn endpoint(tail: &str) -> Endpoint {
    classify(&Method::POST, &format!("/v1/{tail}"))
}

fn facts_of(tail: &str, body: &str) -> RequestFacts {
    scan(&endpoint(tail), Some("application/json"), body.as_bytes()).unwrap()
}

fn chat(body: &str) -> RequestFacts {
    facts_of("chat/completions", body)
}

#[test]
fn an_ordinary_chat_request_is_read() {
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"stream":true,
        "stream_options":{"include_usage":true},"max_completion_tokens":100,"n":2,"user":"u1",
        "temperature":0.5,"top_p":1,"seed":-7,"stop":["a","b"],"service_tier":"flex","reasoning_effort":"low"}"#;
    let facts = chat(body);
    assert_eq!(facts.model.as_deref(), Some("gpt-4o"));
    assert_eq!(&body[facts.model_at.clone().unwrap()], "\"gpt-4o\"");
    assert_eq!((facts.stream, facts.include_usage), (true, Some(true)));
    assert_eq!((facts.output_cap, facts.choices), (Some(100), 2));
    assert_eq!((facts.user.as_deref(), facts.service_tier.as_deref()), (Some("u1"), Some("flex")));
    assert_eq!(
        facts.sampling,
        Sampling {
            temperature: Some(0.5),
            top_p: Some(1.0),
            seed: Some(-7),
            stop: vec!["a".into(), "b".into()],
            reasoning_level: Some("low".into()),
            ..Sampling::default()
        }
    );
}

#[test]
fn wire_28_escaped_keys_are_the_keys_they_spell() {
    let facts = chat(r#"{"\u006dodel":"\u0067pt","\u0073tream":true}"#);
    assert_eq!(facts.model.as_deref(), Some("gpt"));
    assert!(facts.stream);
}

#[test]
fn of_members_that_decide_nothing_the_last_wins() {
    let body = r#"{"model":"a","user":"x","stream_options":{"include_usage":true},"user":"y","stream_options":null}"#;
    let facts = chat(body);
    assert_eq!((facts.user.as_deref(), facts.include_usage), (Some("y"), None));
}

/// FAULTS B8
#[test]
fn what_two_parsers_may_read_in_two_ways_is_refused() {
    for body in [
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","model":"a"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"model":"a","MODEL":"b"}"#,
        r#"{"Model":"a"}"#,
        r#"{"model":"a","max_tokens":5,"max_to\u212aens":5000}"#,
        r#"{"model":"a","\u017ftream":true}"#,
        r#"{"max_tokens":5,"model":"a","max_tokens":null}"#,
        r#"{"n":1,"n":128}"#,
        r#"{"stream":true,"stream":false}"#,
        r#"{"service_tier":"flex","service_tier":"priority"}"#,
        r#"{"speed":"standard","Speed":"fast"}"#,
    ] {
        // where files are taken, too: JSON is none
        for path in ["chat/completions", "images/generations", "images/edits"] {
            let refused = scan(&endpoint(path), None, body.as_bytes()).unwrap_err();
            assert!(refused.message.contains("more than once"), "{path} {body}: {refused}");
        }
    }
    assert!(
        chat(r#"{"model":"a","metadata":{"model":"b","model":"c"},"mode":1,"models":2}"#).model.is_some()
    );
    assert_eq!(chat(r#"{"model":"a","speed":"fast"}"#).speed.as_deref(), Some("fast"));
}

#[test]
fn only_the_top_level_counts() {
    let facts =
        chat(r#"{"metadata":{"model":"x","stream":true,"n":9},"messages":[{"model":"y"}],"model":"z"}"#);
    assert_eq!((facts.model.as_deref(), facts.stream, facts.choices), (Some("z"), false, 1));
}

#[test]
fn wire_29_whatever_an_upstream_may_judge_passes() {
    for (body, model) in [
        ("{}", None),
        (r#"{"model":""}"#, None),
        (r#"{"model":5}"#, None),
        (r#"{"model":null}"#, None),
        (r#"{"model":["a"]}"#, None),
        (r#"{"model":"\ud800"}"#, None),
        (r#"{"\ud800":1,"model":"a"}"#, Some("a")),
        (r#"{"model":"模型 é"}"#, Some("模型 é")),
        (
            r#"{"model":"a","stream":"true","n":"x","user":5,"metadata":7,"stop":{},"stream_options":3}"#,
            Some("a"),
        ),
        (r#"{"model":"a","temperature":1e999,"seed":1.5,"reasoning":"high","prompt":[]}"#, Some("a")),
        ("\u{feff}{\"model\":\"a\"}", Some("a")),
        (" \r\n\t{ \"model\" :\n \"a\" } \n", Some("a")),
    ] {
        let facts = chat(body);
        assert_eq!(facts.model.as_deref(), model, "{body}");
        assert!(!facts.stream, "{body}");
        if let (Some(at), Some(model)) = (facts.model_at, model) {
            assert_eq!(body[at], format!("{model:?}"), "{body}");
        }
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    for body in [
        "",
        " ",
        "hello",
        "[]",
        "\"x\"",
        "null",
        "{",
        "{\"a\":1}}",
        "{\"a\":1} x",
        "{'a':1}",
        "{\"a\":\"\n\"}",
    ] {
        let refused = scan(&endpoint("chat/completions"), None, body.as_bytes()).unwrap_err();
        assert!(refused.message.starts_with("not a JSON object: "), "{refused}");
    }
}

#[test]
fn a_deep_body_does_not_overflow_the_stack() {
    let deep = format!("{{\"model\":\"a\",\"x\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(chat(&deep).model.as_deref(), Some("a"));
    let deep_fact = format!("{{\"stop\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(chat(&deep_fact).sampling.stop, Vec::<String>::new());
}

#[test]
fn wire_28_a_ten_megabyte_message_in_front_changes_nothing() {
    let text = "a\\n".repeat(3_500_000);
    let body = format!("{{\"messages\":[{{\"content\":\"{text}\"}}],\n \"model\" : \"m\",\"stream\":true}}");
    let facts = chat(&body);
    assert!(facts.stream);
    assert_eq!(&body[facts.model_at.unwrap()], "\"m\"");
}

#[test]
fn a_cap_is_read_where_its_upstream_reads_it() {
    for (tail, body, cap) in [
        ("chat/completions", r#"{"max_tokens":5}"#, Some(5)),
        ("chat/completions", r#"{"max_tokens":5,"max_completion_tokens":9}"#, Some(9)),
        ("chat/completions", r#"{"max_tokens":9,"max_completion_tokens":5}"#, Some(9)),
        ("chat/completions", r#"{"max_tokens":9,"max_completion_tokens":null}"#, Some(9)),
        ("chat/completions", r#"{"max_tokens":9,"max_completion_tokens":"many"}"#, None),
        ("chat/completions", r#"{"max_tokens":9,"max_completion_tokens":"5000"}"#, Some(5000)),
        ("chat/completions", r#"{"max_tokens":-1}"#, None),
        ("chat/completions", r#"{"max_tokens":100.0}"#, Some(100)),
        ("chat/completions", r#"{"max_tokens":1e3}"#, Some(1000)),
        ("chat/completions", r#"{"max_tokens":1.5}"#, None),
        ("chat/completions", r#"{"max_tokens":1e30}"#, None),
        ("chat/completions", r#"{"max_output_tokens":1}"#, None),
        ("responses", r#"{"max_output_tokens":7,"max_tokens":1}"#, Some(7)),
        ("responses", r#"{"max_tokens":1}"#, None),
        ("messages", r#"{"max_tokens":1024}"#, Some(1024)),
        ("completions", r#"{"max_tokens":16}"#, Some(16)),
        ("embeddings", r#"{"max_tokens":16}"#, None),
    ] {
        assert_eq!(facts_of(tail, body).output_cap, cap, "{tail} {body}");
    }
}

#[test]
fn choices_count_every_answer_that_is_made() {
    for (tail, body, choices) in [
        ("chat/completions", r#"{"n":3}"#, 3),
        ("chat/completions", r#"{"n":"8"}"#, 8),
        ("chat/completions", r#"{"n":0}"#, 1),
        ("chat/completions", r#"{"n":null,"best_of":5}"#, 1),
        ("completions", r#"{"n":2,"best_of":5,"prompt":"x"}"#, 5),
        ("completions", r#"{"n":2,"prompt":["x","y","z"]}"#, 6),
        ("completions", r#"{"n":2,"prompt":[1,2,3]}"#, 2),
        ("completions", r#"{"n":2,"prompt":[[1,2],[3]]}"#, 4),
        ("completions", r#"{"prompt":[]}"#, 1),
        ("images/generations", r#"{"n":4}"#, 4),
        ("responses", r#"{"n":4}"#, 1),
        ("messages", r#"{}"#, 1),
    ] {
        assert_eq!(facts_of(tail, body).choices, choices, "{tail} {body}");
    }
}

#[test]
fn the_end_user_is_found_under_every_name() {
    for (tail, body, user) in [
        ("chat/completions", r#"{"user":"a","safety_identifier":"b"}"#, Some("a")),
        ("chat/completions", r#"{"user":"","safety_identifier":"b"}"#, Some("b")),
        ("messages", r#"{"metadata":{"user_id":"c"}}"#, Some("c")),
        ("messages", r#"{"metadata":{"user_id":7}}"#, None),
        ("messages", r#"{}"#, None),
    ] {
        assert_eq!(facts_of(tail, body).user.as_deref(), user, "{body}");
    }
}

#[test]
fn stream_options_are_placed_in_the_body() {
    let body =
        r#"{"stream_options" : { "include_obfuscation":false, "include_usage" : false } , "stream":true}"#;
    let facts = chat(body);
    assert_eq!(facts.include_usage, Some(false));
    let StreamOptions::Object { at, include_usage_at: Some(value), is_empty: false } = facts.stream_options
    else {
        panic!("{:?}", facts.stream_options);
    };
    assert_eq!(&body[value], "false");
    assert!(body[at.clone()].starts_with('{') && body[at].ends_with('}'));
}

#[test]
fn the_model_of_a_form_is_found_behind_its_file() {
    let content_type = "multipart/form-data; boundary=XX";
    let mut body =
        b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".to_vec();
    body.extend([0, 255, 13, 10].repeat(1000));
    body.extend(b"\r\n--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n");
    body.extend(b"--XX\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\ntrue\r\n--XX--\r\n");
    let facts = scan(&endpoint("audio/transcriptions"), Some(content_type), &body).unwrap();
    assert_eq!(
        (facts.model.as_deref(), facts.form, facts.stream),
        (Some("whisper-1"), BodyForm::Multipart, true)
    );
    assert_eq!(&body[facts.model_at.unwrap()], b"whisper-1");
}

#[test]
fn a_form_where_only_json_is_taken_is_refused_and_json_with_a_forms_label_is_read() {
    let content_type = Some("multipart/form-data; boundary=XX");
    let chat = endpoint("chat/completions");
    assert!(scan(&chat, content_type, b"--XX\r\n\r\n--XX--").is_err());
    assert_eq!(scan(&chat, content_type, b"{\"model\":\"a\"}").unwrap().model.as_deref(), Some("a"));
}

#[test]
fn paths_without_a_body_of_ours_are_not_read() {
    for path in ["/v1/files", "/v1/models", "/v1/responses/r/cancel"] {
        let facts = scan(&classify(&Method::POST, path), None, b"not json").unwrap();
        assert_eq!((facts.form, facts.model, facts.choices), (BodyForm::Unread, None, 1), "{path}");
    }
    let audio = scan(&endpoint("audio/transcriptions"), Some("audio/wav"), b"RIFF").unwrap();
    assert_eq!(audio.form, BodyForm::Unread);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for tail in ["chat/completions", "completions", "messages", "images/edits"] {
            let facts = scan(&endpoint(tail), None, &body);
            let form = scan(&endpoint(tail), Some("multipart/form-data; boundary=a"), &body);
            prop_assert!(facts.is_err() || serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok()
                || tail == "images/edits" || body.starts_with(b"\xef\xbb\xbf"));
            prop_assert!(form.is_ok() || (tail != "images/edits" && facts.is_err()));
        }
    }
}

#[test]
fn what_asks_for_output_that_no_stream_shows_is_known() {
    for body in [
        r#"{"reasoning_effort":"low"}"#,
        r#"{"thinking":{"type":"enabled","budget_tokens":1024}}"#,
        r#"{"thinking":{"type":"adaptive"}}"#,
        r#"{"modalities":["text","audio"]}"#,
        r#"{"prediction":{"type":"content","content":"x"}}"#,
    ] {
        assert!(chat(body).asks_hidden, "{body}");
    }
    for body in [
        "{}",
        r#"{"reasoning_effort":"none"}"#,
        r#"{"thinking":{"type":"disabled"}}"#,
        r#"{"modalities":["text"]}"#,
        r#"{"prediction":null,"thinking":null}"#,
    ] {
        assert!(!chat(body).asks_hidden, "{body}");
    }
    assert!(facts_of("responses", r#"{"reasoning":{"effort":"high"}}"#).asks_hidden);
    let thinking = r#"{"thinking":{"type":"enabled","budget_tokens":1024}}"#;
    assert_eq!(facts_of("messages", thinking).thinking_budget, Some(1_024));
}

#[test]
fn searches_are_counted_by_what_the_request_allows() {
    let searches = |tail: &str, body: &str| facts_of(tail, body).web_searches;
    assert_eq!(searches("chat/completions", r#"{"web_search_options":{}}"#), 1);
    assert_eq!(searches("responses", r#"{"tools":[{"type":"web_search_preview"}]}"#), USUAL_SEARCHES);
    let bounded = r#"{"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":3}]}"#;
    assert_eq!(searches("messages", bounded), 3);
    let own = r#"{"tools":[{"type":"function","function":{"name":"web_search"}}]}"#;
    assert_eq!(searches("chat/completions", own), 0, "the caller's own tool is the caller's own search");
}

#[test]
fn a_response_tells_which_model_may_make_images() {
    let image = |body: &str| facts_of("responses", body).image_tool;
    assert_eq!(image(r#"{"tools":[{"type":"image_generation"}]}"#).as_deref(), Some(""));
    let named =
        r#"{"tools":[{"type":"web_search"},{"type":"image\u005fgeneration","model":"gpt-image-1-mini"}]}"#;
    assert_eq!(image(named).as_deref(), Some("gpt-image-1-mini"));
    assert_eq!(image(r#"{"tools":[{"type":"function","name":"image_generation"}]}"#), None);
}

const NAMES: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "include_usage",
    "max_tokens",
    "n",
    "user",
    "metadata",
    "user_id",
    "tools",
    "type",
    "content",
    "messages",
    "input",
    "prompt",
    "image_url",
    "url",
    "source",
    "data",
    "file",
    "file_id",
    "input_audio",
    "stop",
    "thinking",
    "functions",
    "system",
    "conversation",
    "result",
    "Model",
    "x",
    "temperature",
];

/// The one pass, and the reader and the ceiling one after the other.
#[track_caller]
fn reads_alike(tail: &str, body: &[u8]) -> bool {
    let endpoint = endpoint(tail);
    let at_once = read_at_once(&endpoint, None, body);
    if let Some((facts, ceiling)) = &at_once {
        let text = String::from_utf8_lossy(body);
        assert_eq!(Ok(facts), scan(&endpoint, None, body).as_ref(), "{text}");
        let model = facts.model.as_deref().unwrap_or_default();
        assert_eq!(*ceiling, input_ceiling(&endpoint, model, body), "{text}");
    }
    at_once.is_some()
}

#[test]
fn one_pass_reads_what_two_would() {
    let mut dice = Dice(5);
    let mut at_once = 0;
    for _ in 0..4_000 {
        let mut body = any_object(&mut dice, NAMES, 4).into_bytes();
        if dice.one_in(8) {
            let (at, byte) = (dice.below(body.len()), dice.pick(b"\"{}[],:\\ x0\xff"));
            body[at] = byte;
        }
        let tail = dice.pick(&["chat/completions", "completions", "responses", "messages", "embeddings"]);
        at_once += usize::from(reads_alike(tail, &body));
    }
    assert!(at_once > 1_000, "{at_once}");
    for body in ["\u{feff}{\"model\":\"a\"}", "{}", " {\"messages\":[{\"content\":\"x\\ny\"}]}\n"] {
        assert!(reads_alike("chat/completions", body.as_bytes()), "{body}");
    }
}
