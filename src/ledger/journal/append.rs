//! The writing side: every worker appends here, one `write` per record, in the kernel before it returns.

use std::cell::RefCell;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::ledger::section::{Durability, LedgerSection, WhenFull};
use crate::store::ledger::Position;
use crate::store::place;
use crate::store::record::{Billing, Intent, Record};

use super::bell::Bell;
use super::fault::JournalFault;
use super::frame::{self, Kind};
use super::sync::{Disk, Durable, Syncer};
use super::tail::{Tail, tail_of};
use super::{codec, segment};

/// The journal of one data directory. Shared by all worker threads.
#[derive(Debug)]
pub struct Journal {
    data_dir: PathBuf,
    segment_size: u64,
    tail: Arc<Mutex<Tail>>,
    bell: Arc<Bell>,
    syncer: Syncer,
    durability: Durability,
    when_full: WhenFull,
    /// Outcomes that had to wait in memory since the start.
    deferred: AtomicU64,
    /// Held as long as the journal is open: two writers would tear each other's records.
    lock: File,
}

/// A place behind a written intent, to wait for with [`Journal::durable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(Position);

impl Drop for Journal {
    /// Gives the lock back by name: a child process that was just being started holds a copy of the
    /// descriptor for a moment, and with it the lock, whatever is closed here.
    fn drop(&mut self) {
        // a lock that cannot be given back goes with the process
        let _ = self.lock.unlock();
    }
}

impl Journal {
    /// Opens the journal in `data_dir`, making it where needed, and cuts off a record that a crash left
    /// half written at the very end.
    ///
    /// # Errors
    /// When another process uses it, a file cannot be used, or it is of a newer Tollgate.
    pub fn open(data_dir: &Path, section: &LedgerSection) -> Result<Self, JournalFault> {
        Self::open_on(data_dir, section, Box::new(Disk))
    }

