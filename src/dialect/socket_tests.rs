use serde_json::json;

use super::*;
use crate::dialect::messages::HEAD;

fn whole(bytes: &[u8]) -> Message<'_> {
    let head = &bytes[..bytes.len().min(HEAD)];
    Message { is_text: true, bytes, head, is_clipped: false, is_unread: false }
}

fn told_by(event: &serde_json::Value) -> Told {
    told(&whole(event.to_string().as_bytes()))
}

fn lane(response_id: &str, stream_id: &str) -> Lane {
    Lane { response_id: response_id.into(), stream_id: stream_id.into() }
}

#[test]
fn events_are_told_apart_and_belong_to_their_response() {
    for (event, expected) in [
        (
            json!({"type": "response.created", "stream_id": "s", "response": {"id": "r", "model": "m"}}),
            Told::Began(lane("r", "s"), "m".into()),
        ),
        (
            json!({"type": "response.output_text.delta", "response_id": "r", "delta": "x"}),
            Told::Going(lane("r", "")),
        ),
        (
            json!({"type": "response.incomplete", "response": {"id": "r", "stream_id": "s"}}),
            Told::Ended(lane("r", "s")),
        ),
        (json!({"type": "response.done", "response": {"id": "r"}}), Told::Ended(lane("r", ""))),
        (
            json!({"type": "response.event", "event": {"type": "response.completed", "response": {"id": "r"}}}),
            Told::Ended(lane("r", "")),
        ),
        (json!({"type": "session.usage.updated", "usage": {"seconds": 12.3}}), Told::Seconds(13)),
        (json!({"type": "session.closed", "session": {"usage": {"seconds": 20}}}), Told::Seconds(20)),
        (
            json!({"type": "error", "error": {"type": "t", "code": "c", "event_id": "e"}}),
            Told::Refused(Refused {
                event_id: "e".into(),
                names_cause: true,
                stream_id: String::new(),
                code: "c".into(),
            }),
        ),
        (json!({"type": "rate_limits.updated"}), Told::Nothing),
        (json!([1, 2]), Told::Nothing),
    ] {
        assert_eq!(told_by(&event), expected, "{event}");
    }
}

#[test]
fn settings_are_found_in_both_spellings() {
    for session in [
        json!({"model": "m", "input_audio_transcription": {"model": "w"}, "max_response_output_tokens": 9}),
        json!({"model": "m", "audio": {"input": {"transcription": {"model": "w"}}}, "max_output_tokens": 9}),
    ] {
        let expected =
            Settings { model: Some("m".into()), transcription_model: Some("w".into()), output_cap: Some(9) };
        assert_eq!(told_by(&json!({"type": "session.updated", "session": session})), Told::Session(expected));
    }
    let unlimited = json!({"type": "session.created", "session": {"max_output_tokens": "inf"}});
    let uncapped = Settings { output_cap: Some(UNCAPPED), ..Settings::default() };
    assert_eq!(told_by(&unlimited), Told::Session(uncapped), "not: as it was before");
}

#[test]
fn what_a_user_said_is_billed_by_tokens_or_by_seconds() {
    for (usage, expected) in [
        (
            json!({"type": "tokens", "input_tokens": 30, "input_token_details": {"audio_tokens": 30},
            "output_tokens": 5, "total_tokens": 35}),
            Usage { input_tokens: 30, input_audio_tokens: 30, output_tokens: 5, ..Usage::default() },
        ),
        (json!({"type": "duration", "seconds": 8.47}), Usage { seconds: 9, ..Usage::default() }),
    ] {
        let event = json!({"type": TRANSCRIBED, "item_id": "i", "transcript": "hi", "usage": usage});
        let Told::Transcribed(reading) = told_by(&event) else { panic!("{event}") };
        assert_eq!(reading.usage, Some(expected));
    }
}

