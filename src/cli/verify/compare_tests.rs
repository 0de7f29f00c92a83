use http::{HeaderMap, HeaderValue, header};

use super::*;

const CHUNK: &str = r#"{"object":"chat.completion.chunk","model":"m","choices":[{"delta":{"content":"a"}}]}"#;

fn answer(content_type: &'static str, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Answer { status: 200, headers, body: body.into(), is_whole: true, asked_at: 1_000 }
}

fn stream(events: &[&str]) -> Answer {
    let body: String = events.iter().map(|data| format!("data: {data}\n\n")).collect();
    answer("text/event-stream", &body)
}

fn texts(case: Case, one: &Answer, two: &Answer) -> Vec<String> {
    compare(case, one, two).into_iter().map(|difference| difference.text).collect()
}

fn json(body: &str) -> Answer {
    answer("application/json", body)
}

#[test]
fn other_words_are_no_difference_but_another_shape_is() {
    let one = json(r#"{"id":"a","model":"m","choices":[{"text":"yes"}],"new":1}"#);
    let two = json(r#"{"id":"b","model":"m","choices":[{"text":"no"}],"new":2}"#);
    assert!(texts(Case::Chat, &one, &two).is_empty());
    let dropped = json(r#"{"id":"b","model":"m","choices":[{"text":"no"}]}"#);
    assert_eq!(texts(Case::Chat, &one, &dropped), ["`new` is gone (number)"]);
    let moved = json(r#"{"model":"m","id":"b","choices":[{"text":"no"}],"new":2}"#);
    assert_eq!(texts(Case::Chat, &one, &moved), ["`model` stands where `id` stood"]);
    let renamed = json(r#"{"id":"a","model":"other","choices":[{"text":"yes"}],"new":1}"#);
    assert_eq!(texts(Case::Chat, &one, &renamed), [r#"`model` is "other", directly "m""#]);
    let spaced = json(r#"{"id": "a", "model": "m", "choices": [{"text": "yes"}], "new": 1}"#);
    assert_eq!(texts(Case::Chat, &one, &spaced).len(), 1);
}

#[test]
fn a_creation_time_may_pass_but_not_jump() {
    let at = |created: i64, asked_at| Answer { asked_at, ..json(&format!(r#"{{"created":{created}}}"#)) };
    assert!(texts(Case::Chat, &at(1_000, 1_000), &at(1_065, 1_064)).is_empty());
    assert_eq!(texts(Case::Chat, &at(500, 1_000), &at(1_065, 1_064)), ["`created` is 1065, directly 500"]);
}

#[test]
fn an_error_must_be_the_same_to_the_byte_but_for_its_id() {
    let error = |id: &'static str, message: &str| {
        let mut answer = json(&format!(r#"{{"error":{{"message":"{message}"}},"request_id":"{id}"}}"#));
        answer.status = 404;
        answer.headers.insert("request-id", HeaderValue::from_static(id));
        answer
    };
    let one = error("req_0000001", "no such model");
    assert!(texts(Case::UnknownModel, &one, &error("req_0000002", "no such model")).is_empty());
    let other = texts(Case::UnknownModel, &one, &error("req_0000002", "not found"));
    assert_eq!(other, [r#"`error.message` is "not found", directly "no such model""#]);
    let escaped = texts(Case::UnknownModel, &one, &error("req_0000002", "no such mod\\u0065l"));
    assert!(escaped[0].starts_with("from byte "), "{escaped:?}");
}

#[test]
fn a_stream_is_compared_event_by_event_and_to_its_end() {
    let one = stream(&[CHUNK, CHUNK, "[DONE]"]);
    assert!(texts(Case::ChatStream, &one, &stream(&[CHUNK, "[DONE]"])).is_empty());
    assert_eq!(texts(Case::ChatStream, &one, &stream(&[CHUNK])), ["the end marker `[DONE]` is missing"]);
    let counted = CHUNK.replace("}]}", "}],\"usage\":null}");
    let added = texts(Case::ChatStream, &one, &stream(&[&counted, "[DONE]"]));
    assert_eq!(
        added,
        ["in part 1 of the stream, `chat.completion.chunk`: `usage` is new (null), for which nobody asked"]
    );
    let unended = answer("text/event-stream", &format!("data: {CHUNK}\n\ndata: [DONE]\n"));
    assert_eq!(texts(Case::ChatStream, &one, &unended), ["`[DONE]` lacks the blank line that ends an event"]);
}

#[test]
fn comments_may_come_but_must_not_all_go() {
    let plain = stream(&[CHUNK, "[DONE]"]);
    let commented = answer("text/event-stream", &format!(": wait\n\n{}", plain.body));
    assert!(texts(Case::ChatStream, &plain, &commented).is_empty());
    assert_eq!(texts(Case::ChatStream, &commented, &plain), ["its comments are gone (1 directly)"]);
}

#[test]
fn what_the_upstream_itself_differs_in_is_not_held_against_the_gateway() {
    let one = json(r#"{"a":1,"b":2}"#);
    let (two, own) = (json(r#"{"b":2}"#), json(r#"{"b":2,"c":3}"#));
    assert_eq!(without(compare(Case::Chat, &one, &two), &compare(Case::Chat, &one, &own)), []);
}

#[test]
fn an_answer_of_the_gateways_own_is_told_by_its_code() {
    let one = json("{}");
    let mut refused = json(r#"{"error":{"code":"model_not_allowed"}}"#);
    refused.status = 403;
    refused.headers.insert("x-tollgate-error-source", HeaderValue::from_static("gateway"));
    let told = texts(Case::Chat, &one, &refused);
    assert_eq!(told, ["200 became 403: the gateway answered by itself, model_not_allowed"]);
}
