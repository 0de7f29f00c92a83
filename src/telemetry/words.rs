//! Closed sets of attribute values, and how open values are brought into them.

use std::borrow::Cow;

use super::names::OTHER;

/// Why Tollgate answered 4xx or 5xx itself; the value of `tollgate.rejection.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// No key, an unknown key, an expired key.
    AuthFailed,
    /// The key may not use the model.
    ForbiddenModel,
    /// A limit on requests, tokens or concurrency.
    RateLimited,
    /// A budget is spent.
    BudgetExceeded,
    /// The body is larger than allowed.
    RequestTooLarge,
    /// The request is not well-formed, or its path is not served.
    InvalidRequest,
    /// No route serves the model.
    ModelNotFound,
    /// No upstream of the route is fit to be asked, or none answered.
    NoHealthyUpstream,
    /// Too much at once.
    Overloaded,
    /// The process is going down.
    ShuttingDown,
}

impl Rejection {
    /// The attribute's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthFailed => "auth_failed",
            Self::ForbiddenModel => "forbidden_model",
            Self::RateLimited => "rate_limited",
            Self::BudgetExceeded => "budget_exceeded",
            Self::RequestTooLarge => "request_too_large",
            Self::InvalidRequest => "invalid_request",
            Self::ModelNotFound => "model_not_found",
            Self::NoHealthyUpstream => "no_healthy_upstream",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// Why an upstream attempt was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AttemptReason {
    /// The first.
    #[default]
    Initial,
    /// The same upstream once more.
    Retry,
    /// Another upstream.
    Failover,
}

impl AttemptReason {
    /// The attribute's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Retry => "retry",
            Self::Failover => "failover",
        }
    }
}

/// How an upstream attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AttemptOutcome {
    /// A 2xx answer to its end.
    Success,
    /// Any other status, or a fault on the way.
    Error,
    /// Given up by us or the caller.
    #[default]
    Cancelled,
}

impl AttemptOutcome {
    /// The attribute's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// `error.type` of an attempt that got an answer: the provider's own code if we know it, else the status.
#[must_use]
pub fn provider_error(code: Option<&str>, status: u16) -> Cow<'static, str> {
    let known = code.and_then(|code| PROVIDER_ERRORS.iter().find(|known| **known == code));
    known.map_or_else(|| Cow::Owned(status.to_string()), |known| Cow::Borrowed(*known))
}

/// The method if it is one of HTTP's, else `_OTHER`.
#[must_use]
pub fn http_method(method: &str) -> &'static str {
    METHODS.iter().find(|known| **known == method).copied().unwrap_or(OTHER)
}

/// Error codes of providers that may become `error.type`: each is documented by its provider.
const PROVIDER_ERRORS: [&str; 14] = [
    "rate_limit_exceeded",
    "insufficient_quota",
    "context_length_exceeded",
    "content_filter",
    "invalid_api_key",
    "model_not_found",
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "overloaded_error",
];

const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "QUERY"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_upstream_or_a_caller_invents_is_not_a_label() {
        assert_eq!(provider_error(Some("rate_limit_exceeded"), 429), "rate_limit_exceeded");
        assert_eq!(provider_error(Some("user-4711 is out of luck"), 429), "429");
        assert_eq!(provider_error(None, 503), "503");
        assert_eq!((http_method("POST"), http_method("post"), http_method("FNORD")), ("POST", OTHER, OTHER));
    }
}
