use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::base::clock::{Clock, Timestamp};
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
    fn retire(&mut self, before: Timestamp, at_most: u32) -> Result<u64, StoreFault> {
        self.store.retire(before, at_most)
    }
    fn retired(&mut self) -> Result<Option<Retired>, StoreFault> {
        self.store.retired()
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
    ledger.execute("DELETE FROM entries WHERE entry > 5", []).unwrap();
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
    dir: PathBuf,
    survives_in: PathBuf,
    saved: usize,
    /// Rows that were saved, and rows that a loss of power would have left, each time when it was hardened.
    cuts: Arc<Mutex<Vec<(usize, usize)>>>,
}

impl LedgerStore for Losing {
    fn append(&mut self, rows: &[Record], checkpoint: &Checkpoint) -> Result<(), StoreFault> {
        self.saved += rows.len();
        self.store.append(rows, checkpoint)
    }
    fn retire(&mut self, before: Timestamp, at_most: u32) -> Result<u64, StoreFault> {
        self.store.retire(before, at_most)
    }
    fn retired(&mut self) -> Result<Option<Retired>, StoreFault> {
        self.store.retired()
    }
    fn checkpoint(&mut self) -> Result<Option<Checkpoint>, StoreFault> {
        self.store.checkpoint()
    }
    fn harden(&mut self) -> Result<(), StoreFault> {
        self.cuts.lock().unwrap().push((self.saved, after_a_cut(&self.dir, &self.survives_in).len()));
        self.store.harden()?;
        copy(&self.dir, &self.survives_in);
        Ok(())
    }
}

/// Copies the files of a folder, not those of folders in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What is found with the ledger as it was hardened last, and the journal as it is now.
fn after_a_cut(dir: &Path, survives_in: &Path) -> Vec<u128> {
    let found = tempfile::tempdir().unwrap();
    copy(survives_in, found.path());
    copy(&dir.join("journal"), &found.path().join("journal"));
    assert!(self::writer(&journal(&found, 4_000)).settled(PATIENCE));
    ids(&found)
}

// FAULTS L3
#[test]
fn a_power_cut_never_finds_a_row_in_neither_ledger_nor_journal() {
    let dir = tempfile::tempdir().unwrap();
    let survivor = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 4_000);
    let cuts = Arc::<Mutex<Vec<(usize, usize)>>>::default();
    let store = Losing {
        store: SqliteLedger::open(dir.path()).unwrap(),
        dir: dir.path().into(),
        survives_in: survivor.path().into(),
        saved: 0,
        cuts: Arc::clone(&cuts),
    };
    let writer = start(Arc::clone(&journal), Box::new(store)).unwrap();
    for id in 0..300 {
        journal.intend(&intent(id)).unwrap();
        journal.close(&record(id)).unwrap();
        if id % 20 == 0 {
            assert!(writer.settled(PATIENCE));
        }
    }
    assert!(writer.stop().segments_deleted > 10);
    assert_eq!(after_a_cut(dir.path(), survivor.path()), (0..300).collect::<Vec<_>>());
    let cuts = cuts.lock().unwrap();
    assert!(cuts.len() > 5 && cuts.iter().all(|(saved, found)| found >= saved), "{cuts:?}");
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
    fn retire(&mut self, before: Timestamp, at_most: u32) -> Result<u64, StoreFault> {
        self.store.retire(before, at_most)
    }
    fn retired(&mut self) -> Result<Option<Retired>, StoreFault> {
        self.store.retired()
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

/// Keeps 40 days, at a time when the sample records are 50 days old.
fn retiring(journal: &Arc<Journal>) -> WriterHandle {
    let days = |days: u64| Duration::from_hours(24 * days);
    let clock = Clock::manual(Timestamp::from_nanos(record(1).started_at));
    clock.advance(days(50));
    let store = SqliteLedger::open(journal.data_dir()).unwrap();
    let retention = Some(Retention { keep: days(40), clock });
    start_retiring(Arc::clone(journal), Box::new(store), retention).unwrap()
}

/// As [`record`], twenty days later: still kept.
fn young(id: u128) -> Record {
    let later = record(id).started_at + 20 * 86_400 * 1_000_000_000;
    Record { started_at: later, admitted_at: later, ..record(id) }
}

/// Sums of what was spent since `since`: cost and requests.
fn spent(dir: &TempDir, since: i64) -> (i64, u64) {
    let (mut cost, mut requests) = (0, 0);
    let each = &mut |spent: &Spending<'_>| {
        cost += spent.cost.unwrap_or_default().as_nanos();
        requests += spent.requests;
    };
    Books::open(dir.path()).unwrap().spendings(Timestamp::from_nanos(since), each).unwrap();
    (cost, requests)
}

// FAULTS L22
#[test]
fn old_rows_go_in_slices_and_their_sums_stay() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    let old = |id| Record { team: format!("team-{}", id % 3), user: "u".into(), ..record(id) };
    (0..2_500).for_each(|id| journal.close(&old(id)).unwrap());
    journal
        .close(&Record { outcome: crate::store::record::Outcome::Refused, admitted_at: 0, ..record(2_500) })
        .unwrap();
    (3_000..3_010).for_each(|id| journal.close(&young(id)).unwrap());
    let before = spent(&dir, i64::MIN);
    let writer = retiring(&journal);
    wait_for(&writer, |status| status.rows_retired == 2_501);
    drop(writer);
    assert_eq!(ids(&dir), (3_000..3_010).collect::<Vec<_>>());
    assert_eq!((spent(&dir, i64::MIN), before), (before, (2_510_000, 2_510)));
    assert_eq!(spent(&dir, young(1).admitted_at), (10_000, 10), "windows that began later have none of it");
    let retired = Books::open(dir.path()).unwrap().retired().unwrap().unwrap();
    assert_eq!((retired.rows, retired.before.as_nanos()), (2_501, record(1).started_at + 1));
}

#[test]
fn a_journal_that_is_read_again_does_not_bring_back_what_was_retired() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir, 1 << 20);
    (0..100).for_each(|id| journal.close(&record(id)).unwrap());
    journal.close(&young(100)).unwrap();
    let writer = retiring(&journal);
    wait_for(&writer, |status| status.rows_retired == 100);
    drop(writer);
    // as after a loss of power that took the journal's tail: the checkpoint is not believed
    let ledger = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    ledger.execute("DELETE FROM checkpoint", []).unwrap();
    assert_eq!(spent(&dir, i64::MIN), (101_000, 101), "read from both");
    drop(self::writer(&journal));
    assert_eq!((ids(&dir), spent(&dir, i64::MIN)), (vec![100], (101_000, 101)));
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
