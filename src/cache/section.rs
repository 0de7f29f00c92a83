//! The `cache:` entries of the config: values and defaults only.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::units::{Size, Span};

/// The store of answers, for the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSection {
    /// All answers together; the least used go first.
    pub max_size: Size,
    /// Answers larger than this are not stored.
    pub max_answer: Size,
    /// How long identical requests wait for the one in flight before they ask for themselves.
    pub coalesce_wait: Span,
}

impl Default for CacheSection {
    fn default() -> Self {
        Self {
            // 64 MiB holds tens of thousands of chat answers
            max_size: Size(64 << 20),
            max_answer: Size(1 << 20),
            coalesce_wait: Span(Duration::from_secs(60)),
        }
    }
}

/// Switches the cache on for a team or a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheRule {
    /// How long an answer may be served again.
    pub ttl: Span,
}
