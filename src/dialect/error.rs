//! An error in the dialect's own shape, as a body and as the one frame that ends a cut stream.

use serde_json::{Map, Value, json};

use super::path::{Dialect, Operation};

/// What an error says, whatever the dialect.
#[derive(Debug, Clone, Default)]
pub struct ErrorShape<'a> {
    /// For people: what happened, the value at fault, what to do.
    pub message: &'a str,
    /// `OpenAI`'s `type`, such as `invalid_request_error` or `insufficient_quota`.
    pub kind: &'a str,
    /// Stable code, such as `insufficient_quota` or `rate_limit_exceeded`.
    pub code: &'a str,
    /// Our id of the request, for support.
    pub request_id: &'a str,
    /// More members of the error object: for budgets `scope`, `spent`, `reserved`, `limit`, `resets_at`.
    pub fields: Vec<(&'static str, Value)>,
}

/// The JSON body of an error answer (WIRE 1.5, 2.3).
#[must_use]
pub fn body(dialect: Dialect, error: &ErrorShape<'_>) -> Vec<u8> {
    match dialect {
        Dialect::OpenAi => to_bytes(&json!({ "error": openai(error) })),
        Dialect::Anthropic => to_bytes(&anthropic(error)),
    }
}

/// The error frame after which a cut stream ends, without the dialect's sign of a good end
/// (WIRE 2.3, item 5).
#[must_use]
pub fn frame(operation: Operation, error: &ErrorShape<'_>) -> Vec<u8> {
    match operation {
        Operation::Messages => event("event: error\n", &anthropic(error)),
        // nested under `error`, because the Python SDK raises on that key only
        Operation::Responses | Operation::ResponsesCompact | Operation::Decisions => {
            event("event: error\n", &json!({ "type": "error", "sequence_number": 0, "error": openai(error) }))
        }
        _ => event("", &json!({ "error": openai(error) })),
    }
}

/// What an event is about that a client sent in a socket, in its own words; either may be empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// Its id of the event.
    pub event_id: &'a str,
    /// The lane.
    pub stream_id: &'a str,
}

/// The event that tells a socket's client of an error, which has the status that a request would have had.
#[must_use]
pub fn socket_event(status: u16, about: About<'_>, error: &ErrorShape<'_>) -> Vec<u8> {
    let mut told = openai(error);
    if !about.event_id.is_empty() {
        told["event_id"] = about.event_id.into();
    }
    let mut event = json!({ "type": "error", "event_id": error.request_id, "status": status, "error": told });
    if !about.stream_id.is_empty() {
        event["stream_id"] = about.stream_id.into();
    }
    to_bytes(&event)
}

fn openai(error: &ErrorShape<'_>) -> Value {
    let mut members = Map::new();
    members.insert("message".into(), error.message.into());
    members.insert("type".into(), error.kind.into());
    members.insert("param".into(), Value::Null);
    members.insert("code".into(), error.code.into());
    extend(&mut members, error);
    Value::Object(members)
}

fn anthropic(error: &ErrorShape<'_>) -> Value {
    let mut members = Map::new();
    members.insert("type".into(), anthropic_type(error).into());
    members.insert("message".into(), error.message.into());
    members.insert("details".into(), json!({ "error_code": error.code }));
    extend(&mut members, error);
    json!({ "type": "error", "error": members, "request_id": error.request_id })
}

fn extend(members: &mut Map<String, Value>, error: &ErrorShape<'_>) {
    for (name, value) in &error.fields {
        members.entry(*name).or_insert_with(|| value.clone());
    }
}

/// Anthropic's word: by our code where it says more, else by the kind.
fn anthropic_type(error: &ErrorShape<'_>) -> &'static str {
    by_word(error.code).or_else(|| by_word(error.kind)).unwrap_or("api_error")
}

fn by_word(word: &str) -> Option<&'static str> {
    Some(match word {
        "missing_api_key" | "malformed_api_key" | "invalid_api_key" | "expired_api_key" => {
            "authentication_error"
        }
        "permission_error" => "permission_error",
        "insufficient_quota" => "billing_error",
        "rate_limit_exceeded" | "rate_limit_error" => "rate_limit_error",
        "request_too_large" => "request_too_large",
        "no_upstream" | "model_not_found" => "not_found_error",
        "overloaded" | "shutting_down" => "overloaded_error",
        "upstream_timeout" => "timeout_error",
        "invalid_request_error" => "invalid_request_error",
        _ => return None,
    })
}

fn event(name: &str, data: &Value) -> Vec<u8> {
    let mut frame = format!("{name}data: ").into_bytes();
    frame.append(&mut to_bytes(data));
    frame.extend_from_slice(b"\n\n");
    frame
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent() -> ErrorShape<'static> {
        ErrorShape {
            message: "The budget of team \"search\" is spent.",
            kind: "insufficient_quota",
            code: "insufficient_quota",
            request_id: "req_1",
            fields: vec![("scope", json!("team:search")), ("limit", json!("1.00")), ("type", json!("x"))],
        }
    }

    #[test]
    fn an_openai_client_reads_its_own_shape_and_the_fields() {
        assert_eq!(
            String::from_utf8(body(Dialect::OpenAi, &spent())).unwrap(),
            r#"{"error":{"message":"The budget of team \"search\" is spent.","type":"insufficient_quota","param":null,"code":"insufficient_quota","scope":"team:search","limit":"1.00"}}"#
        );
    }

    #[test]
    fn an_anthropic_client_reads_its_own_shape_and_the_fields() {
        assert_eq!(
            String::from_utf8(body(Dialect::Anthropic, &spent())).unwrap(),
            r#"{"type":"error","error":{"type":"billing_error","message":"The budget of team \"search\" is spent.","details":{"error_code":"insufficient_quota"},"scope":"team:search","limit":"1.00"},"request_id":"req_1"}"#
        );
    }

    #[test]
    fn a_cut_stream_ends_with_one_frame_of_its_dialect() {
        let error = ErrorShape { message: "line\nbreak", fields: Vec::new(), ..spent() };
        for (operation, start) in [
            (Operation::ChatCompletions, "data: {\"error\":{\"message\":\"line\\nbreak\""),
            (
                Operation::Responses,
                "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"error\":{",
            ),
            (
                Operation::Messages,
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"billing_error\"",
            ),
        ] {
            let frame = String::from_utf8(frame(operation, &error)).unwrap();
            assert!(frame.starts_with(start), "{frame}");
            assert!(frame.ends_with("}\n\n"), "{frame}");
            assert_eq!(frame.matches("\n\n").count(), 1, "{frame}");
        }
    }

    #[test]
    fn anthropic_words_follow_the_code_then_the_kind() {
        for (kind, code, word) in [
            ("invalid_request_error", "invalid_api_key", "authentication_error"),
            ("permission_error", "model_not_allowed", "permission_error"),
            ("invalid_request_error", "no_upstream", "not_found_error"),
            ("server_error", "upstream_timeout", "timeout_error"),
            ("requests", "rate_limit_exceeded", "rate_limit_error"),
            ("invalid_request_error", "something_new", "invalid_request_error"),
            ("server_error", "upstream_unreachable", "api_error"),
        ] {
            assert_eq!(anthropic_type(&ErrorShape { kind, code, ..ErrorShape::default() }), word, "{code}");
        }
    }
}
