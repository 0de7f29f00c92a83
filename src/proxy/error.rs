//! Why Tollgate answers for itself, and what the client then reads: one exhaustive table of status,
//! stable code and message (docs/ERRORS.md), in the dialect's own shape.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use serde_json::Value;

use crate::base::id::RequestId;
use crate::budget;
use crate::dialect::error::{self as shape, ErrorShape};
use crate::dialect::path::{Dialect, Operation};
use crate::limits::LimitHit;
use crate::store::record::Outcome;
use crate::telemetry::words::Rejection;
use crate::upstream::client::SendFault;

/// Tollgate's own answer instead of an upstream's.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// A method that asks no upstream: `CONNECT`, `TRACE`, `OPTIONS *`, or an unknown one.
    MethodNotAllowed,
    /// Two readers could disagree on where the request ends or whom it asks.
    AmbiguousFraming(&'static str),
    /// No key was presented.
    MissingKey,
    /// Two different keys were presented, or one that cannot be a key.
    MalformedKey,
    /// Nobody has this key.
    UnknownKey,
    /// The key or its team has expired.
    ExpiredKey,
    /// The key may not use this model.
    ModelNotAllowed(String),
    /// A USD budget holds, and nobody knows what this model costs.
    ModelUnpriced(String),
    /// The path is of no known dialect and the caller's spending is limited.
    UnmeteredPath,
    /// The request cannot be read.
    BadRequest(String),
    /// One of our own headers cannot be read.
    BadHeader(String),
    /// The body is larger than it may be.
    BodyTooLarge(BodyLimit),
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body's encoding cannot be read, and the request would have to be changed.
    UnsupportedEncoding,
    /// A budget is spent.
    Budget(Box<budget::Refusal>),
    /// A rate limit holds.
    RateLimit(LimitHit),
    /// Too many requests at work.
    Overloaded,
    /// Too many bytes of request bodies in memory.
    MemoryFull,
    /// Too many bytes of uploads on the disk.
    UploadsFull,
    /// An upload that has to wait on the disk cannot be written there.
    UploadNotStored,
    /// The process is stopping.
    ShuttingDown,
    /// The journal cannot be written: nothing may be spent that could not be recorded.
    LedgerUnavailable,
    /// No upstream serves this request.
    NoUpstream,
    /// No upstream could be reached, or none answered.
    Unreachable(SendFault),
}

/// A bound on a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit {
    /// Bytes.
    pub most: u64,
    /// The setting that says so.
    pub setting: &'static str,
}

/// What a refusal looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Face {
    /// Status line.
    pub status: StatusCode,
    /// Stable code, also the metric's and the ledger's word.
    pub code: &'static str,
    /// `OpenAI`'s `type`.
    pub kind: &'static str,
    /// `tollgate.rejection.reason`.
    pub reason: Rejection,
    /// How the exchange ends.
    pub outcome: Outcome,
}

