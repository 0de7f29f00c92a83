//! The writing side of the `SQLite` ledger: batches of rows and their checkpoint, together or not at all.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

use crate::base::clock::Timestamp;
use crate::base::failpoint::Failpoint;
use crate::store::ledger::{Checkpoint, LedgerStore, Position, Retired, StoreFault};
use crate::store::record::Record;

use super::columns::{self, COLUMNS, COUNT};
use super::retired;
use super::schema::{engine, open_to_write};

/// The ledger of one data directory, open to write.
#[derive(Debug)]
pub struct SqliteLedger {
    data_dir: PathBuf,
    /// `None` after a fault: a connection that failed is not trusted again (FAULTS, L6).
    connection: Option<Connection>,
}

impl SqliteLedger {
    /// Opens the ledger in `data_dir`, making or migrating it where needed. File mode 0600.
    ///
    /// # Errors
    /// When it cannot be opened, is of a newer Tollgate, or the linked `SQLite` is too old.
    pub fn open(data_dir: &Path) -> Result<Self, StoreFault> {
        Ok(Self { data_dir: data_dir.to_owned(), connection: Some(open_to_write(data_dir)?) })
    }

    /// Does `work` on the connection; opens it anew if it failed before, discards it if it fails now.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreFault>,
    ) -> Result<T, StoreFault> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => open_to_write(&self.data_dir)?,
        };
        let done = work(&mut connection)?;
        self.connection = Some(connection);
        Ok(done)
    }
}

impl LedgerStore for SqliteLedger {
    fn append(&mut self, rows: &[Record], checkpoint: &Checkpoint) -> Result<(), StoreFault> {
        self.with(|connection| {
            let fault = engine("save records in the ledger");
            let batch =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fault)?;
            insert(&batch, rows).map_err(&fault)?;
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
        self.with(|connection| read_checkpoint(connection))
    }

    fn retire(&mut self, before: Timestamp, at_most: u32) -> Result<u64, StoreFault> {
        self.with(|connection| {
            let fault = engine("retire rows of the ledger");
            let batch =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&fault)?;
            let retired = retired::retire(&batch, before, at_most).map_err(&fault)?;
            batch.commit().map_err(&fault)?;
            Ok(retired)
        })
    }

    fn retired(&mut self) -> Result<Option<Retired>, StoreFault> {
        self.with(|connection| retired::retired(connection).map_err(engine("read what was retired")))
    }

    fn harden(&mut self) -> Result<(), StoreFault> {
        self.with(|connection| {
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

fn insert(batch: &Transaction<'_>, rows: &[Record]) -> rusqlite::Result<()> {
    let places = vec!["?"; COUNT].join(", ");
    let sql = format!("INSERT INTO requests ({COLUMNS}) VALUES ({places}) ON CONFLICT (id) DO NOTHING");
    let mut statement = batch.prepare_cached(&sql)?;
    for row in rows {
        columns::bind(&mut statement, row)?;
        match statement.raw_execute() {
            Ok(_) => {}
            // binding has made every value fit; should one slip through, it must not block the others
            Err(refused) if blames_the_row(&refused) => {
                tracing::error!(request_id = %row.request_id(), error = %refused, "a record was refused by the ledger");
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
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

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
