//! What stored objects tell of work that went on after its answer (WIRE 1.1, 1.3; cases 18 and 19).

use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::super::slices::{cuts, sliced};
use super::*;

const JSON: Option<&str> = Some("application/json");
const EVENTS: Option<&str> = Some("text/event-stream");

fn read(kind: ObjectKind, content_type: Option<&str>, pieces: &[&[u8]]) -> Reading {
    let mut meter = Meter::of_stored(kind, 200, content_type, None);
    pieces.iter().for_each(|piece| meter.observe(piece));
    meter.finish()
}

fn told(kind: ObjectKind, text: &str) -> Reading {
    let reading = read(kind, JSON, &[text.as_bytes()]);
    assert_eq!((reading.usage, reading.model), (None, None), "the answer itself has used nothing");
    *reading.stored.unwrap()
}

fn tokens(reading: &Reading) -> Option<(u64, u64)> {
    reading.usage.map(|usage| (usage.input_tokens, usage.output_tokens))
}

fn response(status: &str, usage: &Value) -> String {
    json!({"id": "resp_1", "object": "response", "background": true, "status": status, "model": "gpt-5",
        "service_tier": "flex", "output": [{"type": "message", "content": [{"text": "usage: {}"}]}],
        "usage": usage})
    .to_string()
}

fn usage(input: u64, output: u64) -> Value {
    json!({"input_tokens": input, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": output, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": input + output})
}

#[test]
fn a_response_says_how_its_work_stands() {
    for (status, work) in [
        ("queued", Work::Pending),
        ("in_progress", Work::Pending),
        ("completed", Work::Ended),
        ("incomplete", Work::Ended),
        ("cancelled", Work::Ended),
        ("failed", Work::Failed),
        ("dreaming", Work::Untold),
    ] {
        let reading = told(ObjectKind::Response, &response(status, &Value::Null));
        assert_eq!((reading.work, reading.usage), (work, None), "{status}");
        let mut meter = Meter::new(Operation::Responses, 200, JSON, None);
        meter.observe(response(status, &Value::Null).as_bytes());
        assert_eq!(meter.finish().work, work, "as the answer to who began it");
    }
}

#[test]
fn a_stored_response_tells_its_usage_model_and_tier() {
    let reading = told(ObjectKind::Response, &response("completed", &usage(10, 5)));
    assert_eq!((tokens(&reading), reading.model.as_deref()), (Some((10, 5)), Some("gpt-5")));
    assert_eq!(reading.service_tier.as_deref(), Some("flex"));
    let used = reading.usage.unwrap();
    assert_eq!((used.cached_input_tokens, used.cache_write_tokens, used.reasoning_tokens), (3, 2, 1));
}

#[test]
fn only_a_whole_good_answer_tells_anything() {
    let text = response("completed", &usage(10, 5));
    for status in [206, 304, 404, 500] {
        let mut meter = Meter::of_stored(ObjectKind::Response, status, JSON, None);
        meter.observe(text.as_bytes());
        assert_eq!(meter.finish(), Reading { ended: true, ..Reading::default() }, "{status}");
    }
}

#[test]
fn a_background_stream_that_breaks_off_leaves_work_behind_and_another_does_not() {
    for (background, work) in [(true, Work::Pending), (false, Work::Untold)] {
        let head = json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress",
            "background": background, "usage": null}});
        let mut meter = Meter::new(Operation::Responses, 200, EVENTS, None);
        meter.observe(format!("event: response.created\ndata: {head}\n\n").as_bytes());
        let reading = meter.finish();
        assert_eq!((reading.work, reading.response_id.as_deref()), (work, Some("resp_1")));
    }
}

#[test]
fn batches_of_both_providers_say_how_they_stand() {
    let batch = |status: &str| {
        json!({"id": "batch_1", "object": "batch", "status": status, "output_file_id": "file-1", "model": "gpt-5",
            "request_counts": {"total": 4, "completed": 2, "failed": 2}, "usage": usage(10, 5)})
    };
    for (status, work, counted) in [
        ("validating", Work::Pending, None),
        ("in_progress", Work::Pending, None),
        ("completed", Work::Ended, Some((10, 5))),
        ("expired", Work::Ended, Some((10, 5))),
        ("failed", Work::Failed, Some((10, 5))),
    ] {
        let reading = told(ObjectKind::Batch, &batch(status).to_string());
        assert_eq!((reading.work, tokens(&reading), reading.answers), (work, counted, 2), "{status}");
        assert_eq!(reading.output_file.as_deref(), Some("file-1"));
    }
    for (status, work) in
        [("in_progress", Work::Pending), ("canceling", Work::Pending), ("ended", Work::Ended)]
    {
        let text =
            json!({"id": "msgbatch_1", "type": "message_batch", "processing_status": status}).to_string();
        let reading = told(ObjectKind::Batch, &text);
        assert_eq!((reading.work, reading.usage, reading.output_file), (work, None, None), "{status}");
    }
}

