use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::base::clock::Timestamp;
use crate::base::units::Size;
use crate::ledger::books::Books;
use crate::ledger::section::LedgerSection;
use crate::store::ledger::{Filter, LedgerReader, Spending};
use crate::store::samples::{intent, record};
use crate::store::sqlite::{FILE_NAME, SqliteLedger, SqliteReader};

use super::*;

/// Generous: nothing here waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn journal(dir: &TempDir, segment_size: u64) -> Arc<Journal> {
    let section = LedgerSection { segment_size: Size(segment_size), ..LedgerSection::default() };
    Arc::new(Journal::open(dir.path(), &section).unwrap())
}

fn writer(journal: &Arc<Journal>) -> WriterHandle {
    let store = SqliteLedger::open(journal.data_dir()).unwrap();
    start(Arc::clone(journal), Box::new(store)).unwrap()
}

fn ids(dir: &TempDir) -> Vec<u128> {
    let mut ids = Vec::new();
    let mut reader = SqliteReader::open(dir.path()).unwrap().unwrap();
    reader.scan(&Filter::default(), &mut |row| ids.push(row.id)).unwrap();
    ids.sort_unstable();
    ids
}

fn segments(dir: &TempDir) -> usize {
    std::fs::read_dir(dir.path().join("journal")).unwrap().count()
}

/// A store that can be switched off.
struct Moody {
    store: SqliteLedger,
    away: Arc<AtomicBool>,
}

impl Moody {
    fn check(&self) -> Result<(), StoreFault> {
        if self.away.load(Ordering::SeqCst) { Err(StoreFault::Moved) } else { Ok(()) }
    }
}

impl LedgerStore for Moody {
    fn append(&mut self, rows: &[Record], checkpoint: &Checkpoint) -> Result<(), StoreFault> {
        self.check()?;
        self.store.append(rows, checkpoint)
    }
    fn checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreFault> {
        self.check()?;
        self.store.checkpoint()
    }
    fn harden(&mut self) -> Result<(), StoreFault> {
        self.check()?;
        self.store.harden()
    }
}

#[test]
fn every_closed_request_becomes_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    let writer = writer(&journal);
    for id in 0..2_500 {
        journal.intend(&intent(id)).unwrap();
        journal.close(&record(id)).unwrap();
    }
    journal.intend(&intent(9_999)).unwrap();
    assert!(writer.settled(PATIENCE));
    assert_eq!(ids(&dir), (0..2_500).collect::<Vec<_>>());
    let status = writer.status();
    assert_eq!((status.rows_written, status.open_intents, status.lag_bytes), (2_500, 1, 0));
}

#[test]
fn a_row_is_written_without_being_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    let writer = writer(&journal);
    assert!(writer.settled(PATIENCE));
    journal.close(&record(1)).unwrap();
    let end = journal.end();
    let (status, _) = writer
        .progress
        .moved
        .wait_timeout_while(writer.progress.status(), PATIENCE, |status| status.settled_to < end)
        .unwrap();
    assert_eq!(status.rows_written, 1);
}

#[test]
fn stopping_settles_what_was_closed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    let writer = writer(&journal);
    journal.close(&record(1)).unwrap();
    assert_eq!(writer.stop().lag_bytes, 0);
    assert_eq!(ids(&dir), [1]);
}

#[test]
fn settling_again_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    for id in 0..10 {
        journal.close(&record(id)).unwrap();
    }
    drop(writer(&journal));
    // a ledger from a backup, older than the journal: its checkpoint is gone
    let ledger = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    ledger.execute("DELETE FROM checkpoint", []).unwrap();
    ledger.execute("DELETE FROM requests WHERE rowid > 5", []).unwrap();
    journal.close(&record(10)).unwrap();
    drop(writer(&journal));
    assert_eq!(ids(&dir), (0..11).collect::<Vec<_>>());
}

#[test]
fn a_next_start_goes_on_where_the_last_one_was() {
    let dir = tempfile::tempdir().unwrap();
    let first = journal(&dir, 1 << 20);
    first.intend(&intent(1)).unwrap();
    first.close(&record(2)).unwrap();
    drop(writer(&first));
    drop(first);
    let second = journal(&dir, 1 << 20);
    second.close(&record(1)).unwrap();
    let status = writer(&second).stop();
    assert_eq!((status.rows_written, status.open_intents), (1, 0));
    assert_eq!(ids(&dir), [1, 2]);
}

