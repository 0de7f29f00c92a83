//! Makes a ledger of so many rows, as requests would leave them.

use std::collections::BTreeMap;
use std::path::Path;

use tollgate::store::ledger::{Checkpoint, LedgerStore as _, Position};
use tollgate::store::record::Record;
use tollgate::store::sqlite::{FILE_NAME, SqliteLedger};

use crate::{Failure, chat};

/// When the last request began: a moment in the twenty-eighth day of a month.
pub(crate) const END: i64 = 1_795_859_327_000_000_000;
pub(crate) const DAY: i64 = 86_400_000_000_000;
pub(crate) const KEYS_PER_TEAM: u64 = 10;

pub(crate) fn is_empty(dir: &Path) -> Result<bool, Failure> {
    Ok(!dir.join(FILE_NAME).try_exists()?)
}

/// The team and name of a key.
pub(crate) fn holder(key: u64) -> (String, String) {
    (format!("team-{}", key / KEYS_PER_TEAM), format!("key-{key}"))
}

pub(crate) fn fill(dir: &Path, rows: u64, keys: u64) -> Result<(), Failure> {
    let mut ledger = SqliteLedger::open(dir)?;
    let mut batch = vec![plain(); BATCH];
    let mut chance = 7_u64;
    let mut next = 0;
    while next < rows {
        let count = usize::try_from(rows - next)?.min(BATCH);
        for record in &mut batch[..count] {
            place(record, next, rows, &mut chance, keys)?;
            next += 1;
        }
        let at = Position { segment: 1, offset: next };
        ledger.append(&batch[..count], &Checkpoint { replay_from: at, settled_to: at })?;
        ledger.sum_up(SUMMED, SUMMED)?;
    }
    ledger.harden()?;
    Ok(())
}

/// Makes of `record` the `number`th of so many.
fn place(record: &mut Record, number: u64, of: u64, chance: &mut u64, keys: u64) -> Result<(), Failure> {
    // xorshift: the same history every time
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    let since = i128::from(30 * DAY) * i128::from(of - number) / i128::from(of);
    record.started_at = END - i64::try_from(since)?;
    record.admitted_at = record.started_at + 100_000;
    record.id = (u128::try_from(record.started_at / 1_000_000)? << 80) | (u128::from(*chance) << 16);
    let key = *chance % keys;
    (record.team, record.key) = holder(key);
    record.user = format!("user-{}", key % 100);
    record.model = MODELS[usize::try_from(*chance >> 32)? % MODELS.len()].into();
    record.duration_us = 800_000 + *chance % 1_000_000;
    record.usage.output_tokens = 100 + *chance % 200;
    record.trace_id = format!("{:032x}", u128::from(*chance) << 40 | u128::from(number));
    Ok(())
}

fn plain() -> Record {
    let tags = BTreeMap::from([("feature".into(), "search".into()), ("env".into(), "prod".into())]);
    Record { tags, ..chat::record() }
}

const BATCH: usize = 1_000;
/// As the ledger's writer does it.
const SUMMED: u32 = 8_192;
const MODELS: [&str; 3] = ["gpt-4o-mini", "gpt-4o", "claude-sonnet-4"];
