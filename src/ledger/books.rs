//! The whole books of a data directory: the ledger, and what is still on its way there in the journal.
//! Complete at every instant, whether a gateway runs or not, and however long its store was away.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::base::clock::Timestamp;
use crate::store::ledger::{Checkpoint, Cuts, Filter, LedgerReader, Position, Retired, Spending, StoreFault};
use crate::store::record::Record;
use crate::store::sqlite::{Snapshot, SqliteReader};

use super::journal::{Follower, JournalFault, Kind, end_on_disk, oldest, resume};
use super::writer::is_kept;

/// Ledger and journal of one data directory, read as one. Writes nothing.
#[derive(Debug)]
pub struct Books {
    data_dir: PathBuf,
    ledger: Option<SqliteReader>,
}

impl Books {
    /// Opens the books in `data_dir`. There may be a ledger, a journal, both, or nothing yet.
    ///
    /// # Errors
    /// When the ledger cannot be read or is of a newer Tollgate.
    pub fn open(data_dir: &Path) -> Result<Self, StoreFault> {
        Ok(Self { data_dir: data_dir.to_owned(), ledger: SqliteReader::open(data_dir)? })
    }

    /// Whether nothing was ever recorded here.
    ///
    /// # Errors
    /// When the journal's directory cannot be read.
    pub fn are_blank(&self) -> Result<bool, StoreFault> {
        Ok(self.ledger.is_none() && end_on_disk(&self.data_dir).map_err(tail)?.is_none())
    }

