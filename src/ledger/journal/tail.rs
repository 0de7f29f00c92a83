//! The end of the journal: where bytes go, in which segment, and what becomes of them when the disk
//! takes no more.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ledger::section::LedgerSection;
use crate::store::ledger::Position;
use crate::store::place;

use super::fault::JournalFault;
use super::follow::Follower;
use super::reserve::Reserve;
use super::segment;
use super::unwritten::Unwritten;

/// The end of the journal, where records are appended.
#[derive(Debug)]
pub(super) struct Tail {
    dir: PathBuf,
    segment_size: u64,
    pub(super) file: Arc<File>,
    pub(super) end: Position,
    /// Segments left behind since the last sync.
    pub(super) left_behind: Vec<Arc<File>>,
    /// The file's end is not what we think: begin a new one.
    pub(super) spoiled: bool,
    /// Outcomes that the disk did not take.
    pub(super) unwritten: Unwritten,
    reserve: Reserve,
}

/// The tail, also after a panic elsewhere: `end` moves only behind what was wholly written.
pub(super) fn tail_of(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tail {
    pub(super) fn open(data_dir: &Path, section: &LedgerSection) -> Result<Self, JournalFault> {
        let dir = segment::dir_in(data_dir);
        let (file, end) = match segment::list(&dir)?.last() {
            Some(&last) => reopen(data_dir, &dir, last)?,
            None => (segment::create(&dir, 1)?, Position { segment: 1, offset: segment::FIRST }),
        };
        Ok(Self {
            dir,
            segment_size: section.segment_size.0,
            file: Arc::new(file),
            end,
            left_behind: Vec::new(),
            spoiled: false,
            unwritten: Unwritten::default(),
            reserve: Reserve::open(data_dir, section.reserve.0),
        })
    }

    /// Appends an intent, unless the disk is held up: none may pass that could not be recorded to its end.
    pub(super) fn intend(&mut self, frame: &[u8]) -> Result<Position, JournalFault> {
        self.write_unwritten()?;
        if self.reserve.is_gone() {
            return Err(JournalFault::OutOfRoom { dir: self.dir.clone() });
        }
        self.write(frame)
    }

    /// Appends an outcome, or several; on a full disk, where the reserve was. Refusals, which anybody can
    /// cause, get none of that room.
    pub(super) fn close(&mut self, frame: &[u8], is_refusal: bool) -> Result<Position, JournalFault> {
        if is_refusal && self.reserve.is_gone() {
            return Err(JournalFault::OutOfRoom { dir: self.dir.clone() });
        }
        match self.write(frame) {
            Err(fault) if !is_refusal && fault.is_full() && self.reserve.give_up() => self.write(frame),
            written => written,
        }
    }

    pub(super) fn is_held_up(&self) -> bool {
        self.unwritten.len() > 0 || self.reserve.is_gone()
    }

    /// Writes what waits, and takes the reserve back.
    pub(super) fn make_good(&mut self) -> Result<(), JournalFault> {
        self.write_unwritten()?;
        self.reserve.take()
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
                self.left_behind.push(std::mem::replace(&mut self.file, Arc::new(file)));
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
