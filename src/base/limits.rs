//! Limits as the config states them: values only, spoken by every section that can have some.

use std::num::{NonZeroU32, NonZeroU64};

use schemars::JsonSchema;
use serde::Deserialize;

/// Limits on how fast requests may come. What is absent is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Requests per minute.
    #[serde(default)]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens per minute, input and output together.
    #[serde(default)]
    pub tokens_per_minute: Option<NonZeroU64>,
    /// Requests in flight at once.
    #[serde(default)]
    pub concurrent: Option<NonZeroU32>,
}
