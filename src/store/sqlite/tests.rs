use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::usage::Usage;
use crate::store::ledger::{Filter, LedgerReader, Spending};
use crate::store::record::Outcome;
use crate::store::samples::{any_record, record};
use crate::store::sqlite::{FILE_NAME, SqliteReader};

use super::*;

fn ledger() -> (TempDir, SqliteLedger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(dir.path()).unwrap();
    (dir, ledger)
}

fn rows(dir: &TempDir, filter: &Filter) -> Vec<Record> {
    let mut rows = Vec::new();
    let mut reader = SqliteReader::open(dir.path()).unwrap().unwrap();
    reader.scan(filter, &mut |record| rows.push(record.clone())).unwrap();
    rows
}

fn checkpoint(offset: u64) -> Checkpoint {
    let at = Position { segment: 3, offset };
    Checkpoint { replay_from: at, settled_to: Position { offset: offset + 1, ..at } }
}

/// What the ledger makes of a value that no row can hold.
fn as_stored(record: Record) -> Record {
    let json = serde_json::to_string(&record).unwrap();
    let mut stored: Record = serde_json::from_str(&json.replace("\\u0000", "\u{fffd}")).unwrap();
    // tags are JSON and keep what it can say
    stored.tags = record.tags;
    let held = |count: &mut u64| *count = (*count).min(i64::MAX.unsigned_abs());
    let Record { usage, reserved_tokens, duration_us, first_token_us, overhead_us, response_bytes, .. } =
        &mut stored;
    let mut counts = usage.counts();
    counts.iter_mut().for_each(held);
    *usage = Usage::from_counts(counts);
    [reserved_tokens, duration_us, first_token_us, overhead_us, response_bytes].into_iter().for_each(held);
    stored
}

// FAULTS L16
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_comes_is_stored_and_blocks_nothing(worst in any_record()) {
        let (dir, mut ledger) = ledger();
        let plain = record(worst.id.wrapping_add(1));
        ledger.append(&[worst.clone(), plain.clone()], &checkpoint(1)).unwrap();
        let mut stored = rows(&dir, &Filter::default());
        stored.sort_by_key(|row| row.id == plain.id);
        prop_assert_eq!(stored, vec![as_stored(worst), plain]);
    }
}

#[test]
fn rows_and_checkpoint_are_saved_together_and_only_once() {
    let (dir, mut ledger) = ledger();
    assert_eq!(ledger.checkpoint().unwrap(), None);
    ledger.append(&[record(1), record(2)], &checkpoint(10)).unwrap();
    let changed = Record { team: "other".into(), ..record(2) };
    ledger.append(&[changed, record(3)], &checkpoint(20)).unwrap();
    assert_eq!(rows(&dir, &Filter::default()), [record(1), record(2), record(3)]);
    assert_eq!(ledger.checkpoint().unwrap(), Some(checkpoint(20)));
    ledger.harden().unwrap();
}

// FAULTS L6
#[test]
fn a_connection_that_failed_is_not_trusted_again() {
    let (dir, mut ledger) = ledger();
    // as on a file system that was remounted to read only
    ledger.connection.as_ref().unwrap().pragma_update(None, "query_only", true).unwrap();
    assert!(matches!(ledger.append(&[record(1)], &checkpoint(1)), Err(StoreFault::Engine { .. })));
    assert!(ledger.connection.is_none());
    ledger.append(&[record(1)], &checkpoint(1)).unwrap();
    assert_eq!(rows(&dir, &Filter::default()).len(), 1);
}

#[test]
fn a_batch_that_failed_left_nothing_and_can_be_saved_again() {
    let (dir, mut ledger) = ledger();
    let other = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER away BEFORE INSERT ON checkpoint BEGIN SELECT raise(ROLLBACK, 'away'); END",
        )
        .unwrap();
    assert!(matches!(ledger.append(&[record(1)], &checkpoint(1)), Err(StoreFault::Engine { .. })));
    assert!(rows(&dir, &Filter::default()).is_empty());
    other.execute_batch("DROP TRIGGER away").unwrap();
    ledger.append(&[record(1)], &checkpoint(1)).unwrap();
    assert_eq!(rows(&dir, &Filter::default()).len(), 1);
}