/// The lines of an output file: chat, a response with searches, embeddings, one that failed, one that is null.
fn lines() -> String {
    let line = |status: u64, body: Value| json!({"custom_id": "c", "response": {"status_code": status, "body": body}});
    let chat = json!({"object": "chat.completion", "model": "gpt-5", "choices": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5}});
    let response = json!({"object": "response", "model": "gpt-5", "status": "completed", "usage": usage(20, 2),
        "tool_usage": {"web_search": {"num_requests": 3}}});
    let embedding = json!({"object": "list", "model": "embed", "data": [], "usage": {"prompt_tokens": 7}});
    let failed = json!({"error": {"message": "no"}, "usage": {"prompt_tokens": 900}});
    let all = [
        line(200, chat),
        line(200, response),
        line(200, embedding),
        line(400, failed),
        json!({"custom_id": "d", "response": null, "error": {"code": "batch_expired"}}),
    ];
    all.map(|line| line.to_string()).join("\n")
}

#[test]
fn the_lines_of_an_output_are_summed_up_by_model() {
    let reading = told(ObjectKind::File, &lines());
    assert_eq!((tokens(&reading), reading.model.as_deref()), (Some((30, 7)), Some("gpt-5")));
    assert_eq!((reading.usage.unwrap().web_searches, reading.answers, reading.malformed), (3, 3, 0));
    let further: Vec<_> =
        reading.extra.iter().map(|(model, usage)| (model.as_str(), usage.input_tokens)).collect();
    assert_eq!((further, reading.work), (vec![("embed", 7)], Work::Ended));
}

#[test]
fn the_results_of_a_batch_of_messages_are_those_that_succeeded() {
    let message = json!({"type": "message", "model": "claude", "content": [], "usage": {"input_tokens": 10,
        "cache_read_input_tokens": 5, "output_tokens": 2, "service_tier": "batch"}});
    let lines = [
        json!({"custom_id": "a", "result": {"type": "succeeded", "message": message}}),
        json!({"custom_id": "b", "result": {"type": "succeeded", "message": message}}),
        json!({"custom_id": "c", "result": {"type": "errored", "error": {"type": "error"}}}),
        json!({"custom_id": "d", "result": {"type": "expired"}}),
    ];
    let reading = told(ObjectKind::Results, &lines.map(|line| line.to_string()).join("\n"));
    assert_eq!((tokens(&reading), reading.answers), (Some((30, 4)), 2));
    assert_eq!(reading.usage.unwrap().cached_input_tokens, 10);
}

#[test]
fn a_file_of_something_else_is_no_output() {
    let reading = told(ObjectKind::File, "a,b,c\n1,2,3\n");
    assert_eq!((reading.usage, reading.malformed), (None, 2));
}

fn texts() -> impl Strategy<Value = (ObjectKind, Option<&'static str>, String)> {
    let done = json!({"type": "response.completed",
        "response": {"id": "resp_1", "status": "completed", "model": "gpt-5", "usage": usage(10, 5)}});
    let stream = format!("event: response.completed\r\ndata: {done}\r\n\r\n");
    proptest::prop_oneof![
        Just((ObjectKind::Response, JSON, response("completed", &usage(10, 5)))),
        Just((ObjectKind::Response, EVENTS, stream)),
        Just((ObjectKind::File, None, lines())),
    ]
}

proptest! {
    #[test]
    fn however_it_is_cut_the_same_is_told((kind, content_type, text) in texts(), cuts in cuts()) {
        let whole = read(kind, content_type, &[text.as_bytes()]);
        prop_assert_eq!(read(kind, content_type, &sliced(text.as_bytes(), &cuts)), whole);
    }

    #[test]
    fn wire_19_an_object_that_breaks_off_before_its_usage_tells_none(
        (kind, content_type, text) in texts(), at in 0..1_000_usize,
    ) {
        // the last brackets and line ends may be missing: an event without its blank line counts
        let stump = &text.as_bytes()[..at.min(text.len().saturating_sub(120))];
        let stored = read(kind, content_type, &[stump]).stored.unwrap();
        match kind {
            // who relays it knows whether the lines came whole
            ObjectKind::File => prop_assert!(stored.answers <= 3),
            _ => prop_assert_eq!(stored.usage, None),
        }
    }
}