impl Refusal {
    /// The row of the table.
    #[must_use]
    pub fn face(&self) -> Face {
        use Rejection as R;
        use StatusCode as S;
        let (status, code, kind, reason) = match self {
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed", BAD, R::InvalidRequest),
            Self::AmbiguousFraming(_) => (S::BAD_REQUEST, "ambiguous_framing", BAD, R::InvalidRequest),
            Self::MissingKey => (S::UNAUTHORIZED, "missing_api_key", BAD, R::AuthFailed),
            Self::MalformedKey => (S::UNAUTHORIZED, "malformed_api_key", BAD, R::AuthFailed),
            Self::UnknownKey => (S::UNAUTHORIZED, "invalid_api_key", BAD, R::AuthFailed),
            Self::ExpiredKey => (S::UNAUTHORIZED, "expired_api_key", BAD, R::AuthFailed),
            Self::ModelNotAllowed(_) => (S::FORBIDDEN, "model_not_allowed", DENIED, R::ForbiddenModel),
            Self::ModelUnpriced(_) => (S::FORBIDDEN, "model_unpriced", DENIED, R::ForbiddenModel),
            Self::UnmeteredPath => (S::FORBIDDEN, "unmetered_path", DENIED, R::InvalidRequest),
            Self::BadRequest(_) => (S::BAD_REQUEST, "invalid_body", BAD, R::InvalidRequest),
            Self::BadHeader(_) => (S::BAD_REQUEST, "invalid_header", BAD, R::InvalidRequest),
            Self::BodyTooLarge(_) => (S::PAYLOAD_TOO_LARGE, "request_too_large", BAD, R::RequestTooLarge),
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, "body_timeout", BAD, R::InvalidRequest),
            Self::UnsupportedEncoding => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", BAD, R::InvalidRequest)
            }
            Self::Budget(_) => (S::PAYMENT_REQUIRED, QUOTA, QUOTA, R::BudgetExceeded),
            Self::RateLimit(_) => (S::TOO_MANY_REQUESTS, "rate_limit_exceeded", LIMITED, R::RateLimited),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded", OURS, R::Overloaded),
            Self::MemoryFull => (S::SERVICE_UNAVAILABLE, "memory_full", OURS, R::Overloaded),
            Self::UploadsFull => (S::SERVICE_UNAVAILABLE, "uploads_full", OURS, R::Overloaded),
            Self::UploadNotStored => (S::INSUFFICIENT_STORAGE, "upload_not_stored", OURS, R::Overloaded),
            Self::ShuttingDown => (S::SERVICE_UNAVAILABLE, "shutting_down", OURS, R::ShuttingDown),
            Self::LedgerUnavailable => (S::SERVICE_UNAVAILABLE, "ledger_unavailable", OURS, R::Overloaded),
            Self::NoUpstream => (S::NOT_FOUND, "no_upstream", BAD, R::ModelNotFound),
            Self::Unreachable(fault) if fault.is_timeout() => {
                (S::GATEWAY_TIMEOUT, "upstream_timeout", OURS, R::NoHealthyUpstream)
            }
            Self::Unreachable(_) => (S::BAD_GATEWAY, "upstream_unreachable", OURS, R::NoHealthyUpstream),
        };
        let outcome = match self {
            Self::Unreachable(_) => Outcome::UpstreamUnreachable,
            _ => Outcome::Refused,
        };
        Face { status, code, kind, reason, outcome }
    }

    /// What the client is told: the value at fault and the setting that mends it.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::MethodNotAllowed => "this method is not forwarded (`OPTIONS *` neither)".into(),
            Self::AmbiguousFraming(what) => format!("the request's head is ambiguous: {what}"),
            Self::MissingKey => {
                "no API key was sent: use `Authorization: Bearer KEY`, `x-api-key` or `api-key`".into()
            }
            // clients in the field tell a 401 by OpenAI's own words (LiteLLM makes a 400 of it without them)
            Self::MalformedKey => {
                "Incorrect API key provided: it is malformed, or two different keys were sent".into()
            }
            Self::UnknownKey => "Incorrect API key provided: it is not known here".into(),
            Self::ExpiredKey => {
                "Incorrect API key provided: it has expired (`expires` of its key or team)".into()
            }
            Self::ModelNotAllowed(model) => {
                format!("this key may not use the model `{}` (`models` of its key or team)", shown(model))
            }
            Self::ModelUnpriced(model) => format!(
                "nobody has told what the model `{}` costs, or a tool that the request lets it use, and a USD \
                 budget holds: add it to `prices`, or set `unpriced: allow` on the budget",
                shown(model)
            ),
            Self::UnmeteredPath => {
                "this path cannot be metered and the key has a budget (`unmetered: refuse`)".into()
            }
            Self::BadRequest(message) => format!("the request body cannot be read: {message}"),
            Self::BadHeader(message) => format!("a header of the request cannot be read: {message}"),
            Self::BodyTooLarge(BodyLimit { most, setting }) => {
                format!("the request body is larger than {most} bytes (`{setting}`)")
            }
            Self::BodyTimeout => "the request body did not arrive in time (`server.body_timeout`)".into(),
            Self::UnsupportedEncoding => {
                "the request body's content-encoding cannot be read here; send it unencoded".into()
            }
            Self::Budget(refusal) => refusal.to_string(),
            Self::RateLimit(hit) => hit.to_string(),
            Self::Overloaded => "too many requests at once (`server.max_requests`); try again".into(),
            Self::MemoryFull => {
                "too many request bodies in memory at once (`server.max_body_total`); try again".into()
            }
            Self::UploadsFull => {
                "too many uploads on the disk at once (`server.max_upload_total`); try again".into()
            }
            Self::UploadNotStored => {
                "the upload could not be kept on the gateway's disk (`data_dir`); naming `model` before the file \
                 lets it pass without"
                    .into()
            }
            Self::ShuttingDown => "this gateway is stopping; try again".into(),
            Self::LedgerUnavailable => {
                "the journal cannot be written, so nothing may be spent; see the gateway's log".into()
            }
            Self::NoUpstream => "no upstream is configured for this request (`upstreams`, `routes`)".into(),
            Self::Unreachable(fault) => format!("no upstream answered: {fault}"),
        }
    }

    /// When trying again can help, and how long to wait. Always below 60 s: some SDKs sleep as told.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimit(hit) => hit.satisfiable.then_some(hit.retry_after),
            Self::Overloaded
            | Self::MemoryFull
            | Self::UploadsFull
            | Self::ShuttingDown
            | Self::LedgerUnavailable => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Whether the same request can never pass as things are: SDKs must not try again.
    fn is_final(&self) -> bool {
        match self {
            Self::Budget(_) => true,
            Self::RateLimit(hit) => !hit.satisfiable,
            _ => false,
        }
    }

    /// The event that ends a stream which was cut.
    #[must_use]
    pub fn frame(&self, operation: Operation, id: RequestId) -> Bytes {
        let face = self.face();
        let (message, id) = (self.message(), id.to_string());
        let error = ErrorShape {
            message: &message,
            kind: face.kind,
            code: face.code,
            request_id: &id,
            fields: self.fields(),
        };
        Bytes::from(shape::frame(operation, &error))
    }

    /// The event that tells a socket's client.
    #[must_use]
    pub fn socket_event(&self, id: RequestId, about: shape::About<'_>) -> Vec<u8> {
        let face = self.face();
        let (message, id, fields) = (self.message(), id.to_string(), self.fields());
        let error =
            ErrorShape { message: &message, kind: face.kind, code: face.code, request_id: &id, fields };
        shape::socket_event(face.status.as_u16(), about, &error)
    }

    fn fields(&self) -> Vec<(&'static str, Value)> {
        if let Self::Budget(refusal) = self { budget_fields(refusal) } else { Vec::new() }
    }

    /// The answer: status, headers, body. The caller adds the request id's header.
    #[must_use]
    pub fn answer(&self, dialect: Dialect, id: RequestId) -> (StatusCode, HeaderMap, Bytes) {
        let face = self.face();
        let (message, id) = (self.message(), id.to_string());
        let fields = self.fields();
        let body = shape::body(
            dialect,
            &ErrorShape { message: &message, kind: face.kind, code: face.code, request_id: &id, fields },
        );
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-tollgate-error-source", HeaderValue::from_static("gateway"));
        if let Some(wait) = self.retry_after() {
            let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs.clamp(1, 59)));
        }
        if self.is_final() {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        match self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
            }
            // what else came on this connection may be part of this request (RFC 9112, 6.1)
            Self::AmbiguousFraming(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        (face.status, headers, Bytes::from(body))
    }
}

