//! Answers that are billed late: found again at the start, and billed when nobody fetches them in time.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::ledger::books::Books;
use crate::proxy::{Door, bill_overdue, resume};
use crate::store::ledger::StoreFault;
use crate::store::record::{Billing, Record};

/// At once. Each is one or two KiB, and money that is held: beyond this the oldest is billed as if nobody fetched
/// it.
pub(super) const MOST_DEFERRED: usize = 10_000;

/// Takes up what earlier processes left to be billed, before anybody can fetch it.
///
/// # Errors
/// When the books cannot be read.
pub(super) fn take_up(door: &Arc<Door>, data_dir: &Path) -> Result<(), StoreFault> {
    let since = Timestamp::from_nanos(door.clock.now().as_nanos().saturating_sub(nanos(LOOKED_BACK)));
    let left = still_owed(&mut Books::open(data_dir)?, since)?;
    let (count, reserved) = (left.rows.len(), left.rows.iter().map(|row| row.reserved));
    if count > 0 {
        let reserved_usd = reserved.fold(NanoUsd::ZERO, |sum, more| sum + more);
        tracing::info!(answers = count, %reserved_usd, "answers are still to be billed when they are fetched");
    }
    for row in left.rows {
        let (upstream, answer_id) = (row.upstream.clone(), row.answer_id.clone());
        let file = left.files.get(&row.id);
        resume(door, row);
        if let Some(file) = file {
            door.deferred.note_file(&upstream, &answer_id, file);
        }
    }
    Ok(())
}

/// What the books say of answers that have no bill yet.
#[derive(Debug, Default)]
struct Left {
    /// Oldest first.
    rows: Vec<Record>,
    /// The file with the answers of a batch, by the id of its row.
    files: HashMap<u128, String>,
}

fn still_owed(books: &mut Books, since: Timestamp) -> Result<Left, StoreFault> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (mut left, mut billed) = (Left::default(), HashSet::new());
        let read = books.deferrals(since, &mut |row| match row.billing {
            Billing::Deferred => left.rows.push(row.clone()),
            Billing::Late => drop(billed.insert(row.parent)),
            Billing::AtOnce => drop(left.files.insert(row.parent, row.answer_id.clone())),
        });
        match read {
            // the writer at work tidied the journal away under the reader
            Err(StoreFault::Moved) if tries < TRIES => continue,
            read => read?,
        }
        left.rows.retain(|row| !billed.contains(&row.id));
        left.rows.sort_by_key(|row| (row.started_at, row.id));
        return Ok(left);
    }
}

/// The longest that a bill may take, twice: a gateway may have been down at its end.
const LOOKED_BACK: Duration = Duration::from_hours(60 * 24);
const TRIES: u32 = 3;

/// The thread that bills what nobody fetched.
#[derive(Debug)]
pub(super) struct Overdue {
    stop: SyncSender<()>,
    thread: thread::JoinHandle<()>,
}

/// Starts it.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn start(door: Arc<Door>) -> std::io::Result<Overdue> {
    let (stop, stopped) = sync_channel(1);
    let run = move || work(&door, &stopped);
    let thread = thread::Builder::new().name("overdue".into()).spawn(run)?;
    Ok(Overdue { stop, thread })
}

impl Overdue {
    /// Returns when the thread has ended.
    pub(super) fn stop(self) {
        // an end that panicked has no one to tell
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the billing of answers that nobody fetched panicked");
        }
    }
}

fn work(door: &Arc<Door>, stopped: &Receiver<()>) {
    loop {
        bill_overdue(door);
        let patience = door.live.snapshot().bounds.deferred_for;
        match stopped.recv_timeout((patience / SHARE).clamp(SOONEST, LATEST)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// How much later than its deadline a bill may be: a tenth of the time.
const SHARE: u32 = 10;
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(30);

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}
