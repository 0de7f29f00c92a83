//! The `routes:` section of the config: values and defaults only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::Span;

/// Which upstreams serve a model name. The first route whose pattern fits is taken; a model that no
/// route names goes to the first upstream of the path's dialect.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSection {
    /// Model names or patterns (`gpt-4o`, `gpt-4*`, `*-mini`).
    pub models: Vec<String>,
    /// Where they go.
    pub to: Vec<TargetSection>,
    /// How a target is chosen.
    #[serde(default)]
    pub pick: Pick,
    /// Switches the answer cache on for these models, for teams that have no rule of their own.
    #[serde(default)]
    pub cache: Option<RouteCache>,
}

/// The answer cache of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteCache {
    /// How long an answer may be served again.
    pub ttl: Span,
}

/// One place a route leads to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSection {
    /// Name of an upstream.
    pub upstream: String,
    /// The model name sent there instead of the caller's.
    #[serde(default)]
    pub model: Option<String>,
    /// Share of the traffic under `pick: weighted`.
    #[serde(default = "weight")]
    pub weight: u32,
}

/// How a route chooses among its targets. Either way the others are tried, in order, when one fails
/// before its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// The first that answers.
    #[default]
    Ordered,
    /// By chance, in proportion to the weights.
    Weighted,
}

fn weight() -> u32 {
    1
}
