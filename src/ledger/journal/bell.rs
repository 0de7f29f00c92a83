//! How closing a request wakes the writer: for nothing while the writer is at work or will look again soon,
//! patient for the one who waits.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many closed requests do not wait for others.
const FULL: u32 = 4_096;

/// Longest that a row waits for others. Waking the writer and a transaction of its own cost some twenty times
/// what a row costs.
const GATHERING: Duration = Duration::from_millis(250);

/// Rung per closed request; wakes the writer when it had nothing to do, and when there is much.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Bell {
    rung: AtomicU32,
    /// The writer had no work for a while: the next ring wakes it. At all other times it looks by itself.
    is_asleep: AtomicBool,
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
        let is_full = before < FULL && before.saturating_add(count) >= FULL;
        if is_full || self.is_asleep.load(Ordering::SeqCst) {
            // with the lock held, so that it cannot fall between the writer's look and its sleep
            let _wishes = self.wishes();
            self.is_asleep.store(false, Ordering::SeqCst);
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

    /// Waits a little for work to gather. If there is none, waits on until there is some, or for `at_most` in
    /// all, and then a little for more. Returns whether to stop after it.
    pub(in crate::ledger) fn wait(&self, at_most: Duration) -> bool {
        let rung = || self.rung.load(Ordering::SeqCst);
        let mut wishes = self.sleep(self.wishes(), at_most.min(GATHERING), || rung() >= FULL);
        let longer = at_most.saturating_sub(GATHERING);
        if !wishes.any() && rung() == 0 && !longer.is_zero() {
            self.is_asleep.store(true, Ordering::SeqCst);
            wishes = self.sleep(wishes, longer, || rung() > 0);
            self.is_asleep.store(false, Ordering::SeqCst);
            if rung() > 0 {
                wishes = self.sleep(wishes, GATHERING, || rung() >= FULL);
            }
        }
        wishes.hurry = false;
        self.rung.store(0, Ordering::SeqCst);
        wishes.stop
    }

    /// Waits for `at_most`, or until asked to stop or hurry; there is work after it. Returns whether to stop.
    pub(in crate::ledger) fn pause(&self, at_most: Duration) -> bool {
        let mut wishes = self.sleep(self.wishes(), at_most, || false);
        // granted: what fails again would else be tried without a pause
        wishes.hurry = false;
        wishes.stop
    }

    /// Sleeps for `at_most`, or until `is_enough`, or until asked to stop or hurry.
    fn sleep<'b>(
        &'b self,
        wishes: MutexGuard<'b, Wishes>,
        at_most: Duration,
        is_enough: impl Fn() -> bool,
    ) -> MutexGuard<'b, Wishes> {
        self.changed
            .wait_timeout_while(wishes, at_most, |wishes| !wishes.any() && !is_enough())
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wishes {
    const fn any(self) -> bool {
        self.hurry || self.stop
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// Longer than any test runs: who waits it out waits in vain.
    const EVER: Duration = Duration::from_secs(600);

    #[test]
    fn who_hurries_does_so_once() {
        let bell = Bell::default();
        bell.hurry();
        assert!(!bell.pause(EVER));
        assert!(!bell.wishes().any(), "the next pause is one");
        bell.hurry();
        bell.ring(1);
        assert!(!bell.wait(EVER) && !bell.wishes().any());
        bell.stop();
        assert!(bell.pause(EVER) && bell.wait(EVER), "a stop stays");
    }

    #[test]
    fn no_ring_is_lost_whenever_it_comes() {
        const ROUNDS: u32 = 300;
        let bell = Arc::<Bell>::default();
        let heard = Arc::<AtomicU32>::default();
        let writer = {
            let (bell, heard) = (Arc::clone(&bell), Arc::clone(&heard));
            thread::spawn(move || {
                while !bell.wait(EVER) {
                    heard.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        for round in 0..ROUNDS {
            // at some moment of the writer's: on its way into its sleep, too
            if round % 100 == 0 {
                while !bell.is_asleep.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            }
            let before = heard.load(Ordering::SeqCst);
            bell.ring(FULL);
            while heard.load(Ordering::SeqCst) == before {
                thread::yield_now();
            }
        }
        bell.stop();
        writer.join().unwrap();
    }
}
