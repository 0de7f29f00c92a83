use std::sync::Arc;

use tempfile::TempDir;

use crate::ledger::journal::Journal;
use crate::ledger::section::LedgerSection;
use crate::ledger::writer;
use crate::store::samples::{intent, record};
use crate::store::sqlite::SqliteLedger;

use super::*;

fn journal(dir: &TempDir) -> Arc<Journal> {
    Arc::new(Journal::open(dir.path(), &LedgerSection::default()).unwrap())
}

fn settle(journal: &Arc<Journal>) {
    let store = SqliteLedger::open(journal.data_dir()).unwrap();
    drop(writer::start(Arc::clone(journal), Box::new(store)).unwrap());
}

fn ids(books: &mut Books) -> Vec<u128> {
    let mut ids = Vec::new();
    books.scan(&Filter::default(), &mut |record| ids.push(record.id)).unwrap();
    ids.sort_unstable();
    ids
}

#[test]
fn books_are_complete_whatever_the_writer_has_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut books = Books::open(dir.path()).unwrap();
    assert!(books.are_blank().unwrap() && ids(&mut books).is_empty());
    let journal = journal(&dir);
    journal.intend(&intent(7)).unwrap();
    journal.close(&record(1)).unwrap();
    assert_eq!(ids(&mut books), [1], "nothing settled");
    settle(&journal);
    assert_eq!(ids(&mut books), [1], "all settled");
    journal.close(&record(2)).unwrap();
    assert_eq!(ids(&mut books), [1, 2], "half settled");
    assert_eq!(books.open_intents().unwrap(), 1);
}

#[test]
fn a_record_is_counted_once_even_if_it_is_in_both() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    journal.close(&record(1)).unwrap();
    settle(&journal);
    journal.close(&record(1)).unwrap();
    journal.close(&record(2)).unwrap();
    journal.close(&record(2)).unwrap();
    assert_eq!(ids(&mut Books::open(dir.path()).unwrap()), [1, 2]);
}

/// Ids of what was spent, and the place up to which that is all.
fn spent(books: &mut Books, since: i64) -> (Vec<u128>, Position) {
    let mut ids = Vec::new();
    let to = books.spendings(Timestamp::from_nanos(since), &mut |spent| ids.push(spent.id)).unwrap();
    ids.sort_unstable();
    (ids, to)
}

#[test]
fn spending_is_complete_up_to_a_place_and_goes_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    let mut books = Books::open(dir.path()).unwrap();
    assert_eq!(spent(&mut books, 0).0, []);
    let at = |id, admitted_at| Record { admitted_at, ..record(id) };
    journal.close_all(&[at(1, 10), at(2, 20), at(3, 0)]).unwrap();
    settle(&journal);
    journal.close_all(&[at(2, 20), at(4, 40)]).unwrap();
    let (ids, to) = spent(&mut books, 0);
    assert_eq!((ids, to), (vec![1, 2, 4], journal.end()), "3 was never admitted, 2 is in both");
    assert_eq!(spent(&mut books, 20).0, [2, 4]);
    journal.intend(&intent(9)).unwrap();
    journal.close_all(&[at(5, 50), at(6, 0), at(7, 10)]).unwrap();
    let mut more = Vec::new();
    let end = journal.end();
    books.spendings_between(to, end, &mut |spent| more.push(spent.id)).unwrap();
    assert_eq!(more, [5, 7]);
    settle(&journal);
    more.clear();
    books.spendings_between(to, end, &mut |spent| more.push(spent.id)).unwrap();
    assert_eq!(more, [5, 7], "whether or not the ledger has them");
    assert_eq!(spent(&mut books, 0), (vec![1, 2, 4, 5, 7], end));
}

#[test]
fn a_half_written_record_is_behind_the_place_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    journal.close(&record(1)).unwrap();
    let whole = journal.end();
    journal.close(&record(2)).unwrap();
    let path = dir.path().join("journal/journal-0000000001.log");
    let bytes = std::fs::read(&path).unwrap();
    for length in whole.offset..journal.end().offset {
        std::fs::write(&path, &bytes[..usize::try_from(length).unwrap()]).unwrap();
        assert_eq!(spent(&mut Books::open(dir.path()).unwrap(), 0), (vec![1], whole), "cut at {length}");
    }
}

#[test]
fn a_filter_holds_for_both_halves() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    let other = |id| Record { team: "other".into(), ..record(id) };
    journal.close_all(&[record(1), other(2)]).unwrap();
    settle(&journal);
    journal.close_all(&[record(3), other(4)]).unwrap();
    let filter = Filter { team: Some("other".into()), ..Filter::default() };
    let mut found = Vec::new();
    Books::open(dir.path()).unwrap().scan(&filter, &mut |record| found.push(record.id)).unwrap();
    found.sort_unstable();
    assert_eq!(found, [2, 4]);
}

#[test]
fn a_ledger_that_is_behind_a_tidied_journal_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = journal(&dir);
    journal.close(&record(1)).unwrap();
    settle(&journal);
    let segments = dir.path().join("journal");
    std::fs::rename(segments.join("journal-0000000001.log"), segments.join("journal-0000000002.log"))
        .unwrap();
    let fault = Books::open(dir.path()).unwrap().scan(&Filter::default(), &mut |_| ()).unwrap_err();
    assert!(matches!(fault, StoreFault::Moved), "{fault}");
}
