//! Refusals in each provider's own error shape.

use http::StatusCode;
use serde_json::{Value, json};

use super::ask::Operation;
use super::wire::Event;

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) param: Option<&'static str>,
}

impl Refusal {
    /// 400 for a fault of the request.
    pub(super) fn bad(message: String, param: Option<&'static str>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message, param }
    }

    /// 400 for a member that is not there.
    pub(super) fn missing(name: &'static str) -> Self {
        Self::bad(format!("you must provide a {name} parameter"), Some(name))
    }

    /// The status that the model name asked for.
    pub(super) fn asked(status: StatusCode) -> Self {
        // OpenAI's own words, by which some clients know a 401
        let words = if status == StatusCode::UNAUTHORIZED { "Incorrect API key provided: " } else { "" };
        Self {
            status,
            message: format!("{words}status {} as the model name asked", status.as_u16()),
            param: None,
        }
    }

    /// The body, in the operation's shape.
    pub(super) fn body(&self, operation: Operation) -> Value {
        if operation.is_anthropic() {
            let kind = anthropic_type(self.status.as_u16());
            return json!({"type": "error", "error": {"type": kind, "message": self.message},
                "request_id": "req_mock"});
        }
        let (kind, code) = openai_type(self.status.as_u16());
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": code}})
    }
}

/// The event that ends a stream with an error.
pub(super) fn error_event(operation: Operation, sequence: usize) -> Event {
    let message = "The server had an error while processing your request.";
    match operation {
        Operation::Messages => Event::named(
            "error",
            &json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            0,
        ),
        Operation::Responses => Event::named(
            "error",
            &json!({"type": "error", "sequence_number": sequence, "error": {"type": "server_error",
                "code": "server_error", "message": message, "param": null}}),
            0,
        ),
        _ => Event::data(
            &json!({"error": {"message": message, "type": "server_error", "param": null,
                "code": "server_error"}}),
            0,
        ),
    }
}

const fn openai_type(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        402 => ("insufficient_quota", Some("insufficient_quota")),
        403 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        500..=599 => ("server_error", Some("server_error")),
        _ => ("invalid_request_error", None),
    }
}

const fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    }
}
