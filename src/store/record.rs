//! The settled record of one request: a line in the journal, a row in the ledger. Values only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::id::RequestId;
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};

/// How a request ended. Exactly one per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered by an upstream or the cache, status below 400, to its end.
    Completed,
    /// Tollgate said no before any upstream was asked: identity, limits, budget, bad request.
    Refused,
    /// The upstream answered with a status of 400 or above, or an error inside a stream.
    UpstreamError,
    /// No upstream could be reached, or none answered in time.
    UpstreamUnreachable,
    /// The upstream broke off in the middle of its answer.
    Truncated,
    /// The client went away before the answer's end, or the request was dropped.
    #[default]
    Cancelled,
    /// The process died; charged at its reservation on the next start.
    Interrupted,
    /// A fault of our own.
    Failed,
}

impl Outcome {
    /// Every outcome, for tables of metrics and tests.
    pub const ALL: [Self; 8] = [
        Self::Completed,
        Self::Refused,
        Self::UpstreamError,
        Self::UpstreamUnreachable,
        Self::Truncated,
        Self::Cancelled,
        Self::Interrupted,
        Self::Failed,
    ];

    /// The word in the ledger, metrics and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::Truncated => "truncated",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// The outcome that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// What the cache did for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheResult {
    /// The cache is not switched on for this request.
    #[default]
    Off,
    /// Looked up and not there; may have been stored.
    Miss,
    /// Answered from the cache.
    Hit,
    /// Switched on, but this request cannot or would not use it.
    Bypass,
    /// Waited for an identical request in flight and shares its answer.
    Coalesced,
}

impl CacheResult {
    /// Every result, for tables of metrics and tests.
    pub const ALL: [Self; 5] = [Self::Off, Self::Miss, Self::Hit, Self::Bypass, Self::Coalesced];

    /// The word in headers, the ledger and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Miss => "miss",
            Self::Hit => "hit",
            Self::Bypass => "bypass",
            Self::Coalesced => "coalesced",
        }
    }

    /// The result that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.as_str() == word)
    }
}

/// Everything about one finished request that outlives it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Our own id; the row's key.
    pub id: u128,
    /// When it began: nanoseconds since the Unix epoch.
    pub started_at: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// The status sent to the client; 0 if none was.
    pub status: u16,
    /// Stable error code (docs/ERRORS.md); empty on success.
    pub error: String,

    /// Team of the caller; empty if unknown.
    pub team: String,
    /// Key name within the team; empty if unknown.
    pub key: String,
    /// End user as the client named them; a label, never an identity.
    pub user: String,
    /// Run as the client named it.
    pub run: String,
    /// Session as the client named it.
    pub session: String,
    /// Free labels of the request.
    pub tags: BTreeMap<String, String>,

    /// Dialect operation, e.g. `chat_completions`; `unmetered` for unknown paths.
    pub operation: String,
    /// Model the caller asked for.
    pub model: String,
    /// Model sent upstream, after aliases; empty if none was asked.
    pub upstream_model: String,
    /// Model the answer names.
    pub response_model: String,
    /// Upstream that answered; empty if none did.
    pub upstream: String,
    /// Upstream attempts made.
    pub attempts: u32,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// What the cache did.
    pub cache: CacheResult,

    /// Counts of the answer.
    pub usage: Usage,
    /// Where the counts came from.
    pub usage_source: UsageSource,
    /// What it cost; `None` when no price is known (never 0 for unknown).
    pub cost: Option<NanoUsd>,
    /// What it would have cost without the cache.
    pub saved: NanoUsd,
    /// What was reserved in the budgets before dispatch.
    pub reserved: NanoUsd,
    /// Tokens reserved before dispatch.
    pub reserved_tokens: u64,
    /// Catalogue version that priced it; empty when unpriced.
    pub catalogue: String,
    /// The rates used, as JSON: `{"input":2500000,...}` in pico-USD per unit; empty when unpriced.
    pub rates: String,

    /// From first byte in to last byte out, microseconds.
    pub duration_us: u64,
    /// To the first output byte of the answer; 0 if there was none.
    pub first_token_us: u64,
    /// Tollgate's own share before the upstream was asked, microseconds.
    pub overhead_us: u64,
    /// Body bytes sent to the client.
    pub response_bytes: u64,
    /// W3C trace id, 32 hex digits.
    pub trace_id: String,
}

impl Record {
    /// The id as the client saw it.
    #[must_use]
    pub const fn request_id(&self) -> RequestId {
        RequestId::from_u128(self.id)
    }
}

/// What is known before the upstream is asked: enough to charge a request whose end nobody saw.
/// The journal's record of intent.
pub type Intent = Record;
