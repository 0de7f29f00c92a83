//! The settled record of one request: a line in the journal, a row in the ledger. Values only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::id::RequestId;
use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::dialect::grounds::Grounds;

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
    /// A budget ended the stream: its next slice did not fit.
    Cut,
}

impl Outcome {
    /// Every outcome, for tables of metrics and tests.
    pub const ALL: [Self; 9] = [
        Self::Completed,
        Self::Refused,
        Self::UpstreamError,
        Self::UpstreamUnreachable,
        Self::Truncated,
        Self::Cancelled,
        Self::Interrupted,
        Self::Failed,
        Self::Cut,
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
            Self::Cut => "cut",
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

/// What became of the upstream's answer when the client left before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disconnect {
    /// The client stayed, or was not there for an answer.
    #[default]
    None,
    /// The upstream was cancelled; usage is what was relayed.
    Cancelled,
    /// The answer was read to its end without the client; usage is exact.
    Drained,
    /// Reading on was given up at its bound of time, number or cost.
    DrainedInPart,
}

impl Disconnect {
    /// Every case, for tests.
    pub const ALL: [Self; 4] = [Self::None, Self::Cancelled, Self::Drained, Self::DrainedInPart];

    /// The word in the ledger; empty when the client stayed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Cancelled => "cancelled",
            Self::Drained => "drained",
            Self::DrainedInPart => "drained_in_part",
        }
    }

    /// The case that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|disconnect| disconnect.as_str() == word)
    }
}

/// When the usage of an answer is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Billing {
    /// With the answer.
    #[default]
    AtOnce,
    /// Later: the answer only said that the work has begun.
    Deferred,
    /// The bill of what an earlier request, its parent, had deferred.
    Late,
}

impl Billing {
    /// Every case, for tests.
    pub const ALL: [Self; 3] = [Self::AtOnce, Self::Deferred, Self::Late];

    /// The word in the ledger; empty when it was billed with the answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtOnce => "",
            Self::Deferred => "deferred",
            Self::Late => "late",
        }
    }

    /// The case that `word` names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|billing| billing.as_str() == word)
    }
}

/// Everything about one finished request that outlives it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Our own id; the row's key.
    pub id: u128,
    /// The request that this one is a part of, such as the socket of a response; 0 if it stands for itself.
    pub parent: u128,
    /// When it began: nanoseconds since the Unix epoch.
    pub started_at: i64,
    /// The instant at which budgets charge it: nanoseconds since the Unix epoch; 0 if it was never admitted.
    pub admitted_at: i64,
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
    /// What became of the answer when the client left.
    pub disconnect: Disconnect,
    /// The attempts as JSON, `[{"upstream":..,"model":..,"status":..,"error":..}]`; empty unless there was
    /// more than one.
    pub attempt_log: String,

    /// Counts of the answer.
    pub usage: Usage,
    /// Where the counts came from.
    pub usage_source: UsageSource,
    /// Which rules an estimate rests on (docs/ESTIMATES.md); empty unless something was estimated.
    pub estimate: String,
    /// How far off such an estimate may be, in percent.
    pub estimate_error_percent: u32,
    /// Counts of further models of the same answer, as JSON: `[{"model":..,"usage":{..}}]`; empty without any.
    pub extra_usage: String,
    /// When its usage is billed.
    pub billing: Billing,
    /// The upstream's id of the answer, where its bill depends on it; else empty.
    pub answer_id: String,
    /// Service tier as billed: the answer's own word; empty if it names none.
    pub service_tier: String,
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
    /// Which entry of the catalogue priced it: `provider/model`; empty when unpriced.
    pub price_name: String,
    /// Where that price came from; empty when unpriced.
    pub price_source: String,

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

    /// Takes note of what its estimate rests on.
    pub fn note_grounds(&mut self, grounds: Grounds) {
        self.estimate = grounds.words();
        self.estimate_error_percent = grounds.error_percent();
    }

    /// Whether it says something of a bill that came late, or is to come: it defers one, is one, or tells which
    /// file has the answers of a batch.
    #[must_use]
    pub fn is_of_late_bill(&self) -> bool {
        self.billing != Billing::AtOnce
            || (self.parent != 0 && self.operation == "stored" && !self.answer_id.is_empty())
    }

    /// When a record was admitted that was written before records said so: as it began, unless it was
    /// refused before an upstream was asked.
    #[must_use]
    pub fn admitted_by_older_rules(&self) -> i64 {
        if self.outcome == Outcome::Refused && self.attempts == 0 { 0 } else { self.started_at }
    }
}

/// What is known before the upstream is asked: enough to charge a request whose end nobody saw.
/// The journal's record of intent.
pub type Intent = Record;
