//! The `ledger:` section of the config: values and defaults only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::Size;

/// How records survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSection {
    /// What a record must survive before the request goes on.
    pub durability: Durability,
    /// Journal files are begun anew at this size.
    pub segment_size: Size,
}

impl Default for LedgerSection {
    fn default() -> Self {
        // 64 MiB is about 60,000 requests: a few seconds to read again, and few files
        Self { durability: Durability::Process, segment_size: Size(64 << 20) }
    }
}

/// What a record must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The end of the process (`kill -9`).
    #[default]
    Process,
    /// Loss of power: a group fsync that overlaps the upstream's time to first byte.
    Power,
}
