//! Sets the budgets' counters against the books, over and over, while requests settle: invariant I5. A
//! counter that is not what the ledger says is repaired, and told.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::assemble::Lasting;
use super::spent::{count, spender, spent};
use crate::base::clock::{Clock, Timestamp};
use crate::budget::{Book, Drift, Suspects};
use crate::ledger::books::Books;
use crate::ledger::journal::Journal;
use crate::proxy::{Door, Policy};
use crate::store::ledger::{Position, StoreFault};

/// The running job.
#[derive(Debug)]
pub(super) struct Reconciler {
    bell: Bell,
    thread: thread::JoinHandle<()>,
}

/// Asks for a pass now.
#[derive(Debug, Clone)]
pub(super) struct Bell(SyncSender<Wish>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Pass,
    Stop,
}

/// Policies that a reload has replaced. As long as one is in use, requests are at work that budgets which came
/// after it do not know of. They end here and not with their last request: to free a hundred thousand accounts
/// would hold up a worker.
#[derive(Debug)]
pub(super) struct Superseded<P = Policy>(Mutex<Vec<Arc<P>>>);

/// What a pass found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) drifts: Vec<Drift>,
    /// Every counter was looked at.
    pub(super) is_whole: bool,
}

/// What a pass looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accounts<'a> {
    pub(super) book: &'a Book,
    pub(super) journal: &'a Journal,
    /// Requests between their row in the journal and their settlement.
    pub(super) settling: &'a AtomicU32,
}

/// Starts the job. It ends when it is told to stop.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn start(door: Arc<Door>, lasting: Arc<Lasting>) -> std::io::Result<Reconciler> {
    let (sender, wishes) = sync_channel(1);
    let run = move || work(&door, &lasting, &wishes);
    let thread = thread::Builder::new().name("reconcile".into()).spawn(run)?;
    Ok(Reconciler { bell: Bell(sender), thread })
}

impl Reconciler {
    /// Asks for a pass now.
    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Returns when the job has ended.
    pub(super) fn stop(self) {
        // a pass that is wished for is soon taken up; an end that panicked has no one to tell
        let _ = self.bell.0.send(Wish::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the reconciliation of budgets panicked");
        }
    }
}

impl Bell {
    /// Wishes for a pass. One that is wished for already is enough.
    pub(super) fn ring(&self) {
        let _ = self.0.try_send(Wish::Pass);
    }
}

impl<P> Superseded<P> {
    /// No policy was replaced yet.
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Notes that `policy` is not in force any more.
    pub(super) fn note(&self, policy: Arc<P>) {
        self.are_at_work();
        self.policies().push(policy);
    }

    /// Whether requests of such a policy may be at work. Lets go of those that none has any more.
    pub(super) fn are_at_work(&self) -> bool {
        let mut policies = self.policies();
        policies.retain(|policy| Arc::strong_count(policy) > 1);
        !policies.is_empty()
    }

    fn policies(&self) -> std::sync::MutexGuard<'_, Vec<Arc<P>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(door: &Door, lasting: &Lasting, wishes: &Receiver<Wish>) {
    let accounts = Accounts { book: &lasting.budgets, journal: &door.journal, settling: &door.settling };
    let mut wait = PERIOD;
    loop {
        match wishes.recv_timeout(wait) {
            Ok(Wish::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Wish::Pass) | Err(RecvTimeoutError::Timeout) => {}
        }
        let began = door.clock.tick();
        let counting = lasting.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_behind = lasting.superseded.are_at_work();
        match pass(accounts, &door.clock) {
            Ok(found) => {
                found.drifts.iter().for_each(|drift| tell(door, drift));
                if found.is_whole && !is_behind {
                    lasting.budgets.all().iter().for_each(|budget| budget.catch_up(false));
                }
            }
            Err(fault) => tracing::warn!(%fault, "budgets could not be set against the books"),
        }
        drop(counting);
        wait = PERIOD.max(door.clock.tick().since(began).saturating_mul(REST));
    }
}

fn tell(door: &Door, drift: &Drift) {
    let (counted, recorded) = (drift.counted.to_string(), drift.recorded.to_string());
    if drift.is_expected {
        let Drift { budget, scope, .. } = drift;
        tracing::info!(
            budget,
            scope,
            counted,
            recorded,
            "a budget has learned of requests that began before it, or forgotten a run that was retired"
        );
    } else {
        door.signals.budget_drifted(&drift.budget, &drift.scope, &counted, &recorded);
    }
}

/// Counts all budgets from the books, and repairs those counters that differ at an instant at which the
/// books and the counters must agree.
///
/// # Errors
/// When the books cannot be read; nothing was changed that was not wrong.
pub(super) fn pass(accounts: Accounts<'_>, clock: &Clock) -> Result<Found, StoreFault> {
    let now = clock.now();
    let mut books = Books::open(accounts.journal.data_dir())?;
    let (recount, complete_to) = count(&accounts.book.all(), &mut books, now)?;
    let mut found = Found { drifts: Vec::new(), is_whole: true };
    let Some(from) = complete_to else { return Ok(found) };
    for mut group in recount.suspects(GROUP) {
        let Some(to) = read_quietly(accounts, &mut group, now) else {
            tracing::debug!("some budgets never stood still; the next pass looks at them again");
            found.is_whole = false;
            continue;
        };
        books.spendings_between(from, to, &mut |row| {
            group.add(&spender(row), row.admitted_at, spent(row));
        })?;
        found.drifts.extend(group.repair());
    }
    Ok(found)
}

/// Reads counters at an instant at which no request is between its row and its settlement, and no row waits
/// in memory; tells where the journal ended then.
fn read_quietly(accounts: Accounts<'_>, group: &mut Suspects, now: Timestamp) -> Option<Position> {
    // whoever closes a row after this look has to wait with its settlement for the counters
    let quiet = || {
        let end = accounts.journal.whole_end()?;
        (accounts.settling.load(Ordering::SeqCst) == 0).then_some(end)
    };
    (0..TRIES).find_map(|_| {
        let place = group.read(now, quiet);
        if place.is_none() {
            // those who settle need the locks and the core
            thread::yield_now();
        }
        place
    })
}

/// An operator who sees a drift wants to know that it lasted at most this long.
const PERIOD: Duration = Duration::from_mins(1);
/// Rests this many times as long as a pass took: 2 % of a core at most.
const REST: u32 = 50;
/// Accounts that are held together for a look: some 20 microseconds.
const GROUP: usize = 256;
/// A settlement takes some microseconds: with cores full of them there is a gap sooner.
const TRIES: u32 = 10_000;

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
