//! The `ledger:` section of the config: values and defaults only.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::{Size, Span};

/// How records survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSection {
    /// What a record must survive before the request goes on.
    pub durability: Durability,
    /// Journal files are begun anew at this size.
    pub segment_size: Size,
    /// Room on the disk that is held back for the records of requests at work, for the day it is full. `0`:
    /// none.
    pub reserve: Size,
    /// What happens to new requests when the disk takes no records.
    pub when_full: WhenFull,
    /// How long rows are kept; older ones are deleted, and only what they spent stays, as sums. At least 32d.
    /// Default: for ever.
    pub keep: Option<Span>,
    /// How long a background response may stay unfetched before it is billed at its reservation, which is held
    /// until then. At most 30d.
    pub deferred_for: Span,
}

impl Default for LedgerSection {
    fn default() -> Self {
        Self {
            durability: Durability::Process,
            // about 60,000 requests: a few seconds to read again, and few files
            segment_size: Size(64 << 20),
            // the outcomes of 10,000 requests at work, and as much again for the ledger
            reserve: Size(16 << 20),
            when_full: WhenFull::Strict,
            // what nobody asked to delete is not deleted
            keep: None,
            // whoever waits for an answer asks within minutes; upstreams give batches a day
            deferred_for: Span(Duration::from_hours(24)),
        }
    }
}

/// What happens to new requests when the disk takes no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// They are refused with 503 `ledger_unavailable`: what cannot be recorded is not spent.
    #[default]
    Strict,
    /// They are served as long as there is room in memory for their records; the end of the process loses
    /// those.
    BestEffort,
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
