//! What signals are told about a finished request: the ledger's record and what the ledger does not keep.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::store::record::{CacheResult, Outcome, Record};
use crate::telemetry::trace::TraceContext;
use crate::telemetry::words::{AttemptOutcome, AttemptReason, Rejection};

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Finished<'a> {
    /// What the ledger keeps.
    pub record: &'a Record,
    /// The request as HTTP has it.
    pub http: HttpFacts<'a>,
    /// Wire format of the operation, e.g. `openai.chat_completions`.
    pub api_format: &'static str,
    /// `gen_ai.operation.name`, e.g. `chat`.
    pub gen_ai_operation: &'static str,
    /// Whether the config or the price catalogue knows the models asked for and sent; else they are no labels.
    pub model_known: bool,
    /// Whether the price catalogue knows the model that the answer names.
    pub response_model_known: bool,
    /// The trace of the request.
    pub trace: &'a TraceContext,
    /// The request's own span.
    pub span_id: u64,
    /// Upstream attempts in their order; the last one gave the answer, if there is one.
    pub attempts: &'a [Attempt],
    /// Why Tollgate answered 4xx or 5xx itself.
    pub rejection: Option<Rejection>,
    /// What the budgets said.
    pub budget: Option<BudgetVerdict<'a>>,
    /// The rate limit that refused it: type (`requests`, `tokens`, `concurrency`) and scope (`team`, `key`).
    pub limit_hit: Option<(&'static str, &'static str)>,
    /// What the request asked for.
    pub asked: &'a Asked,
    /// What the answer said of itself.
    pub answered: &'a Answered,
    /// Tokens of an answer from the cache: what asking again would have used.
    pub saved_tokens: u64,
}

/// The request as HTTP has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpFacts<'a> {
    /// Method as sent.
    pub method: &'a str,
    /// Route template, e.g. `/v1/chat/completions`; never the raw path.
    pub route: &'static str,
    /// Path without query.
    pub path: &'a str,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `1.1` or `2`.
    pub protocol_version: &'static str,
    /// Host the client addressed.
    pub server_address: Option<&'a str>,
    /// Port the client addressed.
    pub server_port: Option<u16>,
    /// The client's address.
    pub client_address: Option<&'a str>,
    /// `user-agent`.
    pub user_agent: Option<&'a str>,
}

/// One request to one upstream.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Why it was made.
    pub reason: AttemptReason,
    /// Name of the upstream in the config.
    pub upstream: String,
    /// `gen_ai.provider.name`.
    pub provider: String,
    /// The upstream's host.
    pub host: String,
    /// The upstream's port.
    pub port: u16,
    /// Model in the request as sent.
    pub model_sent: String,
    /// The attempt's span: the parent id that the upstream got.
    pub span_id: u64,
    /// Before connecting.
    pub started: Timestamp,
    /// Last byte, error or cancel.
    pub ended: Timestamp,
    /// From asking to the first byte of the answer's body, microseconds.
    pub first_byte_us: Option<u64>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// `error.type`, from a closed set (`telemetry::words::provider_error` or a transport fault's name).
    pub error_type: Option<String>,
    /// How it ended.
    pub outcome: AttemptOutcome,
}

/// What the budgets said to a request: the verdict of the tightest one.
#[derive(Debug, Clone, Copy)]
pub struct BudgetVerdict<'a> {
    /// Its id, e.g. `team:search/month`.
    pub id: &'a str,
    /// `team` or `key`.
    pub scope: &'static str,
    /// `allow`, `warn` or `deny`.
    pub decision: &'static str,
    /// What is left of it, 0 to 1.
    pub remaining_ratio: f64,
    /// What is left of it in USD; `None` for a token budget.
    pub left: Option<NanoUsd>,
}

/// What the request asked for, as far as its dialect could tell.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Cap on output tokens.
    pub max_tokens: Option<u64>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Frequency penalty.
    pub frequency_penalty: Option<f64>,
    /// Presence penalty.
    pub presence_penalty: Option<f64>,
    /// Seed.
    pub seed: Option<i64>,
    /// Choices asked for.
    pub choice_count: Option<u64>,
    /// Service tier asked for.
    pub service_tier: Option<String>,
}

/// What the answer said of itself, as far as its dialect could tell.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    /// The upstream's id of the answer.
    pub id: Option<String>,
    /// One per choice.
    pub finish_reasons: Vec<String>,
    /// Service tier that answered.
    pub service_tier: Option<String>,
    /// Fingerprint of the serving system.
    pub system_fingerprint: Option<String>,
    /// What of it could not be read.
    pub faults: AnswerFaults,
}

/// How often something in an answer could not be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnswerFaults {
    /// Events or bodies that are not what their dialect says.
    pub malformed: u64,
    /// Usage that is no count.
    pub usage_invalid: u64,
    /// An unknown or broken coding.
    pub undecodable: u64,
    /// Events or bodies that were too long to keep.
    pub clipped: u64,
}

impl Finished<'_> {
    /// `error.type` of the request: only what ended as an error for the caller (TELEMETRY 1.2). A 4xx is
    /// none, and neither is what was retried and recovered.
    #[must_use]
    pub fn error_type(&self) -> Option<&'static str> {
        let record = self.record;
        if record.status >= 500 {
            return Some(status_text(record.status));
        }
        let broken_off = record.status < 400;
        match record.outcome {
            Outcome::Completed | Outcome::Refused | Outcome::Interrupted => None,
            Outcome::Cancelled => Some("client_disconnect"),
            Outcome::Truncated if record.error.contains("timeout") => Some("upstream_idle_timeout"),
            Outcome::Truncated => Some("upstream_stream_interrupted"),
            Outcome::UpstreamError if broken_off => Some("upstream_stream_interrupted"),
            Outcome::UpstreamError | Outcome::UpstreamUnreachable => None,
            Outcome::Failed => Some("internal_error"),
            Outcome::Cut => Some("insufficient_quota"),
        }
    }

    /// Whether something went wrong here or upstream: such traces are always kept.
    #[must_use]
    pub fn went_wrong(&self) -> bool {
        self.error_type().is_some() || self.attempts.iter().any(|attempt| attempt.error_type.is_some())
    }

    /// The attempt that gave the answer; none for a hit.
    #[must_use]
    pub fn answering(&self) -> Option<&Attempt> {
        let from_cache = matches!(self.record.cache, CacheResult::Hit | CacheResult::Coalesced);
        self.attempts.last().filter(|_| !from_cache)
    }

    /// Whether `attempt` gave the answer.
    #[must_use]
    pub fn is_answering(&self, attempt: &Attempt) -> bool {
        self.answering().is_some_and(|answering| answering.number == attempt.number)
    }

    /// When the request ended.
    #[must_use]
    pub fn ended(&self) -> Timestamp {
        self.started().plus(Duration::from_micros(self.record.duration_us))
    }

    /// When the request began.
    #[must_use]
    pub const fn started(&self) -> Timestamp {
        Timestamp::from_nanos(self.record.started_at)
    }
}

/// The status codes that gateways and upstreams send, as text without an allocation.
const fn status_text(status: u16) -> &'static str {
    match status {
        500 => "500",
        501 => "501",
        502 => "502",
        503 => "503",
        504 => "504",
        529 => "529",
        _ => crate::telemetry::names::OTHER,
    }
}
