use std::sync::Arc;

use tempfile::TempDir;

use crate::base::money::NanoUsd;
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
    let spent = books.spent_since(Scope::Team("search"), Timestamp::from_secs(0)).unwrap();
    assert_eq!(spent, Spent { cost: NanoUsd::new(2_000), tokens: 30 });
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
