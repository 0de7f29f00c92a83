use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::ledger::books::Books;
use crate::ledger::section::LedgerSection;
use crate::ledger::writer;
use crate::store::ledger::{LedgerStore, Spending};
use crate::store::samples::{intent, record};
use crate::store::sqlite::SqliteLedger;

use super::*;

#[test]
fn a_request_whose_end_nobody_saw_is_charged_at_its_reservation_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), &LedgerSection::default()).unwrap();
    for id in 0..600 {
        journal.intend(&intent(id)).unwrap();
        if id % 2 == 0 {
            journal.close(&record(id)).unwrap();
        }
    }
    drop(journal);
    let journal = Journal::open(dir.path(), &LedgerSection::default()).unwrap();
    let found = Recovered { interrupted: 300, cost: NanoUsd::new(300 * 4_000) };
    assert_eq!(recover(&journal, None).unwrap(), found);
    assert_eq!(recover(&journal, None).unwrap(), Recovered::default());
    let mut books = Books::open(dir.path()).unwrap();
    let (mut cost, mut tokens) = (NanoUsd::ZERO, 0);
    let each = &mut |spent: &Spending<'_>| {
        cost = cost + spent.cost.unwrap();
        tokens += spent.tokens;
    };
    books.spendings(Timestamp::from_nanos(0), each).unwrap();
    assert_eq!((cost, tokens), (NanoUsd::new(300 * 4_000 + 300 * 1_000), 300 * 40 + 300 * 15));
    assert_eq!(books.open_intents().unwrap(), 0);
}

#[test]
fn recovery_begins_at_the_ledgers_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(Journal::open(dir.path(), &LedgerSection::default()).unwrap());
    journal.intend(&intent(1)).unwrap();
    journal.close(&record(2)).unwrap();
    drop(writer::start(Arc::clone(&journal), Box::new(SqliteLedger::open(dir.path()).unwrap())).unwrap());
    let checkpoint = SqliteLedger::open(dir.path()).unwrap().checkpoint().unwrap();
    assert_eq!(recover(&journal, checkpoint).unwrap().interrupted, 1);
}

#[test]
fn an_unknown_price_stays_unknown() {
    let unpriced = Intent { reserved: NanoUsd::ZERO, catalogue: String::new(), ..intent(1) };
    assert_eq!(interrupted(unpriced).cost, None);
    let free = Intent { reserved: NanoUsd::ZERO, ..intent(1) };
    assert_eq!(interrupted(free).cost, Some(NanoUsd::ZERO));
}
