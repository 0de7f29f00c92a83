//! Brings rows into the sums that starts read: slice by slice, when the writer has nothing else to do.

use std::time::Duration;

use crate::store::ledger::LedgerStore;

/// How many rows may be in no sum.
#[derive(Debug)]
pub(super) struct Summing {
    /// Rows saved since it was last known that few are.
    rows: u64,
}

impl Summing {
    pub(super) const fn new() -> Self {
        // an earlier process may have left any number
        Self { rows: u64::MAX }
    }

    /// Notes that so many rows were saved.
    pub(super) const fn note(&mut self, rows: u64) {
        self.rows = self.rows.saturating_add(rows);
    }

    /// Sums up a slice, if there are that many rows. Returns when to look again.
    pub(super) fn sum_slice(&mut self, store: &mut dyn LedgerStore) -> Duration {
        if self.rows < u64::from(SLICE) {
            return NOTHING_TO_DO;
        }
        match store.sum_up(SLICE, SLICE) {
            Ok(rows) if rows == u64::from(SLICE) => BETWEEN_SLICES,
            Ok(_) => {
                self.rows = 0;
                NOTHING_TO_DO
            }
            Err(fault) => {
                tracing::warn!(error = %fault, "rows of the ledger are not summed up for now");
                AFTER_FAULT
            }
        }
    }
}

/// A few milliseconds of work, and what a start reads one by one.
const SLICE: u32 = 8_192;
/// Requests come first; a ledger of ten million rows from before there were sums takes two minutes.
const BETWEEN_SLICES: Duration = Duration::from_millis(100);
/// What is rung ends the writer's wait; this is only a bound.
const NOTHING_TO_DO: Duration = Duration::from_hours(1);
const AFTER_FAULT: Duration = Duration::from_secs(5);
