//! Numbers for docs/RELIABILITY.md. Not tests: they tell how long things take on the machine at hand.
//!
//! `cargo test --release --lib -- --ignored --nocapture --test-threads 1 measured`

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::ledger::journal::Journal;
use crate::ledger::recovery::recover;
use crate::ledger::section::LedgerSection;
use crate::ledger::writer;
use crate::store::ledger::{Checkpoint, LedgerStore as _, Position};
use crate::store::record::Record;
use crate::store::samples::{intent, record};
use crate::store::sqlite::SqliteLedger;

// FAULTS L1
#[test]
#[ignore = "a measurement"]
fn measured_recovery_of_a_hundred_thousand_open_intents() {
    let clock = Clock::system();
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), &LedgerSection::default()).unwrap();
    for id in 0..100_000 {
        journal.intend(&full(intent(id))).unwrap();
    }
    drop(journal);
    let began = clock.tick();
    let journal = Journal::open(dir.path(), &LedgerSection::default()).unwrap();
    let opened = clock.tick();
    let recovered = recover(&journal, None).unwrap();
    let closed = clock.tick();
    assert_eq!(recovered.interrupted, 100_000);
    println!(
        "recovery of 100,000 open intents: {:?} to open the journal, {:?} to close them",
        opened.since(began),
        closed.since(opened)
    );
    let journal = Arc::new(journal);
    let store = SqliteLedger::open(dir.path()).unwrap();
    let writer = writer::start(Arc::clone(&journal), Box::new(store)).unwrap();
    assert!(writer.settled(Duration::from_mins(5)));
    println!("  and {:?} to bring them to the ledger, while requests are served", clock.tick().since(closed));
}

// FAULTS L22
#[test]
#[ignore = "a measurement"]
fn measured_batches_beside_retention_of_two_hundred_thousand_rows() {
    let clock = Clock::system();
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = SqliteLedger::open(dir.path()).unwrap();
    let mut offset = 0;
    let mut checkpoint = || {
        offset += 1;
        let at = Position { segment: 1, offset };
        Checkpoint { replay_from: at, settled_to: at }
    };
    for first in (0..200_000).step_by(1_000) {
        let rows: Vec<Record> = (first..first + 1_000).map(old).collect();
        ledger.append(&rows, &checkpoint()).unwrap();
    }
    let now = Timestamp::from_nanos(i64::MAX);
    let (mut slices, mut batches, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..200 {
        let first = 1_000_000 + round * 50;
        let mut append = |rows: &[Record]| {
            let began = clock.tick();
            ledger.append(rows, &checkpoint()).unwrap();
            clock.tick().since(began)
        };
        let young = |first: u128| -> Vec<Record> {
            let later = |id| Record { started_at: i64::MAX, ..full(record(id)) };
            (first..first + 25).map(later).collect()
        };
        alone.push(append(&young(first)));
        let began = clock.tick();
        assert_eq!(ledger.retire(now, 1_000).unwrap(), 1_000);
        slices.push(clock.tick().since(began));
        let began = clock.tick();
        ledger.append(&young(first + 25), &checkpoint()).unwrap();
        batches.push(clock.tick().since(began));
    }
    for (what, times) in [
        ("a slice of 1,000 rows", &mut slices),
        ("a batch of 25 rows behind a slice", &mut batches),
        ("a batch of 25 rows behind another batch", &mut alone),
    ] {
        times.sort_unstable();
        println!("{what}: p50 {:?}, p99 {:?}, max {:?}", times[100], times[197], times[199]);
    }
}

/// A record as long as usual ones are.
fn full(record: Record) -> Record {
    Record {
        user: "user-4711".into(),
        tags: [("feature".to_owned(), "search".to_owned())].into(),
        operation: "chat_completions".into(),
        upstream_model: "gpt-4o".into(),
        response_model: "gpt-4o-2024-08-06".into(),
        upstream: "openai".into(),
        rates: r#"{"input":2500000,"cached_input":1250000,"output":10000000}"#.into(),
        price_name: "openai/gpt-4o".into(),
        price_source: "genai-prices".into(),
        trace_id: "0123456789abcdef0123456789abcdef".into(),
        attempts: 1,
        ..record
    }
}

/// One of a hundred users, a millisecond after the one before.
fn old(id: u128) -> Record {
    let after = i64::try_from(id).unwrap() * 1_000_000;
    let started_at = record(id).started_at + after;
    Record { started_at, admitted_at: started_at, user: format!("user-{}", id % 100), ..full(record(id)) }
}
