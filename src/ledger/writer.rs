//! Settles the journal into the ledger: one thread that follows the files, so that the store may be
//! away for hours while nothing is lost, nothing is refused, and memory stays what it was.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::store::ledger::{Checkpoint, LedgerStore, Position, Retired, StoreFault};
use crate::store::record::Record;

use super::journal::{Bell, Follower, Journal, JournalFault, Kind, oldest, remove_before, resume};
use super::open_intents::OpenIntents;
use super::retention::Retention;
use super::summing::Summing;

/// How the writer is doing, for metrics and the admin listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriterStatus {
    /// Rows settled since the start.
    pub rows_written: u64,
    /// Batches saved since the start.
    pub batches: u64,
    /// Tries that failed and were repeated.
    pub failures: u64,
    /// Outcomes that had to wait in memory since the start, because the disk took nothing.
    pub deferred: u64,
    /// Bytes of the journal that are not settled yet, about.
    pub lag_bytes: u64,
    /// Requests begun and not ended, as far as the writer has read.
    pub open_intents: u64,
    /// Rows deleted since the start because they were old.
    pub rows_retired: u64,
    /// Segments deleted since the start, settled to the last record.
    pub segments_deleted: u64,
    /// Why the last try failed; `None` when it did not.
    pub last_error: Option<String>,
    /// Every outcome before this place is in the ledger.
    pub settled_to: Position,
}

/// A running writer.
#[derive(Debug)]
pub struct WriterHandle {
    journal: Arc<Journal>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

/// Begins to settle `journal` into `store`, from the store's checkpoint on.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(journal: Arc<Journal>, store: Box<dyn LedgerStore>) -> io::Result<WriterHandle> {
    start_retiring(journal, store, None)
}

/// As [`start`], and lets go of old rows meanwhile.
///
/// # Errors
/// When the system has no thread to give.
pub fn start_retiring(
    journal: Arc<Journal>,
    store: Box<dyn LedgerStore>,
    retention: Option<Retention>,
) -> io::Result<WriterHandle> {
    let progress = Arc::<Progress>::default();
    let writer = Writer {
        bell: journal.bell(),
        journal: Arc::clone(&journal),
        store,
        retention,
        progress: Arc::clone(&progress),
        reading: None,
        batch: Batch::default(),
        kept_from: 0,
        summing: Summing::new(),
    };
    // what an earlier process left behind is work
    writer.bell.hurry();
    let thread = thread::Builder::new().name("ledger-writer".into()).spawn(move || writer.run())?;
    Ok(WriterHandle { journal, progress, thread: Some(thread) })
}

impl WriterHandle {
    /// How the writer is doing.
    #[must_use]
    pub fn status(&self) -> WriterStatus {
        self.watcher().status()
    }

    /// Looks on, without keeping the writer running.
    #[must_use]
    pub fn watcher(&self) -> WriterWatcher {
        WriterWatcher { journal: Arc::clone(&self.journal), progress: Arc::clone(&self.progress) }
    }

    /// Waits until all that is in the journal now is in the ledger, at most for `at_most`. Returns
    /// whether it is.
    #[must_use]
    pub fn settled(&self, at_most: Duration) -> bool {
        let end = self.journal.end();
        self.journal.bell().hurry();
        let behind = |status: &mut WriterStatus| status.settled_to < end;
        let (status, _) = self
            .progress
            .moved
            .wait_timeout_while(self.progress.status(), at_most, behind)
            .unwrap_or_else(PoisonError::into_inner);
        status.settled_to >= end
    }

    /// Settles what is in the journal and ends the writer. If the store is away it is tried once more
    /// and then left to the next start: the journal keeps it.
    pub fn stop(mut self) -> WriterStatus {
        self.finish();
        self.status()
    }