#[test]
fn a_store_that_was_away_gets_everything_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1_000);
    let away = Arc::new(AtomicBool::new(true));
    let store = Moody { store: SqliteLedger::open(dir.path()).unwrap(), away: Arc::clone(&away) };
    let writer = start(Arc::clone(&journal), Box::new(store)).unwrap();
    for id in 0..500 {
        journal.close(&record(id)).unwrap();
    }
    let (status, _) = writer
        .progress
        .moved
        .wait_timeout_while(writer.progress.status(), PATIENCE, |status| status.failures == 0)
        .unwrap();
    assert!(status.last_error.is_some() && status.rows_written == 0);
    drop(status);
    assert!(writer.status().lag_bytes > 10_000 && ids(&dir).is_empty());
    away.store(false, Ordering::SeqCst);
    assert!(writer.settled(PATIENCE));
    assert_eq!(ids(&dir), (0..500).collect::<Vec<_>>());
    assert_eq!(writer.stop().last_error, None);
}

// FAULTS L14
#[test]
fn a_stop_while_the_store_is_away_leaves_it_to_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    let away = Arc::new(AtomicBool::new(true));
    let store = Moody { store: SqliteLedger::open(dir.path()).unwrap(), away };
    let moody = start(Arc::clone(&journal), Box::new(store)).unwrap();
    journal.close(&record(1)).unwrap();
    let status = moody.stop();
    assert!(status.lag_bytes > 0 && status.last_error.is_some());
    drop(writer(&journal));
    assert_eq!(ids(&dir), [1]);
}

#[test]
fn settled_segments_go_and_no_row_goes_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1_000);
    let writer = writer(&journal);
    for id in 0..300 {
        journal.intend(&intent(id)).unwrap();
        journal.close(&record(id)).unwrap();
        if id % 50 == 0 {
            assert!(writer.settled(PATIENCE));
        }
    }
    let status = writer.stop();
    assert_eq!(ids(&dir), (0..300).collect::<Vec<_>>());
    assert_eq!((segments(&dir), status.segments_deleted), (1, journal.end().segment - 1));
}

#[test]
fn an_open_request_keeps_its_segment_however_old() {
    let dir = tempfile::tempdir().unwrap();
    let first = journal(&dir, 1_000);
    first.close(&record(1_000)).unwrap();
    first.intend(&intent(5)).unwrap();
    let kept_from = first.end().segment;
    for id in 100..200 {
        first.close(&record(id)).unwrap();
    }
    drop(writer(&first));
    let all = usize::try_from(first.end().segment - kept_from + 1).unwrap();
    assert_eq!(segments(&dir), all);
    first.close(&record(5)).unwrap();
    drop(writer(&first));
    assert_eq!(segments(&dir), 1);
    assert!(ids(&dir).contains(&5) && ids(&dir).len() == 102);
}

#[test]
fn a_journal_that_was_lost_does_not_hide_its_successor() {
    let dir = tempfile::tempdir().unwrap();
    let first = journal(&dir, 1 << 20);
    (0..50).for_each(|id| first.close(&record(id)).unwrap());
    drop(writer(&first));
    drop(first);
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let second = journal(&dir, 1 << 20);
    let writer = writer(&second);
    assert!(writer.settled(PATIENCE));
    (50..150).for_each(|id| second.close(&record(id)).unwrap());
    drop(writer);
    assert_eq!(ids(&dir), (0..150).collect::<Vec<_>>());
}

/// A store of which a loss of power leaves what it had when it was last hardened.
struct Losing {
    store: SqliteLedger,
    dir: std::path::PathBuf,
    survives_in: std::path::PathBuf,
}

impl LedgerStore for Losing {
    fn append(&mut self, rows: &[Record], checkpoint: &Checkpoint) -> Result<(), StoreFault> {
        self.store.append(rows, checkpoint)
    }
    fn checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreFault> {
        self.store.checkpoint()
    }
    fn harden(&mut self) -> Result<(), StoreFault> {
        self.store.harden()?;
        for name in [FILE_NAME.to_owned(), format!("{FILE_NAME}-wal")] {
            std::fs::copy(self.dir.join(&name), self.survives_in.join(&name)).unwrap();
        }
        Ok(())
    }
}

