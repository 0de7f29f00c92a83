//! A ledger with many rows, as a month of traffic of many teams leaves it.

use std::path::Path;
use std::time::Duration;

use tollgate::base::chance::Chance;
use tollgate::base::clock::{Clock, Timestamp};
use tollgate::base::id::RequestId;
use tollgate::base::money::NanoUsd;
use tollgate::ledger::journal::Journal;
use tollgate::ledger::section::LedgerSection;
use tollgate::store::ledger::{Checkpoint, LedgerStore as _};
use tollgate::store::record::Record;
use tollgate::store::sqlite::SqliteLedger;

use crate::gateways::KEYS_OF_A_TEAM;
use crate::{Failure, chat};

/// Fills the ledger in `data_dir` with rows of these teams, spread evenly over the last month.
pub(crate) fn fill(data_dir: &Path, rows: u64, teams: usize) -> Result<(), Failure> {
    let end = Journal::open(data_dir, &LedgerSection::default())?.end();
    let checkpoint = Checkpoint { replay_from: end, settled_to: end };
    let mut ledger = SqliteLedger::open(data_dir)?;
    let chance = Chance::seeded(1);
    let begin = Timestamp::from_nanos(Clock::system().now().as_nanos() - i64::try_from(MONTH.as_nanos())?);
    let mut written = 0;
    while written < rows {
        let batch = BATCH.min(rows - written);
        let row = |number: u64| {
            let nanos = u64::try_from(MONTH.as_nanos())? / rows * number;
            Ok(row(begin.plus(Duration::from_nanos(nanos)), number, teams, &chance))
        };
        let batch: Vec<Record> = (written..written + batch).map(row).collect::<Result<_, Failure>>()?;
        ledger.append(&batch, &checkpoint)?;
        written += batch.len() as u64;
    }
    ledger.harden()?;
    Ok(())
}

fn row(at: Timestamp, number: u64, teams: usize, chance: &Chance) -> Record {
    // steps of a prime: neighbours in time are not neighbours in the config
    let caller = usize::try_from(number * 7_919).unwrap_or_default();
    Record {
        id: RequestId::new(at, chance).as_u128(),
        started_at: at.as_nanos(),
        admitted_at: at.as_nanos() + 100_000,
        team: format!("team-{}", caller % teams),
        key: format!("key-{}", caller / teams % KEYS_OF_A_TEAM),
        upstream: "provider".into(),
        stream: number.is_multiple_of(2),
        answer_id: format!("chatcmpl-{number:020}"),
        cost: Some(NanoUsd::new(195_000)),
        reserved: NanoUsd::new(1_250_000),
        trace_id: format!("{:032x}", u128::from(number) << 64 | 0x8448_eb21_1c80_319c),
        ..chat::record()
    }
}

const MONTH: Duration = Duration::from_hours(24 * 30);

const BATCH: u64 = 10_000;