    fn finish(&mut self) {
        self.journal.bell().stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger writer had panicked; the journal keeps what it did not settle");
        }
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Tells how a writer is doing, for metrics and the admin listener.
#[derive(Debug, Clone)]
pub struct WriterWatcher {
    journal: Arc<Journal>,
    progress: Arc<Progress>,
}

impl WriterWatcher {
    /// How the writer is doing; as it was left, once it has stopped.
    #[must_use]
    pub fn status(&self) -> WriterStatus {
        let mut status = self.progress.status().clone();
        status.deferred = self.journal.deferred();
        status.lag_bytes = self.journal.distance(status.settled_to, self.journal.end());
        status
    }
}

#[derive(Debug, Default)]
struct Progress {
    status: Mutex<WriterStatus>,
    moved: Condvar,
}

impl Progress {
    fn status(&self) -> MutexGuard<'_, WriterStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut WriterStatus)) {
        change(&mut self.status());
        self.moved.notify_all();
    }
}

struct Writer {
    bell: Arc<Bell>,
    journal: Arc<Journal>,
    store: Box<dyn LedgerStore>,
    retention: Option<Retention>,
    progress: Arc<Progress>,
    /// `None` until the store has told where to begin.
    reading: Option<Reading>,
    /// Read from the journal and not saved yet: kept whole for the next try.
    batch: Batch,
    /// Segments before this number are deleted.
    kept_from: u64,
    summing: Summing,
}

/// Where the writer is in the journal.
struct Reading {
    follower: Follower,
    /// Outcomes before this place were saved by an earlier process.
    saved_to: Position,
    /// Outcomes that are older were saved and retired.
    retired: Option<Retired>,
    open: OpenIntents,
}

/// What one transaction saves.
#[derive(Default)]
struct Batch {
    rows: Vec<Record>,
    checkpoint: Checkpoint,
}

/// Why the writer did not get on.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error(transparent)]
    Journal(#[from] JournalFault),
    #[error("the ledger writer panicked; it begins again")]
    Panicked,
}

