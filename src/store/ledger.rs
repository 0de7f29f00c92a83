//! The ledger as a noun: what every engine that keeps settled records must do. No SQL here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;

use super::record::Record;

/// A place in the journal: a segment's number and a byte offset in it. Sorts in writing order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Bytes from the segment's beginning.
    pub offset: u64,
}

/// How far the ledger has followed the journal. Saved in the same transaction as the rows, so that
/// rows and checkpoint are never apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Where reading begins after a start: the oldest intent still open, or `settled_to`.
    pub replay_from: Position,
    /// Every outcome before this place is in the ledger.
    pub settled_to: Position,
}

/// The writing side of a ledger. One writer at a time.
pub trait LedgerStore: Send {
    /// Saves `rows` and `checkpoint` together, or neither. A row whose id is there already is left as
    /// it is, so that saving again after a crash doubles nothing.
    ///
    /// # Errors
    /// When the engine cannot be reached or written; nothing was saved and trying again helps.
    fn append(&mut self, rows: &[Record], checkpoint: &Checkpoint) -> Result<(), StoreFault>;

    /// The checkpoint last saved; `None` in a new ledger.
    ///
    /// # Errors
    /// When the engine cannot be reached or read.
    fn checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreFault>;

    /// Returns when all that was saved would survive a loss of power. Asked before journal segments
    /// are deleted.
    ///
    /// # Errors
    /// When the engine cannot promise it.
    fn harden(&mut self) -> Result<(), StoreFault>;

    /// Deletes up to `at_most` of the oldest rows of requests that began before `before`, and adds what
    /// they spent to the sums that are kept, together or not at all. Returns how many it deleted.
    ///
    /// # Errors
    /// When the engine cannot be reached or written; nothing was deleted.
    fn retire(&mut self, before: Timestamp, at_most: u32) -> Result<u64, StoreFault>;

    /// Adds up to `at_most` rows to the sums that starts read instead of rows, if at least `least` are in none.
    /// Returns how many it added.
    ///
    /// # Errors
    /// When the engine cannot be reached or written; nothing was added.
    fn sum_up(&mut self, least: u32, at_most: u32) -> Result<u64, StoreFault> {
        // an engine that keeps no sums is read row by row
        let _ = (least, at_most);
        Ok(0)
    }

    /// What was retired so far; `None` before the first row.
    ///
    /// # Errors
    /// When the engine cannot be reached or read.
    fn retired(&mut self) -> Result<Option<Retired>, StoreFault>;
}

/// What a ledger does not have any more, but as sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Every request that began before this instant.
    pub before: Timestamp,
    /// How many rows.
    pub rows: u64,
}

/// The reading side of a ledger.
pub trait LedgerReader {
    /// Calls `each` with every record that `filter` lets through, once, in no promised order.
    ///
    /// # Errors
    /// When the engine cannot be read. After [`StoreFault::Moved`] forget what was seen and begin again.
    fn scan(&mut self, filter: &Filter, each: &mut dyn FnMut(&Record)) -> Result<(), StoreFault>;
}

/// What of spendings has to be told apart: the rest may come as sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cuts {
    /// Instants, ascending. No sum is of requests on both sides of one; what was admitted before the first is
    /// left out.
    pub at: Vec<Timestamp>,
    /// What was admitted from here on is told by run, too.
    pub runs_since: Option<Timestamp>,
}

impl From<Timestamp> for Cuts {
    fn from(since: Timestamp) -> Self {
        Self { at: vec![since], runs_since: None }
    }
}