    /// What was retired: reports have it no more, budgets without an end still count it.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn retired(&mut self) -> Result<Option<Retired>, StoreFault> {
        self.look_for_ledger()?;
        let Some(ledger) = &mut self.ledger else { return Ok(None) };
        ledger.snapshot()?.retired()
    }

    /// How many requests are begun and not ended: at work in a running gateway, or waiting for the next
    /// start of one that was killed to be charged at their reservation.
    ///
    /// # Errors
    /// When ledger or journal cannot be read.
    pub fn open_intents(&mut self) -> Result<u64, StoreFault> {
        let checkpoint = self.checkpoint()?;
        let Some(Span { checkpoint, end, .. }) = self.span(checkpoint)? else { return Ok(0) };
        let mut follower = Follower::new(&self.data_dir, checkpoint.replay_from).to_a_moving_end();
        let mut open = HashSet::new();
        while let Some(entry) = follower.next(end).map_err(tail)? {
            match entry.kind {
                Kind::Intent => open.insert(entry.id),
                Kind::Outcome => open.remove(&entry.id),
            };
        }
        Ok(open.len() as u64)
    }

    /// Calls `each` with what every request that has ended and was admitted at the first cut or later spent, once:
    /// alone, or in a sum that lies between two cuts. Returns the place in the journal up to which that is
    /// complete.
    ///
    /// # Errors
    /// When ledger or journal cannot be read. After [`StoreFault::Moved`] forget what was seen and begin
    /// again.
    pub fn spendings(
        &mut self,
        cuts: impl Into<Cuts>,
        each: &mut dyn FnMut(&Spending<'_>),
    ) -> Result<Position, StoreFault> {
        let cuts = cuts.into();
        let Some(since) = cuts.at.first().copied() else { return Ok(Position::default()) };
        self.look_for_ledger()?;
        let mut ledger = self.ledger.take();
        let snapshot = ledger.as_mut().map(SqliteReader::snapshot).transpose()?;
        let complete_to = self.on_the_way(snapshot.as_ref(), &mut |record| {
            each_since(since, record, each);
        })?;
        if let Some(snapshot) = &snapshot {
            snapshot.spendings(cuts, each)?;
        }
        drop(snapshot);
        self.ledger = ledger;
        Ok(complete_to)
    }

    /// Calls `each` with every row that says something of a bill that came late, or is to come: what was begun
    /// at `since` or later.
    ///
    /// # Errors
    /// When ledger or journal cannot be read. After [`StoreFault::Moved`] forget what was seen and begin
    /// again.
    pub fn deferrals(&mut self, since: Timestamp, each: &mut dyn FnMut(&Record)) -> Result<(), StoreFault> {
        self.look_for_ledger()?;
        let mut ledger = self.ledger.take();
        let snapshot = ledger.as_mut().map(SqliteReader::snapshot).transpose()?;
        self.on_the_way(snapshot.as_ref(), &mut |record| {
            if record.is_of_late_bill() && record.started_at >= since.as_nanos() {
                each(record);
            }
        })?;
        if let Some(snapshot) = &snapshot {
            snapshot.deferrals(since, each)?;
        }
        drop(snapshot);
        self.ledger = ledger;
        Ok(())
    }

    /// Calls `each` with what the requests spent whose outcome stands in the journal between two places,
    /// whether or not the ledger has them. Outcomes that wait in memory for a full disk stand nowhere yet.
    ///
    /// # Errors
    /// When the journal cannot be read. [`StoreFault::Moved`] when that part of it was settled and tidied
    /// away meanwhile: begin again with [`Books::spendings`].
    pub fn spendings_between(
        &self,
        from: Position,
        to: Position,
        each: &mut dyn FnMut(&Spending<'_>),
    ) -> Result<(), StoreFault> {
        let mut seen = HashSet::new();
        let mut follower = Follower::new(&self.data_dir, from);
        while let Some(entry) = follower.next(to).map_err(tail)? {
            if entry.kind == Kind::Outcome
                && seen.insert(entry.id)
                && let Some(record) = entry.record()
            {
                each_since(Timestamp::from_nanos(0), &record, each);
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, StoreFault> {
        let Some(ledger) = &mut self.ledger else { return Ok(Checkpoint::default()) };
        Ok(ledger.snapshot()?.checkpoint().unwrap_or_default())
    }

    /// From where to where to read the journal; `None` when there is none.
    fn span(&self, saved: Checkpoint) -> Result<Option<Span>, StoreFault> {
        let Some(end) = end_on_disk(&self.data_dir).map_err(tail)? else { return Ok(None) };
        let oldest = oldest(&self.data_dir, end).map_err(tail)?;
        match resume(saved, end) {
            Some(checkpoint) if oldest.segment > checkpoint.replay_from.segment => Err(StoreFault::Moved),
            Some(checkpoint) => Ok(Some(Span { checkpoint, end, is_read_again: false })),
            None => {
                let checkpoint = Checkpoint { replay_from: oldest, settled_to: oldest };
                Ok(Some(Span { checkpoint, end, is_read_again: true }))
            }
        }
    }

    /// Calls `each` with every outcome behind the snapshot's checkpoint that it does not hold. Returns the
    /// end of the last whole record there.
    fn on_the_way(
        &self,
        snapshot: Option<&Snapshot<'_>>,
        each: &mut dyn FnMut(&Record),
    ) -> Result<Position, StoreFault> {
        let checkpoint = snapshot.and_then(Snapshot::checkpoint).unwrap_or_default();
        let Some(Span { checkpoint, end, is_read_again }) = self.span(checkpoint)? else {
            return Ok(Position::default());
        };
        let retired = match snapshot {
            Some(snapshot) if is_read_again => snapshot.retired()?,
            _ => None,
        };
        let mut seen = HashSet::new();
        let mut follower = Follower::new(&self.data_dir, checkpoint.settled_to).to_a_moving_end();
        while let Some(entry) = follower.next(end).map_err(tail)? {
            if entry.kind != Kind::Outcome || !seen.insert(entry.id) {
                continue;
            }
            let Some(record) = entry.record() else { continue };
            if let Some(snapshot) = snapshot
                && snapshot.contains(&record)?
            {
                continue;
            }
            if is_kept(&record, retired) {
                each(&record);
            }
        }
        // not where the file ended: a record may have been half written there
        Ok(follower.whole_to())
    }

    /// Opens a ledger that was not there when the books were opened.
    fn look_for_ledger(&mut self) -> Result<(), StoreFault> {
        if self.ledger.is_none() {
            self.ledger = SqliteReader::open(&self.data_dir)?;
        }
        Ok(())
    }
}

/// Which part of the journal the ledger may not have.
struct Span {
    checkpoint: Checkpoint,
    end: Position,
    /// The ledger's checkpoint is not of this journal: all of it is read, what was retired included.
    is_read_again: bool,
}

impl LedgerReader for Books {
    fn scan(&mut self, filter: &Filter, each: &mut dyn FnMut(&Record)) -> Result<(), StoreFault> {
        self.look_for_ledger()?;
        let mut ledger = self.ledger.take();
        let snapshot = ledger.as_mut().map(SqliteReader::snapshot).transpose()?;
        // first, while its files are surely there: a writer may delete what it has settled
        self.on_the_way(snapshot.as_ref(), &mut |record| {
            if filter.lets_through(record) {
                each(record);
            }
        })?;
        if let Some(snapshot) = &snapshot {
            snapshot.scan(filter, each)?;
        }
        drop(snapshot);
        self.ledger = ledger;
        Ok(())
    }
}

fn each_since(since: Timestamp, record: &Record, each: &mut dyn FnMut(&Spending<'_>)) {
    if let Some(spending) = Spending::of(record)
        && spending.admitted_at >= since
    {
        each(&spending);
    }
}

/// A segment that vanishes while it is read was settled meanwhile: the ledger has it now.
fn tail(fault: JournalFault) -> StoreFault {
    match fault {
        JournalFault::Missing { .. } => StoreFault::Moved,
        fault => StoreFault::Tail(Box::new(fault)),
    }
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
