//! The reading side of the `SQLite` ledger. Reads beside a running writer, and never writes.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Transaction};

use crate::base::clock::Timestamp;
use crate::store::ledger::{Checkpoint, Cuts, Filter, LedgerReader, Retired, Spending, StoreFault};
use crate::store::record::Record;

use super::columns::{self, COLUMNS};
use super::retired;
use super::schema::{engine, open_to_read};
use super::sums;
use super::writer::read_checkpoint;

/// The ledger of one data directory, open to read.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
}

impl SqliteReader {
    /// Opens the ledger in `data_dir`; `None` where there is none yet.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is of a newer Tollgate.
    pub fn open(data_dir: &Path) -> Result<Option<Self>, StoreFault> {
        Ok(open_to_read(data_dir)?.map(|connection| Self { connection }))
    }

    /// The ledger as it is now: rows and checkpoint of one instant, whatever is written meanwhile.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn snapshot(&mut self) -> Result<Snapshot<'_>, StoreFault> {
        let view = self.connection.transaction().map_err(engine("read the ledger"))?;
        // the first read fixes the instant
        let checkpoint = read_checkpoint(&view)?;
        Ok(Snapshot { view, checkpoint })
    }
}

impl LedgerReader for SqliteReader {
    fn scan(&mut self, filter: &Filter, each: &mut dyn FnMut(&Record)) -> Result<(), StoreFault> {
        self.snapshot()?.scan(filter, each)
    }
}

/// The ledger as it was at one instant.
#[derive(Debug)]
pub struct Snapshot<'c> {
    view: Transaction<'c>,
    checkpoint: Option<Checkpoint>,
}

impl Snapshot<'_> {
    /// The checkpoint of that instant.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    /// Whether the request has its row.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn contains(&self, record: &Record) -> Result<bool, StoreFault> {
        let id = record.id.to_be_bytes();
        let fault = engine("look up a record in the ledger");
        let entry = "SELECT 1 FROM entries WHERE started_at = ?1 AND id = ?2";
        let before = "SELECT 1 FROM requests_v3 WHERE id = ?1";
        let is_entry = self.view.prepare_cached(entry).and_then(|mut f| f.exists((record.started_at, id)));
        if is_entry.map_err(&fault)? {
            return Ok(true);
        }
        self.view.prepare_cached(before).and_then(|mut found| found.exists([id])).map_err(&fault)
    }
}

impl Snapshot<'_> {
    /// As [`LedgerReader::scan`].
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn scan(&self, filter: &Filter, each: &mut dyn FnMut(&Record)) -> Result<(), StoreFault> {
        let fault = engine("read the ledger");
        // the database narrows by what it can; the filter itself has the last word
        let (team, narrowed) = match &filter.team {
            Some(team) => (team.as_str(), "team = ?1 AND"),
            None => ("", "?1 = '' AND"),
        };
        let since = filter.since.map_or(i64::MIN, Timestamp::as_nanos);
        let until = filter.until.map_or(i64::MAX, |until| until.as_nanos().saturating_sub(1));
        let mut record = Record::default();
        for table in ["requests_v3", "entries_in_full"] {
            let sql = format!("SELECT {COLUMNS} FROM {table} WHERE {narrowed} started_at BETWEEN ?2 AND ?3");
            let mut statement = self.view.prepare_cached(&sql).map_err(&fault)?;
            let mut rows = statement.query((team, since, until)).map_err(&fault)?;
            while let Some(row) = rows.next().map_err(&fault)? {
                columns::read_into(row, &mut record).map_err(&fault)?;
                if filter.lets_through(&record) {
                    each(&record);
                }
            }
        }
        Ok(())
    }

    /// Calls `each` with every row begun at `since` or later that says something of a bill that came late.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn deferrals(&self, since: Timestamp, each: &mut dyn FnMut(&Record)) -> Result<(), StoreFault> {
        let fault = engine("read late bills in the ledger");
        // the second conditions are those of the indexes
        for sql in [
            format!("SELECT {COLUMNS} FROM requests_v3 WHERE started_at >= ?1 AND answer_id <> ''"),
            format!("SELECT {COLUMNS} FROM entries_in_full WHERE started_at >= ?1 AND is_deferred"),
        ] {
            let mut statement = self.view.prepare_cached(&sql).map_err(&fault)?;
            let mut rows = statement.query([since.as_nanos()]).map_err(&fault)?;
            let mut record = Record::default();
            while let Some(row) = rows.next().map_err(&fault)? {
                columns::read_into(row, &mut record).map_err(&fault)?;
                if record.is_of_late_bill() {
                    each(&record);
                }
            }
        }
        Ok(())
    }

    /// What was retired before that instant.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn retired(&self) -> Result<Option<Retired>, StoreFault> {
        retired::retired(&self.view).map_err(engine("read what was retired"))
    }

    /// Calls `each` with what every request admitted at the first cut or later spent, as far as possible in
    /// sums, and with the sums of retired ones, as far as all of a sum was admitted then or later.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn spendings(
        &self,
        cuts: impl Into<Cuts>,
        each: &mut dyn FnMut(&Spending<'_>),
    ) -> Result<(), StoreFault> {
        let (fault, cuts) = (engine("sum up the ledger"), cuts.into());
        if let Some(since) = cuts.at.first() {
            retired::spendings(&self.view, *since, each).map_err(&fault)?;
        }
        sums::spendings(&self.view, &cuts, each).map_err(&fault)
    }
}

/// Tags as they were read last: the same ones come again and again.
#[derive(Default)]
pub(super) struct Tags {
    json: String,
    read: BTreeMap<String, String>,
}

impl Tags {
    pub(super) fn read(&mut self, json: &str) -> &BTreeMap<String, String> {
        if self.json != json {
            json.clone_into(&mut self.json);
            // written by us; a row that somebody edited by hand still counts, without its tags
            self.read = serde_json::from_str(json).unwrap_or_default();
        }
        &self.read
    }
}
