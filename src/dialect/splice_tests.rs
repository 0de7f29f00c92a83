//! What splices change, and that they change nothing else.

use http::Method;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::dialect::path::classify;
use crate::dialect::request::scan;

fn endpoint(path: &str) -> Endpoint {
    classify(&Method::POST, path)
}

fn asked(path: &str, body: &str) -> Option<String> {
    let endpoint = endpoint(path);
    let facts = scan(&endpoint, None, body.as_bytes()).unwrap();
    let edit = ask_for_usage(&endpoint, &facts, body.as_bytes())?;
    let edited = apply(&Bytes::copy_from_slice(body.as_bytes()), vec![edit]);
    Some(String::from_utf8(edited.to_vec()).unwrap())
}

#[test]
fn usage_is_asked_for_at_the_least_place() {
    for (body, edited) in [
        (r#"{"stream":true}"#, r#"{"stream_options":{"include_usage":true},"stream":true}"#),
        (" {\n \"stream\": true}", " {\"stream_options\":{\"include_usage\":true},\n \"stream\": true}"),
        (
            r#"{"stream":true,"stream_options":null}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{ }}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true }}"#,
        ),
        (
            r#"{"stream_options":{"include_obfuscation":false},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"include_obfuscation":false},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage": false},"stream":true}"#,
            r#"{"stream_options":{"include_usage": true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":null},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":true,"include_usage":false},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true,"include_usage":true},"stream":true}"#,
        ),
    ] {
        assert_eq!(asked("/v1/chat/completions", body).as_deref(), Some(edited), "{body}");
        assert_eq!(asked("/v1/completions", body).as_deref(), Some(edited), "{body}");
    }
}

#[test]
fn usage_is_not_asked_for_twice_or_where_there_is_no_such_option() {
    let stream = r#"{"stream":true}"#;
    for (path, body) in [
        ("/v1/chat/completions", r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        ("/v1/chat/completions", r#"{"stream":false}"#),
        ("/v1/chat/completions", r#"{}"#),
        ("/v1/chat/completions", r#"{"stream":true,"stream_options":7}"#),
        ("/v1/responses", stream),
        ("/v1/messages", stream),
        ("/v1/audio/speech", stream),
    ] {
        assert_eq!(asked(path, body), None, "{path} {body}");
    }
}

#[test]
fn a_model_is_renamed_in_place() {
    let body = r#"{ "x":"model", "model" : "a\u0062c" , "stream":true}"#;
    let chat = endpoint("/v1/chat/completions");
    let facts = scan(&chat, None, body.as_bytes()).unwrap();
    let edits =
        vec![ask_for_usage(&chat, &facts, body.as_bytes()).unwrap(), rename_model(&facts, "d\"é").unwrap()];
    assert_eq!(
        apply(&Bytes::from(body), edits),
        r#"{"stream_options":{"include_usage":true}, "x":"model", "model" : "d\"é" , "stream":true}"#
    );
    let nameless = scan(&chat, None, b"{}").unwrap();
    assert_eq!(rename_model(&nameless, "x"), None);
}

#[test]
fn a_model_in_a_form_is_renamed_bare() {
    let body = "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\r\n--B--\r\n";
    let facts = scan(&endpoint("/v1/images/edits"), Some("multipart/form-data; boundary=B"), body.as_bytes())
        .unwrap();
    let edit = rename_model(&facts, "b c").unwrap();
    assert_eq!(apply(&Bytes::from(body), vec![edit]), body.replace("\r\na\r\n", "\r\nb c\r\n"));
    assert_eq!(rename_model(&facts, "b\r\n--B"), None);
}

#[test]
fn without_edits_the_body_is_shared() {
    let body = Bytes::from_static(b"{}");
    assert_eq!(apply(&body, Vec::new()).as_ptr(), body.as_ptr());
}

/// Text that JSON ignores.
fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-1.50e3".to_owned()),
        ".{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u0061{\"stream_options\":}""#.to_owned()),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| format!("[{}]", items.join(" ,"))),
            proptest::collection::vec(inner, 0..3).prop_map(|items| {
                let members: Vec<_> =
                    items.iter().enumerate().map(|(at, item)| format!("\"k{at}\" : {item}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn stream_options() -> impl Strategy<Value = Option<String>> {
    let usage = prop_oneof![Just("false"), Just("true"), Just("null"), Just("1")];
    prop_oneof![
        Just(None),
        Just(Some("null".to_owned())),
        space().prop_map(|space| Some(format!("{{{space}}}"))),
        value().prop_map(|value| Some(format!("{{\"other\":{value}}}"))),
        (usage, space(), value()).prop_map(|(usage, space, value)| Some(format!(
            "{{{space}\"a\":{value},\"include\\u005fusage\"{space}:{space}{usage}{space},\"b\":{value}}}"
        ))),
    ]
}

fn body() -> impl Strategy<Value = String> {
    let others = proptest::collection::vec(value(), 0..4);
    (others, stream_options(), space(), any::<proptest::sample::Index>()).prop_map(
        |(others, options, space, at)| {
            let mut members: Vec<_> = others
                .iter()
                .enumerate()
                .map(|(number, value)| format!("\"m{number}\"{space}:{space}{value}"))
                .collect();
            members.insert(at.index(members.len() + 1), "\"stream\":true".to_owned());
            if let Some(options) = options {
                members.insert(
                    at.index(members.len() + 1),
                    format!("{space}\"stream_options\":{space}{options}"),
                );
            }
            members.push("\"model\":\"old\"".to_owned());
            format!("{space}{{{space}{}{space}}}{space}", members.join(","))
        },
    )
}

proptest! {
    /// After the splices the body means what it meant, plus usage and the new model; what lies outside
    /// the edits is the same to the byte.
    #[test]
    fn splices_add_what_they_say_and_keep_every_other_byte(body in body()) {
        let chat = endpoint("/v1/chat/completions");
        let facts = scan(&chat, None, body.as_bytes()).unwrap();
        let ask = ask_for_usage(&chat, &facts, body.as_bytes());
        let rename = rename_model(&facts, "new").unwrap();
        let edits: Vec<Edit> = ask.into_iter().chain([rename]).collect();
        let edited = apply(&Bytes::from(body.clone()), edits.clone());

        let mut expected: Value = serde_json::from_str(&body).unwrap();
        if !expected["stream_options"].is_object() {
            expected["stream_options"] = Value::Object(serde_json::Map::new());
        }
        expected["stream_options"]["include_usage"] = true.into();
        expected["model"] = "new".into();
        prop_assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), expected);

        // undone from the front, every edit stands at its first place again
        let mut undone = edited.to_vec();
        let mut in_order = edits;
        in_order.sort_by_key(|edit| edit.range.start);
        for edit in in_order {
            let start = edit.range.start;
            undone.splice(start..start + edit.text.len(), body[edit.range].bytes());
        }
        prop_assert_eq!(undone, body.into_bytes());
    }
}

fn lowered(path: &str, body: &str, most: u64) -> Option<String> {
    let facts = scan(&endpoint(path), None, body.as_bytes()).unwrap();
    let edits = lower_cap(&facts, body.as_bytes(), "max_completion_tokens", most)?;
    Some(String::from_utf8(apply(&Bytes::copy_from_slice(body.as_bytes()), edits).to_vec()).unwrap())
}

#[test]
fn a_cap_is_lowered_where_it_stands_and_nothing_else_moves() {
    for (path, body, edited) in [
        (
            "/v1/chat/completions",
            r#"{"model":"m", "max_tokens" : 500 }"#,
            r#"{"model":"m", "max_tokens" : 20 }"#,
        ),
        (
            "/v1/chat/completions",
            r#"{"max_tokens":"500","model":"m","max_completion_tokens":6e2}"#,
            r#"{"max_tokens":20,"model":"m","max_completion_tokens":20}"#,
        ),
        ("/v1/chat/completions", r#"{"max_tokens":7,"model":"m"}"#, r#"{"max_tokens":7,"model":"m"}"#),
        (
            "/v1/chat/completions",
            r#"{"max_tokens":null,"model":"m","max_completion_tokens":90}"#,
            r#"{"max_tokens":null,"model":"m","max_completion_tokens":20}"#,
        ),
        ("/v1/chat/completions", r#"{"max_tokens":null,"model":"m"}"#, r#"{"max_tokens":20,"model":"m"}"#),
        ("/v1/chat/completions", " { \"model\":\"m\"}", " {\"max_completion_tokens\":20, \"model\":\"m\"}"),
        // not a cap of this operation
        (
            "/v1/responses",
            r#"{"model":"m","max_tokens":500,"max_output_tokens":30}"#,
            r#"{"model":"m","max_tokens":500,"max_output_tokens":20}"#,
        ),
        ("/v1/messages", r#"{"max_tokens":4096,"model":"m"}"#, r#"{"max_tokens":20,"model":"m"}"#),
    ] {
        assert_eq!(lowered(path, body, 20).as_deref(), Some(edited), "{body}");
    }
}

#[test]
fn a_cap_that_cannot_be_read_is_not_lowered() {
    assert_eq!(lowered("/v1/chat/completions", r#"{"model":"m","max_tokens":"many"}"#, 20), None);
    assert_eq!(lowered("/v1/chat/completions", "{}", 20), None, "there is nothing to put it in front of");
}
