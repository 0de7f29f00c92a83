//! Names of the headers that every request is asked for, or answered with. Made once: a name given as text is
//! looked up among all known names each time.

use http::HeaderName;

macro_rules! names {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) static $name: HeaderName = HeaderName::from_static($text);)*
    };
}

names! {
    ATTEMPTS = "x-tollgate-attempts";
    BAGGAGE = "baggage";
    BUDGET_REMAINING = "x-tollgate-budget-remaining-usd";
    BUDGET_WARNING = "x-tollgate-budget-warning";
    CACHE = "x-tollgate-cache";
    CF_METADATA = "cf-aig-metadata";
    CONTENT_LENGTH_OF_CGI = "content_length";
    COST = "x-tollgate-cost-usd";
    HELICONE_SESSION = "helicone-session-id";
    HELICONE_USER = "helicone-user-id";
    LIMIT_REQUESTS = "x-ratelimit-limit-requests";
    LIMIT_TOKENS = "x-ratelimit-limit-tokens";
    LITELLM_TAGS = "x-litellm-tags";
    REMAINING_REQUESTS = "x-ratelimit-remaining-requests";
    REMAINING_TOKENS = "x-ratelimit-remaining-tokens";
    REQUEST_ID = "x-tollgate-request-id";
    RESET_REQUESTS = "x-ratelimit-reset-requests";
    RESET_TOKENS = "x-ratelimit-reset-tokens";
    RUN = "x-tollgate-run";
    SERVER_TIMING = "server-timing";
    SESSION = "x-tollgate-session";
    TAGS = "x-tollgate-tags";
    TRACEPARENT = "traceparent";
    TRACESTATE = "tracestate";
    TRANSFER_ENCODING_OF_CGI = "transfer_encoding";
    UPSTREAM = "x-tollgate-upstream";
    USER = "x-tollgate-user";
}
