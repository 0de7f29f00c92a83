//! The `limits:` entries of the config: values only.

use std::num::{NonZeroU32, NonZeroU64};

use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::base::limits::LimitsSection;

/// Limits on models, whoever asks. All that fit a request hold for it, besides those of team and key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelLimitSection {
    /// Names or patterns of the models, as callers name them. Default: all.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Who shares it.
    #[serde(default)]
    pub per: Per,
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

/// Who shares a limit on models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// All callers together.
    #[default]
    Everything,
    /// Each team has its own.
    Team,
    /// Each key has its own.
    Key,
}

impl ModelLimitSection {
    /// The limits alone.
    #[must_use]
    pub const fn limits(&self) -> LimitsSection {
        LimitsSection {
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            concurrent: self.concurrent,
        }
    }
}