    pub(super) fn open_on(
        data_dir: &Path,
        section: &LedgerSection,
        disk: Box<dyn Durable>,
    ) -> Result<Self, JournalFault> {
        place::private_dir(data_dir).map_err(JournalFault::file("make", data_dir))?;
        let lock = lock(data_dir)?;
        let dir = segment::dir_in(data_dir);
        place::private_dir(&dir).map_err(JournalFault::file("make", &dir))?;
        let tail = Arc::new(Mutex::new(Tail::open(data_dir, section)?));
        let syncer = Syncer::start(Arc::clone(&tail), &dir, section.durability, disk)?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            segment_size: section.segment_size.0,
            tail,
            bell: Arc::default(),
            syncer,
            durability: section.durability,
            when_full: section.when_full,
            deferred: AtomicU64::new(0),
            lock,
        })
    }

    /// Writes what is known before the upstream is asked. When this returns, the end of the process
    /// cannot lose it; unless the config would rather serve than be sure of that, the disk takes nothing,
    /// and there is room in memory for the outcome.
    ///
    /// # Errors
    /// When it could not be written; nothing was.
    pub fn intend(&self, intent: &Intent) -> Result<Ticket, JournalFault> {
        let written = with_frame(Kind::Intent, intent, |frame| {
            let mut tail = tail_of(&self.tail);
            match tail.intend(frame) {
                Err(_) if self.when_full == WhenFull::BestEffort && tail.unwritten.has_room() => Ok(None),
                written => written.map(Some),
            }
        })?;
        let Some(end) = written else { return Ok(Ticket(Position::default())) };
        self.syncer.ask();
        Ok(Ticket(end))
    }

    /// Writes how a request ended, and closes its intent if there was one. A full disk takes it all the
    /// same, at the cost of the reserve. If the disk takes nothing, it is kept in memory and written as soon
    /// as the disk does; until then intents are refused.
    ///
    /// # Errors
    /// When it could not be written, and there is no room to keep it.
    pub fn close(&self, record: &Record) -> Result<(), JournalFault> {
        with_frame(Kind::Outcome, record, |frame| {
            let mut tail = tail_of(&self.tail);
            let is_refusal = record.attempts == 0 && record.billing != Billing::Late;
            if let Err(fault) = tail.close(frame, is_refusal) {
                if tail.unwritten.len() == 0 {
                    tracing::error!(error = %fault, "the journal cannot be written; outcomes wait in memory");
                }
                if !tail.unwritten.keep(frame.to_owned(), is_refusal) {
                    return Err(fault);
                }
                self.deferred.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })?;
        self.syncer.ask();
        // the writer tries again what waits
        self.bell.ring(1);
        Ok(())
    }

    /// Tries again what the disk did not take: the outcomes that wait in memory, then the reserve.
    ///
    /// # Errors
    /// When the disk still does not take them.
    pub(in crate::ledger) fn make_good(&self) -> Result<(), JournalFault> {
        if !self.is_held_up() {
            return Ok(());
        }
        tail_of(&self.tail).make_good()?;
        self.syncer.ask();
        tracing::info!("the journal can be written again");
        Ok(())
    }

    /// Whether the disk does not take what it should: outcomes wait in memory, or the reserve is given up.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        tail_of(&self.tail).is_held_up()
    }

    /// Whether a request that comes now would be recorded, or served all the same.
    #[must_use]
    pub fn takes_intents(&self) -> bool {
        let tail = tail_of(&self.tail);
        !tail.is_held_up() || (self.when_full == WhenFull::BestEffort && tail.unwritten.has_room())
    }

    /// How many outcomes had to wait in memory since the start.
    #[must_use]
    pub fn deferred(&self) -> u64 {
        self.deferred.load(Ordering::Relaxed)
    }

    /// How many outcomes wait in memory because the disk did not take them; 0 at all usual times.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        tail_of(&self.tail).unwritten.len()
    }

    /// Writes how many requests ended, in one `write`.
    ///
    /// # Errors
    /// When they could not be written; none was.
    pub fn close_all(&self, records: &[Record]) -> Result<(), JournalFault> {
        let mut frames = Vec::new();
        for record in records {
            frame::append(&mut frames, Kind::Outcome, |body| codec::encode(record, body));
        }
        tail_of(&self.tail).close(&frames, false)?;
        self.syncer.ask();
        self.bell.ring(u32::try_from(records.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Returns when the ticket's intent is as durable as the config asks: at `process` at once, at
    /// `power` after the group fsync that follows it.
    ///
    /// # Errors
    /// [`JournalFault::NotSynced`] when the disk did not take it.
    pub async fn durable(&self, ticket: Ticket) -> Result<(), JournalFault> {
        match self.durability {
            Durability::Process => Ok(()),
            Durability::Power => self.syncer.synced(ticket.0).await,
        }
    }

    /// Where the next record will be written; every record before it is whole in the files.
    #[must_use]
    pub fn end(&self) -> Position {
        tail_of(&self.tail).end
    }

    /// [`Journal::end`] if no outcome waits in memory: then every outcome that was closed is before it. Both
    /// are looked at under one lock, since what waits may be written at any time.
    #[must_use]
    pub fn whole_end(&self) -> Option<Position> {
        let tail = tail_of(&self.tail);
        (tail.unwritten.len() == 0).then_some(tail.end)
    }

    /// Bytes written between two places, about: full segments are taken at their configured size.
    #[must_use]
    pub fn distance(&self, from: Position, to: Position) -> u64 {
        let segments = to.segment.saturating_sub(from.segment);
        (segments.saturating_mul(self.segment_size) + to.offset).saturating_sub(from.offset)
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// From now on the open segment takes no byte and cannot be cut.
    #[cfg(test)]
    pub(in crate::ledger) fn fill_disk(&self) {
        let device = File::options().write(true).open("/dev/full").unwrap();
        let mut tail = tail_of(&self.tail);
        (tail.file, tail.spoiled) = (Arc::new(device), false);
    }

    pub(in crate::ledger) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }
}

/// Whether a running process keeps its journal in `data_dir`.
///
/// # Errors
/// When the lock file is there and cannot be opened.
pub fn is_in_use(data_dir: &Path) -> Result<bool, JournalFault> {
    let path = data_dir.join(LOCK_NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(JournalFault::file("open", &path)(source)),
    };
    // shared: two who ask at once do not take each other for a gateway
    Ok(matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock(data_dir: &Path) -> Result<File, JournalFault> {
    let path = data_dir.join(LOCK_NAME);
    let file = place::private_file(&path).map_err(JournalFault::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalFault::InUse { dir: data_dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(JournalFault::file("lock", &path)(source)),
    }
}

/// Calls `write` with a record's frame, in a buffer that its thread uses again.
fn with_frame<T>(kind: Kind, record: &Record, write: impl FnOnce(&[u8]) -> T) -> T {
    FRAME.with_borrow_mut(|frame| {
        frame.clear();
        // one record of the longest kind shall not be held for good
        frame.shrink_to(KEPT);
        frame::append(frame, kind, |body| codec::encode(record, body));
        write(frame)
    })
}

thread_local! {
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Most records fit.
const KEPT: usize = 4_096;
const LOCK_NAME: &str = "lock";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
