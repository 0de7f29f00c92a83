use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::usage::Usage;
use crate::store::ledger::{Cuts, Filter, LedgerReader, Spending};
use crate::store::record::Outcome;
use crate::store::samples::{any_record, record};
use crate::store::sqlite::columns;
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
    ledger.open.as_ref().unwrap().connection.pragma_update(None, "query_only", true).unwrap();
    assert!(matches!(ledger.append(&[record(1)], &checkpoint(1)), Err(StoreFault::Engine { .. })));
    assert!(ledger.open.is_none());
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

/// What was spent between cuts, by team and run: tokens and requests.
fn told(dir: &TempDir, cuts: &Cuts) -> BTreeMap<(usize, String, String), (u64, u64)> {
    let mut told = BTreeMap::new();
    let mut reader = SqliteReader::open(dir.path()).unwrap().unwrap();
    let each = &mut |spent: &Spending<'_>| {
        let place = cuts.at.partition_point(|cut| *cut <= spent.admitted_at);
        let mut add = |run: &str| {
            let sum: &mut (u64, u64) = told.entry((place, spent.team.into(), run.into())).or_default();
            *sum = (sum.0 + spent.tokens, sum.1 + spent.requests);
        };
        if !spent.is_of_run_alone {
            add("");
        }
        if !spent.run.is_empty() && cuts.runs_since.is_some_and(|since| since <= spent.admitted_at) {
            add(spent.run);
        }
    };
    reader.snapshot().unwrap().spendings(cuts.clone(), each).unwrap();
    told
}

// I5
proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sums_say_what_the_rows_would_say_however_much_is_summed(
        rows in vec((0..40_i64, 0..6 * 86_400_i64, 0..3_u8, 0..3_u8), 1..60),
        mut cuts in vec((-1..46_i64, 0..960_i64), 1..5),
        (runs, summed, retired) in (any::<bool>(), 0..70_u32, 0..70_u32),
        (old, late) in (0..40_usize, 0..20_usize),
    ) {
        let (dir, mut ledger) = ledger();
        let at = |days: i64, secs: i64| Timestamp::from_secs(1_700_000_000 + days * 86_400 + secs).as_nanos();
        let record = |(id, (day, waited, team, run)): (u128, (i64, i64, u8, u8))| Record {
            started_at: at(day, 0),
            // a few are refused, and a few waited for days
            admitted_at: if waited % 7 == 0 { 0 } else { at(day, waited / i64::from(run * 100 + 1)) },
            team: format!("team-{team}"),
            run: if run == 2 { format!("run-{team}") } else { String::new() },
            ..record(id)
        };
        let rows: Vec<Record> = (1..).zip(rows).map(record).collect();
        let (rows, late) = rows.split_at(rows.len().saturating_sub(late));
        let (old, new) = rows.split_at(old.min(rows.len()));
        ledger.append(old, &checkpoint(1)).unwrap();
        age(&dir);
        drop(ledger);
        let mut ledger = SqliteLedger::open(dir.path()).unwrap();
        ledger.append(new, &checkpoint(1)).unwrap();
        cuts.sort_unstable();
        let cuts: Vec<Timestamp> = cuts.iter().map(|(day, part)| Timestamp::from_nanos(at(*day, part * 90))).collect();
        let cuts = Cuts { runs_since: runs.then(|| cuts[cuts.len() / 2]), at: cuts };
        let by_rows = told(&dir, &cuts);
        let mut in_sums = 0;
        for part in [summed / 3, summed, 0] {
            in_sums += ledger.sum_up(1, part).unwrap();
            prop_assert_eq!(told(&dir, &cuts), by_rows.clone());
        }
        prop_assert_eq!(in_sums, u64::from(summed / 3 + summed).min(rows.len() as u64));
        // windows that began on a day before do not see that rows went
        let day = Cuts { at: vec![Timestamp::from_secs(1_699_920_000)], runs_since: None };
        let before = told(&dir, &day);
        let went = ledger.retire(Timestamp::from_nanos(i64::MAX), retired).unwrap();
        let due = u64::from(retired).min(rows.len() as u64);
        // old rows that are in no sum yet wait
        prop_assert!(if in_sums < old.len() as u64 { went <= due } else { went == due }, "{went} of {due}");
        prop_assert_eq!(told(&dir, &day), before.clone());
        // nor is what ends later missed, and all of it is in sums some day
        let sums = |told: &BTreeMap<_, (u64, u64)>| told.values().map(|(_, requests)| requests).sum::<u64>();
        let more = late.iter().filter(|row| row.admitted_at > 0).count() as u64;
        ledger.append(late, &checkpoint(2)).unwrap();
        prop_assert_eq!(sums(&told(&dir, &day)), sums(&before) + more);
        while ledger.sum_up(1, 7).unwrap() > 0 {}
        prop_assert_eq!(sums(&told(&dir, &day)), sums(&before) + more);
        let left = rows.len() as u64 - went + late.len() as u64;
        prop_assert_eq!(ledger.retire(Timestamp::from_nanos(i64::MAX), 100).unwrap(), left);
        prop_assert_eq!(sums(&told(&dir, &day)), sums(&before) + more);
    }
}