const BAD: &str = "invalid_request_error";
const DENIED: &str = "permission_error";
const LIMITED: &str = "rate_limit_error";
const OURS: &str = "server_error";
const QUOTA: &str = "insufficient_quota";

const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The one header that stops every official SDK after one attempt (WIRE 2.1).
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The budget's numbers as members of the error: USD as decimal text, so that no float rounds them.
fn budget_fields(refusal: &budget::Refusal) -> Vec<(&'static str, Value)> {
    let amount = |amount: budget::Amount| match amount.as_usd() {
        Some(usd) => Value::from(usd.to_usd_string()),
        None => Value::from(amount.count),
    };
    let resets_at = refusal.resets_at.and_then(|at| jiff::Timestamp::from_second(at.as_secs()).ok());
    vec![
        ("scope", Value::from(refusal.scope.as_str())),
        ("budget", Value::from(refusal.budget.as_str())),
        ("unit", Value::from(refusal.unit.as_str())),
        ("spent", amount(refusal.spent)),
        ("reserved", amount(refusal.reserved)),
        ("limit", amount(refusal.limit)),
        ("resets_at", resets_at.map_or(Value::Null, |at| Value::from(at.to_string()))),
    ]
}

/// Caller's text in an error: at most 64 characters, escaped (FAULTS 4.18).
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