#[test]
fn a_filter_lets_through_what_it_says() {
    let (dir, mut ledger) = ledger();
    let at = |id, secs, team: &str| Record {
        started_at: Timestamp::from_secs(secs).as_nanos(),
        team: team.into(),
        tags: [("feature".to_owned(), team.to_owned())].into(),
        ..record(id)
    };
    ledger.append(&[at(1, 10, "a"), at(2, 20, "a"), at(3, 20, "b")], &checkpoint(1)).unwrap();
    let ids = |filter: Filter| rows(&dir, &filter).iter().map(|row| row.id).collect::<Vec<_>>();
    let secs = |secs| Some(Timestamp::from_secs(secs));
    assert_eq!(ids(Filter { since: secs(20), ..Filter::default() }), [2, 3]);
    assert_eq!(ids(Filter { until: secs(20), ..Filter::default() }), [1]);
    assert_eq!(ids(Filter { team: Some("a".into()), since: secs(11), ..Filter::default() }), [2]);
    assert_eq!(ids(Filter { tags: vec![("feature".into(), "b".into())], ..Filter::default() }), [3]);
    assert_eq!(ids(Filter { key: Some("none".into()), ..Filter::default() }), [0_u128; 0]);
}

#[test]
fn counters_read_what_was_admitted_and_nothing_else() {
    let (dir, mut ledger) = ledger();
    let at = |id, admitted_at| Record { admitted_at, ..record(id) };
    let unpriced =
        Record { cost: None, run: "r".into(), tags: [("a".into(), "b".into())].into(), ..at(3, 30) };
    let refused = Record { outcome: Outcome::Refused, ..at(4, 0) };
    ledger.append(&[at(1, 10), at(2, 20), unpriced.clone(), refused], &checkpoint(1)).unwrap();
    let mut reader = SqliteReader::open(dir.path()).unwrap().unwrap();
    let mut seen = |since| {
        let mut seen = Vec::new();
        reader
            .snapshot()
            .unwrap()
            .spendings(Timestamp::from_nanos(since), &mut |spent| {
                assert_eq!(Spending { tags: &unpriced.tags, ..*spent }.requests, 1);
                seen.push((spent.id, spent.cost.map(NanoUsd::as_nanos), spent.tokens, spent.tags.len()));
            })
            .unwrap();
        seen
    };
    let (priced, unknown) = (|id| (id, Some(1_000), 15, 0), (3, None, 15, 1));
    assert_eq!(seen(i64::MIN), [priced(1), priced(2), unknown]);
    assert_eq!(seen(20), [priced(2), unknown]);
    assert_eq!(seen(31), []);
}

#[test]
fn counters_are_rebuilt_by_the_order_of_admission() {
    let (dir, _ledger) = ledger();
    let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    let plan: String = connection
        .query_row(
            "EXPLAIN QUERY PLAN SELECT cost_nano_usd FROM requests WHERE admitted_at >= ?1 AND admitted_at > 0",
            [5],
            |row| row.get(3),
        )
        .unwrap();
    assert!(plan.contains("INDEX requests_by_admission (admitted_at>?)"), "{plan}");
}

#[test]
fn only_the_owner_may_read_the_ledger() {
    let (dir, mut ledger) = ledger();
    ledger.append(&[record(1)], &checkpoint(1)).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[test]
fn every_column_is_told_to_those_who_read_the_table() {
    let page = include_str!("../../../docs/STABILITY.md");
    for column in columns::COLUMNS.split(", ") {
        assert!(page.contains(&format!("`{column}`")), "docs/STABILITY.md does not name {column}");
    }
}