// FAULTS L3
#[test]
fn a_power_cut_never_finds_a_row_in_neither_ledger_nor_journal() {
    let dir = tempfile::tempdir().unwrap();
    let survivor = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 4_000);
    let store = SqliteLedger::open(dir.path()).unwrap();
    let store = Losing { store, dir: dir.path().into(), survives_in: survivor.path().into() };
    let writer = start(Arc::clone(&journal), Box::new(store)).unwrap();
    let mut begun_anew = 0;
    for id in 0..300 {
        journal.intend(&intent(id)).unwrap();
        journal.close(&record(id)).unwrap();
        if id % 10 != 0 {
            continue;
        }
        assert!(writer.settled(PATIENCE));
        // the ledger as it was hardened last, and the journal as it is
        let found = tempfile::tempdir().unwrap();
        for (from, to) in [
            (survivor.path().into(), found.path().into()),
            (dir.path().join("journal"), found.path().join("journal")),
        ] {
            let (from, to): (std::path::PathBuf, std::path::PathBuf) = (from, to);
            std::fs::create_dir_all(&to).unwrap();
            for entry in std::fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
        let after = self::journal(&found, 4_000);
        assert!(self::writer(&after).settled(PATIENCE));
        assert_eq!(ids(&found), (0..=id).collect::<Vec<_>>(), "cut after {id}");
        begun_anew += 1;
    }
    assert!(begun_anew == 30 && writer.stop().segments_deleted > 10);
}

/// A store that panics, once, after it has saved a batch.
struct Clumsy {
    store: SqliteLedger,
    has_fallen: bool,
}

impl LedgerStore for Clumsy {
    fn append(&mut self, rows: &[Record], checkpoint: &Checkpoint) -> Result<(), StoreFault> {
        self.store.append(rows, checkpoint)?;
        assert!(rows.is_empty() || std::mem::replace(&mut self.has_fallen, true), "it falls");
        Ok(())
    }
    fn checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreFault> {
        self.store.checkpoint()
    }
    fn harden(&mut self) -> Result<(), StoreFault> {
        self.store.harden()
    }
}

// FAULTS L15
#[test]
fn a_writer_that_panics_begins_again_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    (0..2_500).for_each(|id| journal.close(&record(id)).unwrap());
    let store = Clumsy { store: SqliteLedger::open(dir.path()).unwrap(), has_fallen: false };
    let writer = start(Arc::clone(&journal), Box::new(store)).unwrap();
    assert!(writer.settled(PATIENCE));
    assert_eq!((ids(&dir), writer.status().failures), ((0..2_500).collect(), 1));
}

// FAULTS L13
#[test]
fn an_outcome_that_comes_twice_counts_once_as_it_came_first() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    let late = Record { cost: Some(crate::base::money::NanoUsd::new(9)), team: "late".into(), ..record(1) };
    let mut books = Books::open(dir.path()).unwrap();
    let mut spent = || {
        let mut spent = Vec::new();
        let each = &mut |s: &Spending<'_>| spent.push((s.id, s.team.to_owned(), s.cost));
        books.spendings(Timestamp::from_nanos(0), each).unwrap();
        spent
    };
    journal.close(&record(1)).unwrap();
    let first = spent();
    journal.close(&late).unwrap();
    assert_eq!(spent(), first, "both on their way");
    drop(writer(&journal));
    assert_eq!(spent(), first, "both settled");
    journal.close(&late).unwrap();
    assert_eq!(spent(), first, "one settled, one on its way");
    drop(writer(&journal));
    assert_eq!((ids(&dir), spent()), (vec![1], first));
}

fn wait_for(writer: &WriterHandle, state: impl Fn(&WriterStatus) -> bool) {
    let not_yet = |status: &mut WriterStatus| !state(status);
    let (status, _) =
        writer.progress.moved.wait_timeout_while(writer.progress.status(), PATIENCE, not_yet).unwrap();
    assert!(state(&status), "{status:?}");
}

#[test]
fn outcomes_that_a_full_disk_turned_away_are_settled_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    let writer = writer(&journal);
    let folder = dir.path().join("journal");
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away).unwrap();
    journal.fill_disk();
    journal.close(&record(1)).unwrap();
    wait_for(&writer, |status| status.last_error.is_some());
    std::fs::rename(&away, &folder).unwrap();
    wait_for(&writer, |status| status.rows_written == 1 && status.last_error.is_none());
    assert_eq!((ids(&dir), journal.unwritten()), (vec![1], 0));
}
