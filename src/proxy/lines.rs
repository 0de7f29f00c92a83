//! Requests that would fit if others gave back what they hold and do not use: they wait a little, in line,
//! instead of being refused while money is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// A line before each account that is wholly held; there are none at most times.
#[derive(Debug, Default)]
pub struct Lines {
    waiting: AtomicU32,
    lines: Mutex<HashMap<String, Arc<Line>>>,
}

#[derive(Debug, Default)]
struct Line {
    /// Whoever holds it is first; the lock is given in the order of arrival.
    first: tokio::sync::Mutex<()>,
    freed: Notify,
}

/// In all lines together: each holds a connection and a body, and later ones could not be served in time.
const MOST_WAITING: u32 = 4_096;

/// What came of trying again.
pub(super) enum Tried<T, E> {
    Done(T),
    /// Waiting may still help.
    NotYet(E),
    /// Waiting cannot help.
    Never(E),
}

impl Lines {
    /// Tries again as soon as it is this request's turn, and then whenever money comes back, until it is
    /// done, waiting cannot help any more, or `patience` is over. Then it tries a last time, wherever it
    /// stands: a window may have begun, or what is left is too little for those before it. Answers `refused`
    /// if the line is too long.
    pub(super) async fn wait<T, E>(
        &self,
        account: &str,
        patience: Duration,
        refused: E,
        mut again: impl FnMut() -> Tried<T, E>,
    ) -> Result<T, E> {
        let Some(place) = self.join(account) else { return Err(refused) };
        let in_line = async {
            let _first = place.line.first.lock().await;
            loop {
                let mut freed = std::pin::pin!(place.line.freed.notified());
                // before trying, so that what comes back meanwhile is heard of
                freed.as_mut().enable();
                match again() {
                    Tried::Done(done) => return Ok(done),
                    Tried::Never(refused) => return Err(refused),
                    Tried::NotYet(_) => freed.await,
                }
            }
        };
        let waited = timeout(patience, in_line).await;
        waited.unwrap_or_else(|_| match again() {
            Tried::Done(done) => Ok(done),
            Tried::NotYet(refused) | Tried::Never(refused) => Err(refused),
        })
    }

    /// Money came back to some budget: whoever is first in a line tries again.
    pub(super) fn money_came_back(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            for line in self.locked().values() {
                line.freed.notify_waiters();
            }
        }
    }

    fn join(&self, account: &str) -> Option<Place<'_>> {
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        let line = Arc::clone(self.locked().entry(account.to_owned()).or_default());
        Some(Place { lines: self, account: account.to_owned(), line })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a line, given up when it goes.
struct Place<'a> {
    lines: &'a Lines,
    account: String,
    line: Arc<Line>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.lines.locked();
        // the map's own and this one
        if Arc::strong_count(&self.line) <= 2 {
            lines.remove(&self.account);
        }
        drop(lines);
        self.lines.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn at_most(money: &Cell<u32>, need: u32) -> Tried<u32, &'static str> {
        if money.get() >= need {
            money.set(money.get() - need);
            Tried::Done(need)
        } else {
            Tried::NotYet("too little")
        }
    }

    #[tokio::test]
    async fn who_waits_is_served_in_the_order_of_arrival() {
        let (lines, money, order) = (Lines::default(), Cell::new(0), RefCell::new(Vec::new()));
        let client = async |name: u32, need: u32| {
            let got = lines.wait("team:a", PATIENCE, "too little", || at_most(&money, need)).await;
            order.borrow_mut().push((name, got));
        };
        let payer = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
                money.set(money.get() + 10);
                lines.money_came_back();
            }
        };
        // the second would fit first
        tokio::join!(client(1, 20), client(2, 10), payer);
        assert_eq!(*order.borrow(), [(1, Ok(20)), (2, Ok(10))]);
        assert!(lines.locked().is_empty() && lines.waiting.load(Ordering::SeqCst) == 0);
    }

    #[tokio::test]
    async fn patience_has_an_end_and_the_last_refusal_is_told() {
        let lines = Lines::default();
        let got = lines.wait("team:a", Duration::ZERO, "first", || Tried::<(), _>::NotYet("last")).await;
        assert_eq!(got, Err("last"));
        assert!(lines.locked().is_empty());
    }

    #[tokio::test]
    async fn who_stands_behind_somebody_who_needs_more_is_served_when_patience_is_over() {
        let (lines, money) = (Lines::default(), Cell::new(0));
        let first = lines.wait("team:a", PATIENCE, "too little", || at_most(&money, 5));
        let second = lines.wait("team:a", Duration::ZERO, "too little", || at_most(&money, 1));
        let payer = async {
            money.set(2);
            lines.money_came_back();
        };
        let both = async { tokio::join!(payer, second).1 };
        tokio::select! {
            biased;
            got = first => panic!("there never were 5: {got:?}"),
            got = both => assert_eq!(got, Ok(1)),
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_what_cannot_come() {
        let lines = Lines::default();
        let got = lines.wait("team:a", PATIENCE, "first", || Tried::<(), _>::Never("spent")).await;
        assert_eq!(got, Err("spent"));
    }

    #[tokio::test]
    async fn a_line_before_one_account_holds_nobody_up_before_another() {
        let lines = Lines::default();
        let stuck = lines.wait("team:a", Duration::ZERO, "", || Tried::<(), _>::NotYet(""));
        let other = lines.wait("team:b", PATIENCE, "", || Tried::<_, &str>::Done(1));
        let (stuck, other) = tokio::join!(stuck, other);
        assert_eq!((stuck, other), (Err(""), Ok(1)));
    }
}
