//! A real process, really killed (FAULTS, L1): it writes records and says so, is killed at a random
//! moment, and every record it spoke of must be in the books afterwards, once.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::base::chance::Chance;
use crate::base::units::Size;
use crate::ledger::books::Books;
use crate::ledger::journal::Journal;
use crate::ledger::recovery::recover;
use crate::ledger::section::LedgerSection;
use crate::ledger::writer;
use crate::store::ledger::{Filter, LedgerReader, LedgerStore};
use crate::store::record::Outcome;
use crate::store::samples::{intent, record};
use crate::store::sqlite::SqliteLedger;

const ROUNDS: u64 = 12;
/// Requests under way at once in the victim.
const UNDER_WAY: u128 = 5;
const MARK: &str = "this-directory-belongs-to-the-kill-test";

// FAULTS L1
#[test]
fn a_killed_process_loses_and_doubles_nothing() {
    let chance = Chance::seeded(20_261_120);
    let mut begun = 0;
    for round in 0..ROUNDS {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MARK), "").unwrap();
        let lines = usize::try_from(chance.below(4_000)).unwrap();
        let claims = run_and_kill(dir.path(), lines);
        judge(dir.path(), &claims, round);
        begun += claims.begun.len();
    }
    assert!(begun > 1_000, "the victim did nothing worth killing it for: {begun}");
}

/// Not a test: the process that is killed.
#[test]
#[ignore = "run and killed by the test above"]
fn victim() {
    if !Path::new(MARK).exists() {
        return;
    }
    let journal = Arc::new(open(Path::new(".")));
    let store = SqliteLedger::open(Path::new(".")).unwrap();
    let _writer = writer::start(Arc::clone(&journal), Box::new(store)).unwrap();
    for id in 1.. {
        journal.intend(&intent(id)).unwrap();
        println!("\nbegun {id}");
        if id > UNDER_WAY {
            journal.close(&record(id - UNDER_WAY)).unwrap();
            println!("\nended {}", id - UNDER_WAY);
        }
    }
}

/// What the victim said before it died.
#[derive(Default)]
struct Claims {
    begun: BTreeSet<u128>,
    ended: BTreeSet<u128>,
}

fn run_and_kill(dir: &Path, after_lines: usize) -> Claims {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ledger::kill_tests::victim", "--ignored", "--nocapture"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut claims = Claims::default();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    for (count, line) in lines.map_while(Result::ok).enumerate() {
        if count == after_lines {
            victim.kill().unwrap();
        }
        // what it still said before the signal arrived counts as well
        match line.split_once(' ') {
            Some(("begun", id)) => claims.begun.extend(id.parse::<u128>()),
            Some(("ended", id)) => claims.ended.extend(id.parse::<u128>()),
            _ => {}
        }
    }
    victim.wait().unwrap();
    claims
}

fn judge(dir: &Path, claims: &Claims, round: u64) {
    let journal = Arc::new(open(dir));
    let mut store = SqliteLedger::open(dir).unwrap();
    let recovered = recover(&journal, store.checkpoint().unwrap()).unwrap();
    assert!(u128::from(recovered.interrupted) <= UNDER_WAY + 1, "round {round}: {recovered:?}");
    let writer = writer::start(Arc::clone(&journal), Box::new(store)).unwrap();
    assert!(writer.settled(Duration::from_secs(60)), "round {round}");
    let (mut ended, mut interrupted) = (BTreeSet::new(), BTreeSet::new());
    let mut rows = 0;
    let each = &mut |row: &crate::store::record::Record| {
        rows += 1;
        match row.outcome {
            Outcome::Completed => ended.insert(row.id),
            _ => interrupted.insert(row.id),
        };
    };
    Books::open(dir).unwrap().scan(&Filter::default(), each).unwrap();
    assert_eq!(rows, ended.len() + interrupted.len(), "round {round}: a row twice");
    assert!(ended.is_disjoint(&interrupted), "round {round}: two ends");
    assert!(claims.ended.is_subset(&ended), "round {round}: an outcome was lost");
    let all: BTreeSet<u128> = ended.union(&interrupted).copied().collect();
    assert!(claims.begun.is_subset(&all), "round {round}: a request was lost");
}

/// Small segments, so that the signal also falls into rotation and deletion.
fn open(dir: &Path) -> Journal {
    let section = LedgerSection { segment_size: Size(16 << 10), ..LedgerSection::default() };
    Journal::open(dir, &section).unwrap()
}
