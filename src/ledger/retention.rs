//! Lets go of rows that are older than the config wants them kept: slice by slice, when the writer has
//! nothing else to do, so that it is never held up for long.

use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::store::ledger::{LedgerStore, StoreFault};

/// How long rows are kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Rows of requests that began longer ago are retired.
    pub keep: Duration,
    /// Tells how long ago that is.
    pub clock: Clock,
}

impl Retention {
    /// Retires one slice. Returns how many rows it was, and when to look again.
    ///
    /// # Errors
    /// When the store cannot be written; nothing was retired.
    pub(super) fn retire_slice(&self, store: &mut dyn LedgerStore) -> Result<(u64, Duration), StoreFault> {
        let keep = i64::try_from(self.keep.as_nanos()).unwrap_or(i64::MAX);
        let before = Timestamp::from_nanos(self.clock.now().as_nanos().saturating_sub(keep));
        let retired = store.retire(before, SLICE)?;
        let is_full = retired == u64::from(SLICE);
        Ok((retired, if is_full { BETWEEN_SLICES } else { BETWEEN_LOOKS }))
    }
}

/// A few milliseconds of work (docs/RELIABILITY.md has the measurement).
const SLICE: u32 = 1_000;
/// Requests come first, and a million rows go in two minutes.
const BETWEEN_SLICES: Duration = Duration::from_millis(100);
/// Rows become too old all the time; nobody minds that they stay a little longer.
const BETWEEN_LOOKS: Duration = Duration::from_mins(10);