/// As if an earlier version had written what is there now.
fn age(dir: &TempDir) {
    let columns = columns::COLUMNS;
    let sql = format!(
        "INSERT INTO requests_v3 ({columns}) SELECT {columns} FROM entries_in_full ORDER BY entry; DELETE FROM entries"
    );
    rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap().execute_batch(&sql).unwrap();
}

// I5
#[test]
fn what_comes_when_the_last_row_was_retired_is_counted() {
    let (dir, mut ledger) = ledger();
    let at = |id: u128, secs| Record { started_at: secs, admitted_at: secs, ..record(id) };
    ledger.append(&[at(1, 10), at(2, 20), at(3, 30)], &checkpoint(1)).unwrap();
    assert_eq!(ledger.retire(Timestamp::from_nanos(25), 10).unwrap(), 2);
    assert_eq!(ledger.sum_up(1, 10).unwrap(), 0);
    let mut spent = |rows: &[Record]| {
        ledger.append(rows, &checkpoint(2)).unwrap();
        let retired = ledger.retire(Timestamp::from_nanos(35), 10).unwrap();
        let told = told(&dir, &Timestamp::from_nanos(0).into());
        (retired, told.values().map(|(_, requests)| requests).sum::<u64>())
    };
    assert_eq!(spent(&[]), (1, 3));
    assert_eq!(spent(&[at(4, 40), at(5, 50)]), (0, 5));
    assert_eq!(spent(&[at(6, 34)]), (1, 6), "one that began long before it ended is the last row");
    assert_eq!(spent(&[at(7, 60)]), (0, 7));
    assert_eq!(ledger.sum_up(1, 10).unwrap(), 1);
}

#[test]
fn a_row_that_the_ledger_refuses_takes_no_other_with_it() {
    let (dir, mut ledger) = ledger();
    let other = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON entries WHEN NEW.input_tokens = 13 \
        BEGIN SELECT raise(ABORT, 'no'); END";
    other.execute_batch(refuse).unwrap();
    let row = |id| {
        let usage = Usage { input_tokens: u64::try_from(id).unwrap(), ..Usage::default() };
        Record { usage, ..record(id) }
    };
    let batch: Vec<Record> = (1..=30).map(row).collect();
    ledger.append(&batch, &checkpoint(1)).unwrap();
    let ids: Vec<u128> = rows(&dir, &Filter::default()).iter().map(|row| row.id).collect();
    assert_eq!(ids, (1..=30).filter(|id| *id != 13).collect::<Vec<_>>());
}

#[test]
fn a_sum_at_the_top_of_its_range_blocks_nothing() {
    let (dir, mut ledger) = ledger();
    let most = |id| Record { cost: Some(NanoUsd::new(i64::MAX)), ..record(id) };
    for id in 1..4 {
        ledger.append(&[most(id)], &checkpoint(1)).unwrap();
        assert_eq!(ledger.sum_up(1, 10).unwrap(), 1);
    }
    let mut seen = Vec::new();
    let mut reader = SqliteReader::open(dir.path()).unwrap().unwrap();
    let each = &mut |spent: &Spending<'_>| seen.push((spent.cost, spent.tokens, spent.requests));
    reader.snapshot().unwrap().spendings(Timestamp::from_nanos(i64::MIN), each).unwrap();
    assert_eq!(seen, [(Some(NanoUsd::new(i64::MAX)), 45, 3)]);
}

#[test]
fn rows_are_found_by_time_and_the_latest_deferred_by_an_index_of_their_own() {
    let (dir, _ledger) = ledger();
    let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    for (condition, index) in [
        ("team = 'a' AND started_at BETWEEN 1 AND 2", "entries_by_time (started_at>? AND started_at<?)"),
        ("started_at >= 1 AND is_deferred", "entries_deferred (started_at>?)"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN SELECT id FROM entries_in_full WHERE {condition}");
        let plan: String = connection.query_row(&sql, [], |row| row.get(3)).unwrap();
        assert!(plan.contains(index), "{plan}");
    }
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