#[test]
fn a_long_end_is_told_by_its_beginning_and_its_usage_by_its_end() {
    let event = format!(
        r#"{{"type":"response.completed","response":{{"id":"r","output":"{}","usage":{{"input_tokens":7,"output_tokens":3,"total_tokens":10}}}},"sequence_number":1}}"#,
        "x".repeat(10_000)
    );
    let bytes = event.as_bytes();
    let clipped = Message { is_clipped: true, bytes: &bytes[bytes.len() - 200..], ..whole(bytes) };
    assert_eq!(told(&clipped), Told::Ended(lane("r", "")));
    let mut reader = AnswerReader::default();
    reader.observe(&clipped);
    let reading = reader.finish();
    assert_eq!(reading.usage.map(|usage| (usage.input_tokens, usage.output_tokens)), Some((7, 3)));
    assert!(reading.ended);
}

#[test]
fn a_long_end_is_found_wherever_its_type_stands() {
    let output = format!(r#"[{{"type":"message","content":"{}"}}]"#, "x".repeat(10_000));
    for event in [
        format!(
            r#"{{"type":"response.event","event":{{"type":"response.done","response":{{"id":"r","output":{output}}}}}}}"#
        ),
        format!(r#"{{"response":{{"id":"r","output":{output}}},"type":"response.done"}}"#),
    ] {
        let bytes = event.as_bytes();
        let clipped = Message { is_clipped: true, bytes: &bytes[bytes.len() - 200..], ..whole(bytes) };
        assert_eq!(told(&clipped), Told::Ended(lane("r", "")), "{}", &event[..60]);
    }
}

#[test]
fn a_response_is_read_from_its_own_events() {
    let mut reader = AnswerReader::default();
    for event in [
        json!({"type": "response.created", "response": {"id": "r", "usage": null}}),
        json!({"type": "response.output_audio.delta", "delta": "AAAA"}),
        json!({"type": "response.output_audio_transcript.delta", "delta": "hello"}),
        json!({"type": "response.done", "response": {"id": "r", "status": "completed", "usage": {"input_tokens": 9,
            "input_token_details": {"audio_tokens": 5, "cached_tokens": 4}, "output_tokens": 6,
            "output_token_details": {"audio_tokens": 2}, "total_tokens": 15}}}),
    ] {
        reader.observe(&whole(event.to_string().as_bytes()));
    }
    assert_eq!(reader.output_so_far(), 5);
    let reading = reader.finish();
    let expected = Usage {
        input_tokens: 9,
        cached_input_tokens: 4,
        input_audio_tokens: 5,
        output_tokens: 6,
        output_audio_tokens: 2,
        ..Usage::default()
    };
    assert_eq!((reading.usage, reading.ended), (Some(expected), true));
}

#[test]
fn a_wish_is_known_by_its_type_and_said_once() {
    let wish = |text: &str| asked(Operation::Realtime, &whole(text.as_bytes()));
    assert_eq!(
        wish(r#"{"event_id":"e","type":"response.create","response":{"max_output_tokens":50}}"#),
        Asked::Response(Wanted { event_id: "e".into(), output_cap: Some(50), ..Wanted::default() })
    );
    assert_eq!(
        wish(r#"{"type":"response.create","response":{"max_output_tokens":"inf"}}"#),
        Asked::Response(Wanted { output_cap: Some(UNCAPPED), ..Wanted::default() })
    );
    assert_eq!(wish(r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#), Asked::Other);
    for hidden in [
        r#"{"type":"x","type":"response.create"}"#,
        r#"{"type":"x","model":"a","MODEL":"b"}"#,
        r#"{"model":"a"}"#,
        r#"{"type":"session.update","session":{"model":"a","model":"b"}}"#,
        r#"{"type":"response.create","response":{"max_output_tokens":1,"Max_Output_Tokens":9}}"#,
        "hello",
    ] {
        assert_eq!(wish(hidden), Asked::Unreadable, "{hidden}");
    }
}

#[test]
fn what_may_be_an_event_is_read_whatever_frame_it_comes_in() {
    let binary =
        |text: &str| asked(Operation::Realtime, &Message { is_text: false, ..whole(text.as_bytes()) });
    let wish = r#"{"\u0074ype":"response.create","response":{"model":"m"}}"#;
    let expected = Asked::Response(Wanted { model: "m".into(), ..Wanted::default() });
    assert_eq!((binary(wish), binary("RIFF")), (expected, Asked::Other));
    assert!(may_be_event(false, b" {") && may_be_event(false, b"") && may_be_event(true, b"RIFF"));
    assert!(!may_be_event(false, b"RIFF"));
}
