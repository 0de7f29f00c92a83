//! The writing side: every worker appends here, one `write` per record, in the kernel before it returns.

use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::section::{Durability, LedgerSection};
use crate::store::ledger::Position;
use crate::store::place;
use crate::store::record::{Intent, Record};

use super::bell::Bell;
use super::fault::JournalFault;
use super::follow::Follower;
use super::frame::{self, Kind};
use super::sync::Syncer;
use super::unwritten::Unwritten;
use super::{codec, segment};

/// The journal of one data directory. Shared by all worker threads.
#[derive(Debug)]
pub struct Journal {
    data_dir: PathBuf,
    segment_size: u64,
    tail: Arc<Mutex<Tail>>,
    bell: Arc<Bell>,
    syncer: Option<Syncer>,
    /// Held as long as the journal is open: two writers would tear each other's records.
    lock: File,
}

/// A place behind a written intent, to wait for with [`Journal::durable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(Position);

/// The end of the journal, where records are appended.
#[derive(Debug)]
pub(super) struct Tail {
    dir: PathBuf,
    segment_size: u64,
    pub(super) file: Arc<File>,
    pub(super) end: Position,
    /// Segments left behind since the last sync; empty unless records must survive a loss of power.
    pub(super) left_behind: Vec<Arc<File>>,
    keep_left_behind: bool,
    /// The file's end is not what we think: begin a new one.
    pub(super) spoiled: bool,
    /// What waits to be written before anything else is.
    unwritten: Unwritten,
}

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
        place::private_dir(data_dir).map_err(JournalFault::file("make", data_dir))?;
        let lock = lock(data_dir)?;
        let dir = segment::dir_in(data_dir);
        place::private_dir(&dir).map_err(JournalFault::file("make", &dir))?;
        let power = section.durability == Durability::Power;
        let tail = Arc::new(Mutex::new(Tail::open(data_dir, section.segment_size.0, power)?));
        let syncer = power.then(|| Syncer::start(Arc::clone(&tail), &dir)).transpose()?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            segment_size: section.segment_size.0,
            tail,
            bell: Arc::default(),
            syncer,
            lock,
        })
    }

    /// Writes what is known before the upstream is asked. When this returns, the end of the process
    /// cannot lose it.
    ///
    /// # Errors
    /// When it could not be written; nothing was.
    pub fn intend(&self, intent: &Intent) -> Result<Ticket, JournalFault> {
        let end = self.append(&[frame::write(Kind::Intent, |body| codec::encode(intent, body))])?;
        Ok(Ticket(end))
    }

    /// Writes how a request ended, and closes its intent if there was one. If the disk does not take it,
    /// it is kept in memory and written as soon as the disk does; until then intents are refused.
    ///
    /// # Errors
    /// When it could not be written, and there is no room to keep it.
    pub fn close(&self, record: &Record) -> Result<(), JournalFault> {
        let frame = frame::write(Kind::Outcome, |body| codec::encode(record, body));
        {
            let mut tail = tail_of(&self.tail);
            if let Err(fault) = tail.append(&frame) {
                if tail.unwritten.len() == 0 {
                    tracing::error!(error = %fault, "the journal cannot be written; outcomes wait in memory");
                }
                if !tail.unwritten.keep(frame, record.attempts == 0) {
                    return Err(fault);
                }
            }
        }
        self.ask_for_sync();
        // the writer tries again what waits
        self.bell.ring(1);
        Ok(())
    }

    /// Tries again to write the outcomes that wait in memory.
    ///
    /// # Errors
    /// When the disk still does not take them.
    pub(in crate::ledger) fn write_unwritten(&self) -> Result<(), JournalFault> {
        if self.unwritten() == 0 {
            return Ok(());
        }
        tail_of(&self.tail).write_unwritten()?;
        self.ask_for_sync();
        tracing::info!("the journal can be written again");
        Ok(())
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
        let frames: Vec<_> = records
            .iter()
            .map(|record| frame::write(Kind::Outcome, |body| codec::encode(record, body)))
            .collect();
        self.append(&frames)?;
        self.bell.ring(u32::try_from(records.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Returns when the ticket's intent is as durable as the config asks: at `process` at once, at
    /// `power` after the group fsync that follows it.
    ///
    /// # Errors
    /// [`JournalFault::NotSynced`] when the disk did not take it.
    pub async fn durable(&self, ticket: Ticket) -> Result<(), JournalFault> {
        match &self.syncer {
            None => Ok(()),
            Some(syncer) => syncer.synced(ticket.0).await,
        }
    }

    /// Where the next record will be written; every record before it is whole in the files.
    #[must_use]
    pub fn end(&self) -> Position {
        tail_of(&self.tail).end
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
        tail_of(&self.tail).file = Arc::new(device);
    }

    pub(in crate::ledger) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    fn append(&self, frames: &[Vec<u8>]) -> Result<Position, JournalFault> {
        let end = {
            let mut tail = tail_of(&self.tail);
            match frames {
                [frame] => tail.append(frame)?,
                frames => tail.append(&frames.concat())?,
            }
        };
        self.ask_for_sync();
        Ok(end)
    }

    fn ask_for_sync(&self) {
        if let Some(syncer) = &self.syncer {
            syncer.ask();
        }
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

/// The tail, also after a panic elsewhere: `end` moves only behind what was wholly written.
pub(super) fn tail_of(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tail {
    fn open(data_dir: &Path, segment_size: u64, keep_left_behind: bool) -> Result<Self, JournalFault> {
        let dir = segment::dir_in(data_dir);
        let (file, end) = match segment::list(&dir)?.last() {
            Some(&last) => reopen(data_dir, &dir, last)?,
            None => (segment::create(&dir, 1)?, Position { segment: 1, offset: segment::FIRST }),
        };
        Ok(Self {
            dir,
            segment_size,
            file: Arc::new(file),
            end,
            left_behind: Vec::new(),
            keep_left_behind,
            spoiled: false,
            unwritten: Unwritten::default(),
        })
    }

    /// Appends what waits and then `bytes`. While anything waits nothing else is written: no intent may
    /// pass that could not be recorded to its end.
    fn append(&mut self, bytes: &[u8]) -> Result<Position, JournalFault> {
        self.write_unwritten()?;
        self.write(bytes)
    }

    fn write_unwritten(&mut self) -> Result<(), JournalFault> {
        let mut waiting = std::mem::take(&mut self.unwritten);
        let mut written = Ok(());
        while let Some(frame) = waiting.first() {
            if let Err(fault) = self.write(frame) {
                written = Err(fault);
                break;
            }
            waiting.forget_first();
        }
        self.unwritten = waiting;
        written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<Position, JournalFault> {
        self.begin_segment_where_needed(bytes.len() as u64)?;
        if let Err(source) = self.file.write_all_at(bytes, self.end.offset) {
            // a full disk takes half a record: it must not stand before the next one
            self.spoiled = self.file.set_len(self.end.offset).is_err();
            return Err(JournalFault::file("write", &segment::path(&self.dir, self.end.segment))(source));
        }
        self.end.offset += bytes.len() as u64;
        Ok(self.end)
    }

    fn begin_segment_where_needed(&mut self, more: u64) -> Result<(), JournalFault> {
        let full = self.end.offset > segment::FIRST && self.end.offset + more > self.segment_size;
        if !full && !self.spoiled {
            return Ok(());
        }
        let next = self.end.segment + 1;
        match segment::create(&self.dir, next) {
            Ok(file) => {
                let left = std::mem::replace(&mut self.file, Arc::new(file));
                if self.keep_left_behind {
                    self.left_behind.push(left);
                }
                self.end = Position { segment: next, offset: segment::FIRST };
                self.spoiled = false;
                Ok(())
            }
            Err(fault) if self.spoiled => Err(fault),
            // a segment that is too long is better than a request refused
            Err(fault) => {
                tracing::warn!(error = %fault, "the journal goes on in a full segment");
                Ok(())
            }
        }
    }
}

/// Opens the last segment to go on in it, without the half record at its end if there is one.
fn reopen(data_dir: &Path, dir: &Path, last: u64) -> Result<(File, Position), JournalFault> {
    let path = segment::path(dir, last);
    let file = place::private_file(&path).map_err(JournalFault::file("open", &path))?;
    let length = file.metadata().map_err(JournalFault::file("measure", &path))?.len();
    if !segment::has_header(&file, &path)? {
        file.set_len(0).map_err(JournalFault::file("cut", &path))?;
        file.write_all_at(&segment::HEADER, 0).map_err(JournalFault::file("write", &path))?;
        return Ok((file, Position { segment: last, offset: segment::FIRST }));
    }
    let mut follower = Follower::new(data_dir, Position { segment: last, offset: segment::FIRST });
    while follower.next(Position { segment: last, offset: length })?.is_some() {}
    let end = follower.whole_to();
    if end.offset < length {
        tracing::warn!(bytes = length - end.offset, "cut a half-written record off the journal's end");
        file.set_len(end.offset).map_err(JournalFault::file("cut", &path))?;
    }
    Ok((file, end))
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

const LOCK_NAME: &str = "lock";

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
