//! How closing a request wakes the writer: cheap for the many who ring, patient for the one who waits.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most rows per batch.
pub(in crate::ledger) const BATCH: u32 = 1_000;

/// Longest that a row waits for others.
const GATHERING: Duration = Duration::from_millis(50);

/// Rung per closed request; wakes the writer at the first one and when a batch is full.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Bell {
    rung: AtomicU32,
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

/// What others want of the writer.
#[derive(Debug, Clone, Copy, Default)]
struct Wishes {
    hurry: bool,
    stop: bool,
}

impl Bell {
    /// Says that `count` more requests were closed.
    pub(in crate::ledger) fn ring(&self, count: u32) {
        let before = self.rung.fetch_add(count, Ordering::SeqCst);
        if before == 0 || (before < BATCH && before.saturating_add(count) >= BATCH) {
            // with the lock held, so that it cannot fall between the writer's look and its sleep
            let _wishes = self.wishes();
            self.changed.notify_all();
        }
    }

    /// Asks the writer not to wait for more rows.
    pub(in crate::ledger) fn hurry(&self) {
        self.wishes().hurry = true;
        self.changed.notify_all();
    }

    /// Asks the writer to finish.
    pub(in crate::ledger) fn stop(&self) {
        self.wishes().stop = true;
        self.changed.notify_all();
    }

    /// Waits until there is work, or for `at_most`, and then a little for more. Returns whether to stop
    /// after it.
    pub(in crate::ledger) fn wait(&self, at_most: Duration) -> bool {
        let asleep =
            |wishes: &mut Wishes| !wishes.stop && !wishes.hurry && self.rung.load(Ordering::SeqCst) == 0;
        let gathering =
            |wishes: &mut Wishes| !wishes.stop && !wishes.hurry && self.rung.load(Ordering::SeqCst) < BATCH;
        let (wishes, _) = self
            .changed
            .wait_timeout_while(self.wishes(), at_most, asleep)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut wishes, _) = self
            .changed
            .wait_timeout_while(wishes, GATHERING, gathering)
            .unwrap_or_else(PoisonError::into_inner);
        wishes.hurry = false;
        self.rung.store(0, Ordering::SeqCst);
        wishes.stop
    }

    /// Waits for `at_most`, or until asked to stop or hurry; there is work after it. Returns whether to stop.
    pub(in crate::ledger) fn pause(&self, at_most: Duration) -> bool {
        let (wishes, _) = self
            .changed
            .wait_timeout_while(self.wishes(), at_most, |wishes| !wishes.stop && !wishes.hurry)
            .unwrap_or_else(PoisonError::into_inner);
        wishes.stop
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
