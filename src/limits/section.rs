//! A `limits:` entry of the config: values only.

use schemars::JsonSchema;
use serde::Deserialize;

/// Limits on how fast a team or key may ask. What is absent is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Requests per minute.
    #[serde(default)]
    pub requests_per_minute: Option<std::num::NonZeroU32>,
    /// Tokens per minute, input and output together.
    #[serde(default)]
    pub tokens_per_minute: Option<std::num::NonZeroU64>,
    /// Requests in flight at once.
    #[serde(default)]
    pub concurrent: Option<std::num::NonZeroU32>,
}
