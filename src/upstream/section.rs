//! The `upstreams:` section of the config: values and defaults only.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::limits::LimitsSection;
use crate::base::secret::{REFERRING_FORMAT, Secret};
use crate::base::units::{Span, Usd};

/// One endpoint that answers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSection {
    /// The base URL an SDK would be given, with any path prefix, e.g. `https://api.openai.com/v1`.
    pub base_url: String,
    /// What speaks there. Default: `anthropic` for hosts of anthropic.com, `azure` for hosts of
    /// azure.com, else `openai`.
    #[serde(default)]
    pub kind: Option<UpstreamKind>,
    /// The credential Tollgate presents: `${ENV}` or `file:PATH`. Without one, none is sent.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// How the credential is presented. Default: by kind.
    #[serde(default)]
    pub auth: Option<AuthStyle>,
    /// Azure only: the `api-version` for paths that carry none.
    #[serde(default)]
    pub api_version: Option<String>,
    /// Headers added to every request, replacing the client's of the same name. Values may be `${ENV}`.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = { "type": "string", "format": REFERRING_FORMAT }))]
    pub headers: IndexMap<String, String>,
    /// Whether to ask for usage on streams whose client did not.
    #[serde(default)]
    pub stream_usage: StreamUsage,
    /// What becomes of an answer whose client has left.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
    /// Limit on connecting, TLS included.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// Limit from the end of the request to the first byte of the answer.
    #[serde(default = "first_byte_timeout")]
    pub first_byte_timeout: Span,
    /// Limit on silence in the middle of an answer.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Span,
    /// Limits on what is sent there, by all callers together. A request whose upstream is full goes to the next
    /// of its route.
    #[serde(default)]
    pub limits: Option<LimitsSection>,
    /// Whether W3C trace context goes to this upstream. Default: yes for private hosts, no for public ones.
    #[serde(default)]
    pub propagate_trace: Option<bool>,
}

/// What an upstream speaks and how its paths are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamKind {
    /// `OpenAI` and everything compatible with it.
    Openai,
    /// Azure `OpenAI`: `/openai/deployments/{deployment}/...` or `/openai/v1/...`.
    Azure,
    /// Anthropic messages.
    Anthropic,
}

/// How a credential is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthStyle {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// `x-api-key: KEY`
    XApiKey,
    /// `api-key: KEY`
    ApiKey,
}

/// What to do about stream usage that the client did not ask for (DESIGN, decision 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamUsage {
    /// Ask for it and take the effects out of the answer again.
    #[default]
    Ask,
    /// Leave the request alone; count with the tokenizer.
    AsIs,
}

/// What becomes of an answer whose client has left (DESIGN, decision 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// The upstream is cancelled at once; what was relayed is counted here. The cheapest, so the default.
    #[default]
    Cancel,
    /// It is read to its end, for the upstream's own count: at most 1,000 at once, 60 s each.
    Drain,
    /// The same, until its visible output has cost this much USD.
    DrainUpTo(Usd),
}

/// 5 s: what the official Python SDK allows; a healthy TLS handshake takes a tenth of it.
fn connect_timeout() -> Span {
    Span(std::time::Duration::from_secs(5))
}

/// 600 s: the official SDKs wait that long for headers.
fn first_byte_timeout() -> Span {
    Span(std::time::Duration::from_secs(600))
}

/// 600 s: the official Python SDK's read timeout; keep-alive comments reset it.
fn idle_timeout() -> Span {
    Span(std::time::Duration::from_secs(600))
}