/// What one admitted request spent, and whose: what budgets are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending<'a> {
    /// The request's id; 0 for a sum of requests.
    pub id: u128,
    /// When budgets charge it; of a sum, the earliest of its requests.
    pub admitted_at: Timestamp,
    /// The caller's team.
    pub team: &'a str,
    /// The key's name within the team.
    pub key: &'a str,
    /// End user as the client named them; empty if it named none.
    pub user: &'a str,
    /// Run as the client named it; empty if it named none, and in sums.
    pub run: &'a str,
    /// Model asked for.
    pub model: &'a str,
    /// Labels of the request.
    pub tags: &'a BTreeMap<String, String>,
    /// What it cost; `None` when no price is known.
    pub cost: Option<NanoUsd>,
    /// Input and output tokens together.
    pub tokens: u64,
    /// One, or how many a sum is of.
    pub requests: u64,
    /// It is in a sum, too, and counts here for its run alone.
    pub is_of_run_alone: bool,
}

impl<'a> Spending<'a> {
    /// What `record` spent; `None` if it was never admitted.
    #[must_use]
    pub fn of(record: &'a Record) -> Option<Self> {
        (record.admitted_at > 0).then(|| Self {
            id: record.id,
            admitted_at: Timestamp::from_nanos(record.admitted_at),
            team: &record.team,
            key: &record.key,
            user: &record.user,
            run: &record.run,
            model: &record.model,
            tags: &record.tags,
            cost: record.cost,
            tokens: record.usage.total_tokens(),
            requests: 1,
            is_of_run_alone: false,
        })
    }
}

/// Which records a report is about. Everything left `None` lets all through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Begun at this instant or later.
    pub since: Option<Timestamp>,
    /// Begun before this instant.
    pub until: Option<Timestamp>,
    /// Of this team.
    pub team: Option<String>,
    /// Of this key name.
    pub key: Option<String>,
    /// Asking for this model.
    pub model: Option<String>,
    /// Answered by this upstream.
    pub upstream: Option<String>,
    /// For this end user.
    pub user: Option<String>,
    /// Of this run.
    pub run: Option<String>,
    /// With all of these tags.
    pub tags: Vec<(String, String)>,
}

impl Filter {
    /// Whether `record` is let through. The law for every engine, however it searches.
    #[must_use]
    pub fn lets_through(&self, record: &Record) -> bool {
        let begun = Timestamp::from_nanos(record.started_at);
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|w| w == value);
        self.since.is_none_or(|since| begun >= since)
            && self.until.is_none_or(|until| begun < until)
            && is(&self.team, &record.team)
            && is(&self.key, &record.key)
            && is(&self.model, &record.model)
            && is(&self.upstream, &record.upstream)
            && is(&self.user, &record.user)
            && is(&self.run, &record.run)
            && self.tags.iter().all(|(name, value)| record.tags.get(name) == Some(value))
    }
}

/// Failed to use a ledger. Ours or the machine's fault, never a caller's.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The database said no; trying again later may help.
    #[error("failed to {doing}: {source}")]
    Engine {
        /// What was tried.
        doing: &'static str,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// A file could not be made or opened.
    #[error("failed to open {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was written by a later Tollgate.
    #[error("{} has ledger version {found}, this Tollgate knows up to {known}: use the newer Tollgate, or another `data_dir`", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Our latest.
        known: i64,
    },
    /// The file was written by an earlier Tollgate, and no gateway of this version has started on it yet.
    #[error("{} has ledger version {found}, this Tollgate reads {known}: the next start of `tollgate serve` brings it up to date", path.display())]
    Older {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is a database, but not a ledger.
    #[error("{} is not a Tollgate ledger: move it away, or use another `data_dir`", path.display())]
    NotALedger {
        /// Which file.
        path: PathBuf,
    },
    /// The linked SQLite has the bug that can lose a WAL (fixed in 3.51.3).
    #[error("SQLite {found} can lose committed rows: Tollgate needs 3.51.3 or later")]
    OldEngine {
        /// The linked version.
        found: &'static str,
    },
    /// The journal was tidied up while it was being read: begin again.
    #[error("the journal moved on while it was read: try again")]
    Moved,
    /// Records that are not in the ledger yet could not be read from the journal.
    #[error("failed to read records on their way to the ledger: {0}")]
    Tail(#[source] Box<dyn std::error::Error + Send + Sync>),
}