impl Writer {
    fn run(mut self) {
        let mut backoff = FIRST_BACKOFF;
        let mut stopping = self.bell.wait(NOTHING_TO_DO);
        loop {
            match self.settle_or_forget() {
                Ok(()) => {
                    backoff = FIRST_BACKOFF;
                    self.progress.note(|status| status.last_error = None);
                    if stopping {
                        return;
                    }
                    let idle = self.summing.sum_slice(self.store.as_mut()).min(self.retire());
                    stopping = self.bell.wait(idle);
                }
                Err(fault) => {
                    tracing::error!(error = %fault, "the ledger is not written; the journal keeps the records");
                    self.progress.note(|status| {
                        status.failures += 1;
                        status.last_error = Some(fault.to_string());
                    });
                    if stopping {
                        return;
                    }
                    stopping = self.bell.pause(backoff);
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    /// Lets go of a slice of old rows. Returns when to look again.
    fn retire(&mut self) -> Duration {
        let Some(retention) = &self.retention else { return NOTHING_TO_DO };
        match retention.retire_slice(self.store.as_mut()) {
            Ok((rows, next)) => {
                self.progress.note(|status| status.rows_retired += rows);
                next
            }
            Err(fault) => {
                tracing::warn!(error = %fault, "old rows of the ledger stay for now");
                LONGEST_BACKOFF
            }
        }
    }

    /// Settles. After a panic all that was read is forgotten and read again from the ledger's checkpoint:
    /// what was saved by then is not saved twice.
    fn settle_or_forget(&mut self) -> Result<(), Fault> {
        let settled = catch_unwind(AssertUnwindSafe(|| self.settle()));
        settled.unwrap_or_else(|_| {
            self.reading = None;
            self.batch = Batch::default();
            Err(Fault::Panicked)
        })
    }

    /// Settles all that is in the journal at this moment, batch by batch.
    fn settle(&mut self) -> Result<(), Fault> {
        // what is in the files is settled whether or not the rest can join it: that makes room
        let written = self.journal.make_good();
        let limit = self.journal.end();
        self.begin(limit)?;
        loop {
            let more = self.gather(limit)?;
            self.save()?;
            if !more {
                return Ok(written?);
            }
        }
    }

    /// Finds out where to begin, once.
    fn begin(&mut self, limit: Position) -> Result<(), Fault> {
        if self.reading.is_some() {
            return Ok(());
        }
        let saved = self.store.checkpoint()?.unwrap_or_default();
        let mut retired = None;
        let begin = match resume(saved, limit) {
            Some(checkpoint) => checkpoint,
            None => {
                let from = oldest(self.journal.data_dir(), limit)?;
                let checkpoint = Checkpoint { replay_from: from, settled_to: from };
                // at once, so that the old one is not believed when this journal has grown past it
                self.store.append(&[], &checkpoint)?;
                // what is read again here may have been retired: its sums are there
                retired = self.store.retired()?;
                checkpoint
            }
        };
        self.reading = Some(Reading {
            follower: Follower::new(self.journal.data_dir(), begin.replay_from).passing_over_gaps(),
            saved_to: begin.settled_to,
            retired,
            open: OpenIntents::default(),
        });
        Ok(())
    }

    /// Reads up to a batch of outcomes, unless one is waiting to be saved. Returns whether there may be
    /// more before `limit`.
    fn gather(&mut self, limit: Position) -> Result<bool, Fault> {
        let (Some(reading), batch) = (&mut self.reading, &mut self.batch) else {
            return Ok(false);
        };
        if !batch.rows.is_empty() {
            return Ok(true);
        }
        while batch.rows.len() < BATCH {
            let Some(entry) = reading.follower.next(limit)? else { break };
            match entry.kind {
                Kind::Intent => reading.open.begin(entry.id, entry.at),
                Kind::Outcome => {
                    reading.open.end(entry.id);
                    if entry.at >= reading.saved_to {
                        let record = entry.record();
                        batch.rows.extend(record.filter(|record| is_kept(record, reading.retired)));
                    }
                }
            }
        }
        let settled_to = reading.follower.position();
        let replay_from = reading.open.oldest().unwrap_or(settled_to);
        batch.checkpoint = Checkpoint { replay_from, settled_to };
        Ok(batch.rows.len() == BATCH)
    }

    /// Saves the batch, then lets go of segments that nobody needs any more.
    fn save(&mut self) -> Result<(), Fault> {
        let Batch { rows, checkpoint } = &mut self.batch;
        let (count, checkpoint) = (rows.len() as u64, *checkpoint);
        // a stretch of intents alone is not worth a transaction, unless it ends a segment
        let worth_it = count > 0 || checkpoint.replay_from.segment > self.kept_from;
        if worth_it {
            self.store.append(rows, &checkpoint)?;
            rows.clear();
            self.summing.note(count);
        }
        let open = self.reading.as_ref().map_or(0, |reading| reading.open.len() as u64);
        self.progress.note(|status| {
            status.rows_written += count;
            status.batches += u64::from(count > 0);
            status.open_intents = open;
            status.settled_to = checkpoint.settled_to;
        });
        if checkpoint.replay_from.segment > self.kept_from {
            self.tidy(checkpoint.replay_from.segment)?;
        }
        Ok(())
    }

    /// Deletes the segments before `keep`, once their rows cannot be lost any more.
    fn tidy(&mut self, keep: u64) -> Result<(), Fault> {
        self.store.harden()?;
        let deleted = remove_before(self.journal.data_dir(), keep)?;
        self.progress.note(|status| status.segments_deleted += deleted);
        self.kept_from = keep;
        Ok(())
    }
}

/// Whether the record was not retired already.
pub(super) fn is_kept(record: &Record, retired: Option<Retired>) -> bool {
    retired.is_none_or(|retired| record.started_at >= retired.before.as_nanos())
}

/// Most rows per transaction.
const BATCH: usize = 1_000;
/// What is rung ends the wait; this is only a bound.
const NOTHING_TO_DO: Duration = Duration::from_hours(1);
/// Short: most often another process holds the file for a moment.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// A store that comes back is found within this time.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
