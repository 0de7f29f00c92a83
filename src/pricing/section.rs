//! A `prices:` entry of the config: overrides of the shipped catalogue. Values only.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::units::UsdPerMillion;

/// Rates of one model, USD per million units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceSection {
    /// Input tokens.
    pub input: UsdPerMillion,
    /// Output tokens.
    pub output: UsdPerMillion,
    /// Input tokens read from the upstream's prompt cache. Default: as input.
    #[serde(default)]
    pub cached_input: Option<UsdPerMillion>,
    /// Input tokens written to the upstream's prompt cache. Default: as input.
    #[serde(default)]
    pub cache_write: Option<UsdPerMillion>,
    /// Input tokens written for the long lifetime. Default: as `cache_write`.
    #[serde(default)]
    pub cache_write_long: Option<UsdPerMillion>,
    /// Searches by the upstream's own tool: 10000 is 0.01 USD each. Default: unknown, which a budget in USD refuses.
    #[serde(default)]
    pub web_search: Option<UsdPerMillion>,
    /// The most output tokens one answer can have; what a request without a cap reserves.
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
}
