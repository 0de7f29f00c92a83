//! The writing side of the `SQLite` ledger: batches of rows and their checkpoint, together or not at all.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

use crate::base::clock::Timestamp;
use crate::base::failpoint::Failpoint;
use crate::store::ledger::{Checkpoint, LedgerStore, Position, Retired, StoreFault};
use crate::store::record::Record;

use super::entry::{Entries, insert};
use super::retired;
use super::schema::{engine, open_to_write};
use super::sums;

/// The ledger of one data directory, open to write.
#[derive(Debug)]
pub struct SqliteLedger {
    data_dir: PathBuf,
    /// `None` after a fault: a connection that failed is not trusted again (FAULTS, L6).
    open: Option<Open>,
}

/// A connection, and what goes with it.
#[derive(Debug)]
struct Open {
    connection: Connection,
    entries: Entries,
    /// Rows of the table of before that a repeated record could be in, up to this id.
    last_before: Option<[u8; 16]>,
}

impl Open {
    fn new(data_dir: &Path) -> Result<Self, StoreFault> {
        let connection = open_to_write(data_dir)?;
        let last_before = connection
            .query_row("SELECT max(id) FROM requests_v3", [], |row| row.get(0))
            .map_err(engine("read the ledger's last row"))?;
        Ok(Self { connection, entries: Entries::new(), last_before })
    }
}

impl SqliteLedger {
    /// Opens the ledger in `data_dir`, making or migrating it where needed. File mode 0600.
    ///
    /// # Errors
    /// When it cannot be opened, is of a newer Tollgate, or the linked `SQLite` is too old.
    pub fn open(data_dir: &Path) -> Result<Self, StoreFault> {
        Ok(Self { data_dir: data_dir.to_owned(), open: Some(Open::new(data_dir)?) })
    }

    /// Does `work` on the connection; opens it anew if it failed before, discards it if it fails now.
    fn with<T>(&mut self, work: impl FnOnce(&mut Open) -> Result<T, StoreFault>) -> Result<T, StoreFault> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.data_dir)?,
        };
        let done = work(&mut open)?;
        self.open = Some(open);
        Ok(done)
    }
}

impl LedgerStore for SqliteLedger {
    fn append(&mut self, rows: &[Record], checkpoint: &Checkpoint) -> Result<(), StoreFault> {
        self.with(|Open { connection, entries, last_before }| {
            let fault = engine("save records in the ledger");
            let batch =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fault)?;
            save(&batch, entries, *last_before, rows).map_err(&fault)?;
            if !rows.is_empty() {
                Failpoint::MidCommit.reach();
            }
            save_checkpoint(&batch, checkpoint).map_err(&fault)?;
            batch.commit().map_err(&fault)?;
            if !rows.is_empty() {
                Failpoint::AfterCommitBeforeClientEnd.reach();
            }
            Ok(())
        })
    }

    fn checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreFault> {
        self.with(|open| read_checkpoint(&open.connection))
    }

    fn retire(&mut self, before: Timestamp, at_most: u32) -> Result<u64, StoreFault> {
        self.with(|Open { connection, entries, .. }| {
            let fault = engine("retire rows of the ledger");
            let batch =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fault)?;
            let retired = retired::retire(&batch, &mut entries.spenders, before, at_most).map_err(&fault)?;
            batch.commit().map_err(&fault)?;
            Ok(retired)
        })
    }

    fn sum_up(&mut self, least: u32, at_most: u32) -> Result<u64, StoreFault> {
        self.with(|Open { connection, entries, .. }| {
            let fault = engine("bring rows of the ledger into its sums");
            let batch =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fault)?;
            let rows = sums::sum_up(&batch, &mut entries.spenders, least, at_most).map_err(&fault)?;
            batch.commit().map_err(&fault)?;
            Ok(rows)
        })
    }

    fn retired(&mut self) -> Result<Option<Retired>, StoreFault> {
        self.with(|open| retired::retired(&open.connection).map_err(engine("read what was retired")))
    }

    fn harden(&mut self) -> Result<(), StoreFault> {
        self.with(|Open { connection, .. }| {
            // syncs the WAL and then the file; what a reader holds back is synced in the WAL all the same
            connection
                .query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))
                .map_err(engine("sync the ledger"))
        })
    }
}

/// The saved checkpoint, for both sides.
pub(super) fn read_checkpoint(connection: &Connection) -> Result<Option<Checkpoint>, StoreFault> {
    connection
        .query_row(
            "SELECT replay_segment, replay_offset, settled_segment, settled_offset FROM checkpoint",
            [],
            |row| {
                let number = |column| row.get(column).map(|number: i64| u64::try_from(number).unwrap_or(0));
                let at = |segment, offset| -> rusqlite::Result<Position> {
                    Ok(Position { segment: number(segment)?, offset: number(offset)? })
                };
                Ok(Checkpoint { replay_from: at(0, 1)?, settled_to: at(2, 3)? })
            },
        )
        .optional()
        .map_err(engine("read the ledger's checkpoint"))
}

fn save(
    batch: &Transaction<'_>,
    entries: &mut Entries,
    last_before: Option<[u8; 16]>,
    rows: &[Record],
) -> rusqlite::Result<()> {
    let mut many = batch.prepare_cached(&insert(AT_ONCE))?;
    let mut one = batch.prepare_cached(&insert(1))?;
    // ids go up with time: only what was begun before the ledger's last migration can be in the table of before
    let may_be_there = |row: &Record| last_before.is_some_and(|last| row.id.to_be_bytes() <= last);
    for rows in rows.chunks(AT_ONCE) {
        if rows.len() == AT_ONCE && !rows.iter().any(may_be_there) {
            entries.bind(batch, &mut many, rows)?;
            match many.raw_execute() {
                Ok(_) => continue,
                // it undid the others, too
                Err(refused) if blames_the_row(&refused) => {}
                Err(fault) => return Err(fault),
            }
        }
        for row in rows {
            if may_be_there(row) && is_from_before(batch, row)? {
                continue;
            }
            entries.bind(batch, &mut one, std::slice::from_ref(row))?;
            match one.raw_execute() {
                Ok(_) => {}
                // binding has made every value fit; should one slip through, it must not block the others
                Err(refused) if blames_the_row(&refused) => {
                    tracing::error!(request_id = %row.request_id(), error = %refused, "a record was refused by the ledger");
                }
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(())
}

fn is_from_before(batch: &Transaction<'_>, row: &Record) -> rusqlite::Result<bool> {
    batch.prepare_cached("SELECT 1 FROM requests_v3 WHERE id = ?1")?.exists([row.id.to_be_bytes()])
}

fn blames_the_row(fault: &rusqlite::Error) -> bool {
    matches!(
        fault.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}

fn save_checkpoint(batch: &Transaction<'_>, checkpoint: &Checkpoint) -> rusqlite::Result<()> {
    let Checkpoint { replay_from, settled_to } = checkpoint;
    let numbers = [replay_from.segment, replay_from.offset, settled_to.segment, settled_to.offset]
        .map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    batch.prepare_cached("INSERT OR REPLACE INTO checkpoint VALUES (1, ?1, ?2, ?3, ?4)")?.execute(numbers)?;
    Ok(())
}

/// Rows per statement: what a statement costs by itself, a third of a row, is shared by so many.
const AT_ONCE: usize = 8;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
