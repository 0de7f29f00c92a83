//! The ledger's file: opening it safely, and its schema by versions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::store::ledger::StoreFault;
use crate::store::place;

/// The ledger's file in the data directory.
pub const FILE_NAME: &str = "ledger.db";

/// Opens the ledger in `data_dir` to write, making or migrating it where needed.
pub(super) fn open_to_write(data_dir: &Path) -> Result<Connection, StoreFault> {
    check_engine(rusqlite::version_number(), rusqlite::version())?;
    let path = data_dir.join(FILE_NAME);
    let file_fault = |source| StoreFault::File { path: path.clone(), source };
    place::private_dir(data_dir).map_err(file_fault)?;
    // made here rather than by SQLite, for its mode; SQLite gives -wal and -shm the same
    place::private_file(&path).map_err(file_fault)?;
    let mut connection = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(engine("open the ledger"))?;
    settle_pragmas(&connection).map_err(engine("set up the ledger"))?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens the ledger in `data_dir` to read; `None` where there is none yet.
pub(super) fn open_to_read(data_dir: &Path) -> Result<Option<Connection>, StoreFault> {
    let path = data_dir.join(FILE_NAME);
    if !path.try_exists().map_err(|source| StoreFault::File { path: path.clone(), source })? {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(
        &path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(engine("open the ledger"))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(engine("set up the ledger"))?;
    let version = version(&connection, &path)?;
    // a file that its maker has not filled yet holds no rows
    if version == 0 {
        return Ok(None);
    }
    // readers write nothing: they cannot bring it up to date
    if version < known() {
        return Err(StoreFault::Older { path, found: version, known: known() });
    }
    refuse_newer(version, path)?;
    Ok(Some(connection))
}

/// Turns what the database said into a fault that says what was tried.
pub(super) fn engine(doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreFault {
    move |source| StoreFault::Engine { doing, source }
}

/// Longer than any reader's step, short enough that a stop is not held up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// `SQLite` before 3.51.3 can lose a WAL when two connections checkpoint at once (FAULTS, L4).
const OLDEST_ENGINE: i32 = 3_051_003;

/// `tlgt`: so that no other program's database is taken for a ledger.
const APPLICATION_ID: i64 = 0x746c_6774;

/// One step per version: the first makes version 1 of an empty file, and so on. Never edit one that
/// was released; add the next.
const MIGRATIONS: [&str; 4] =
    [include_str!("v1.sql"), include_str!("v2.sql"), include_str!("v3.sql"), include_str!("v4.sql")];

fn settle_pragmas(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // NORMAL survives the process; what a loss of power takes is still in our journal
    connection
        .execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -8192;")
}

fn migrate(connection: &mut Connection, path: PathBuf) -> Result<(), StoreFault> {
    let fault = engine("migrate the ledger");
    let step =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(&fault)?;
    let from = version(&step, &path)?;
    refuse_newer(from, path)?;
    let from = usize::try_from(from).unwrap_or(0);
    for (done, migration) in MIGRATIONS.iter().enumerate().skip(from) {
        step.execute_batch(migration).map_err(&fault)?;
        step.execute(
            "INSERT INTO schema_versions (version) VALUES (?1)",
            [i64::try_from(done + 1).expect("there are few migrations")],
        )
        .map_err(&fault)?;
    }
    if from == 0 {
        step.pragma_update(None, "application_id", APPLICATION_ID).map_err(&fault)?;
    }
    step.commit().map_err(&fault)
}

/// The file's schema version; 0 when it is empty.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreFault> {
    let fault = engine("read the ledger's version");
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    if number("SELECT count(*) FROM sqlite_schema").map_err(&fault)? == 0 {
        return Ok(0);
    }
    if number("PRAGMA application_id").map_err(&fault)? != APPLICATION_ID {
        return Err(StoreFault::NotALedger { path: path.to_owned() });
    }
    number("SELECT coalesce(max(version), 0) FROM schema_versions").map_err(&fault)
}

fn refuse_newer(found: i64, path: PathBuf) -> Result<(), StoreFault> {
    if found > known() { Err(StoreFault::Newer { path, found, known: known() }) } else { Ok(()) }
}

/// The version that this Tollgate reads and writes.
fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).expect("there are few migrations")
}

fn check_engine(number: i32, found: &'static str) -> Result<(), StoreFault> {
    if number < OLDEST_ENGINE { Err(StoreFault::OldEngine { found }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use crate::base::clock::Timestamp;
    use crate::store::ledger::{Checkpoint, Filter, LedgerReader as _, LedgerStore as _};
    use crate::store::record::{Billing, Disconnect};
    use crate::store::samples::record;
    use crate::store::sqlite::{SqliteLedger, SqliteReader};

    use super::*;

    // FAULTS L4
    #[test]
    fn an_engine_that_loses_rows_is_refused() {
        assert!(matches!(check_engine(3_051_002, "3.51.2"), Err(StoreFault::OldEngine { .. })));
        assert!(check_engine(rusqlite::version_number(), rusqlite::version()).is_ok());
    }

    #[test]
    fn a_newer_file_is_refused_by_reader_and_writer_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let connection = open_to_write(dir.path()).unwrap();
        connection.execute("INSERT INTO schema_versions (version) VALUES (99)", []).unwrap();
        drop(connection);
        let fault = open_to_write(dir.path()).unwrap_err();
        assert!(matches!(fault, StoreFault::Newer { found: 99, known: 4, .. }), "{fault}");
        assert!(matches!(open_to_read(dir.path()), Err(StoreFault::Newer { .. })));
    }

    #[test]
    fn a_file_of_version_1_is_taken_over_with_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch("INSERT INTO schema_versions (version) VALUES (1)").unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        for (id, outcome, attempts) in [(1, "completed", 1), (2, "refused", 0), (3, "refused", 1)] {
            let row = format!(
                "INSERT INTO requests SELECT unhex(printf('%032x', {id})), {id} * 1000, '{outcome}', 200, '', 'search', \
                 'prod', 'u', 'r', 's', '{{\"a\":\"b\"}}', 'chat_completions', 'gpt-4o', '', '', '', {attempts}, 0, \
                 'off', 10, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 'reported', 7, 0, 0, 0, '', '', 0, 0, 0, 0, ''"
            );
            old.execute_batch(&row).unwrap();
        }
        drop(old);
        let fault = SqliteReader::open(dir.path()).unwrap_err();
        assert!(matches!(fault, StoreFault::Older { found: 1, .. }), "{fault}");
        drop(open_to_write(dir.path()).unwrap());
        let mut reader = SqliteReader::open(dir.path()).unwrap().unwrap();
        let mut rows = Vec::new();
        reader.scan(&Filter::default(), &mut |row| rows.push(row.clone())).unwrap();
        let told: Vec<_> = rows.iter().map(|row| (row.id, row.started_at, row.admitted_at)).collect();
        assert_eq!(told, [(1, 1_000, 1_000), (2, 2_000, 0), (3, 3_000, 3_000)]);
        assert_eq!((rows[0].tags["a"].as_str(), rows[0].disconnect), ("b", Disconnect::None));
        assert_eq!((rows[0].parent, rows[0].billing), (0, Billing::AtOnce));
        let mut spent = Vec::new();
        let snapshot = reader.snapshot().unwrap();
        snapshot.spendings(Timestamp::from_nanos(0), &mut |s| spent.push((s.id, s.tokens))).unwrap();
        assert_eq!(spent, [(1, 15), (3, 15)]);
        // a request that was on its way when the ledger was migrated is not saved twice; and old rows come into
        // the sums like new ones
        let mut ledger = SqliteLedger::open(dir.path()).unwrap();
        ledger.append(&[record(2), record(4)], &Checkpoint::default()).unwrap();
        assert_eq!(ledger.sum_up(1, 2).unwrap(), 2);
        assert_eq!(ledger.sum_up(1, 10).unwrap(), 2);
        let (mut count, mut tokens) = (0, 0);
        let mut reader = SqliteReader::open(dir.path()).unwrap().unwrap();
        reader.scan(&Filter::default(), &mut |_| count += 1).unwrap();
        let snapshot = reader.snapshot().unwrap();
        snapshot.spendings(Timestamp::from_nanos(0), &mut |s| tokens += s.tokens).unwrap();
        drop(snapshot);
        assert_eq!((count, tokens), (4, 45));
        assert_eq!(ledger.retire(Timestamp::from_nanos(2_500), 10).unwrap(), 2);
        let mut left = Vec::new();
        reader.scan(&Filter::default(), &mut |row| left.push(row.id)).unwrap();
        assert_eq!(left, [3, 4]);
        // the old table is empty some day, and the new rows are summed and retired as ever
        assert_eq!(ledger.retire(Timestamp::from_nanos(3_001), 10).unwrap(), 1);
        let by_hand = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        by_hand.execute("UPDATE summed SET requests_v3 = 1000", []).unwrap();
        ledger.append(&[record(5)], &Checkpoint::default()).unwrap();
        assert_eq!(ledger.sum_up(1, 10).unwrap(), 1);
        ledger.append(&[record(6)], &Checkpoint::default()).unwrap();
        assert_eq!(ledger.retire(Timestamp::from_nanos(i64::MAX), 10).unwrap(), 3);
    }

    #[test]
    fn a_foreign_database_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        foreign.execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
        assert!(matches!(open_to_write(dir.path()), Err(StoreFault::NotALedger { .. })));
    }

    #[test]
    fn opening_again_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open_to_read(dir.path()).unwrap().is_none());
        drop(open_to_write(dir.path()).unwrap());
        let connection = open_to_write(dir.path()).unwrap();
        assert_eq!(version(&connection, dir.path()).unwrap(), 4);
        assert!(open_to_read(dir.path()).unwrap().is_some());
    }
}
