//! Retention: old rows go, and what is kept of them are sums, by all that budgets go by but the run.

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use crate::base::clock::Timestamp;
use crate::store::ledger::{Retired, Spending};

use super::reader::Tags;
use super::sums::{self, Sum};
use super::words::Words;

/// Deletes the oldest rows before `before`. What they spent is in the sums; rows that are in none are brought
/// there first, but those of an older ledger, of which there may be millions: they wait for it. Returns how many
/// it deleted.
pub(super) fn retire(
    batch: &Transaction<'_>,
    spenders: &mut Words,
    before: Timestamp,
    at_most: u32,
) -> rusqlite::Result<u64> {
    let mut old = oldest(batch, "entries", "entry", before, at_most)?;
    let newest = old.iter().map(|row| row.number).max().unwrap_or(0);
    while newest > sums::summed(batch)?.entries && sums::sum_up(batch, spenders, 1, AT_ONCE)? > 0 {}
    old.extend(oldest(batch, "requests_v3", "rowid", before, at_most)?);
    old.sort_unstable_by_key(|row| row.started_at);
    old.truncate(usize::try_from(at_most).unwrap_or(usize::MAX));
    let summed = sums::summed(batch)?;
    let waits = |row: &Old| row.number > if row.table == "entries" { summed.entries } else { summed.before };
    if let Some(first) = old.iter().position(waits) {
        old.truncate(first);
    }
    let Some(last) = old.last().map(|row| row.started_at) else { return Ok(0) };
    for row in &old {
        let Old { table, number, .. } = row;
        batch.prepare_cached(&format!("DELETE FROM {table} WHERE rowid = ?1"))?.execute([number])?;
    }
    let count = i64::try_from(old.len()).unwrap_or(i64::MAX);
    batch
        .prepare_cached(
            "INSERT INTO retention VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE SET \
             retired_before = max(retired_before, excluded.retired_before), \
             retired_rows = retired_rows + excluded.retired_rows",
        )?
        .execute([last.saturating_add(1), count])?;
    sums::forget_rows(batch)?;
    sums::coarsen(batch, last)?;
    Ok(old.len() as u64)
}

/// How far rows were retired.
pub(super) fn retired(connection: &Connection) -> rusqlite::Result<Option<Retired>> {
    connection
        .query_row("SELECT retired_before, retired_rows FROM retention", [], |row| {
            let rows = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            Ok(Retired { before: Timestamp::from_nanos(row.get(0)?), rows })
        })
        .optional()
}

/// Calls `each` with every sum of what an older Tollgate retired that is wholly of requests admitted at `since` or later.
pub(super) fn spendings(
    connection: &Connection,
    since: Timestamp,
    each: &mut dyn FnMut(&Spending<'_>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT team, key, user, model, tags, first_admitted_at, cost_nano_usd, tokens, requests \
         FROM retired WHERE first_admitted_at >= ?1",
    )?;
    let mut rows = statement.query([since.as_nanos()])?;
    let mut tags = Tags::default();
    while let Some(row) = rows.next()? {
        Sum::saved(row, 5)?.tell(row, &mut tags, each)?;
    }
    Ok(())
}

struct Old {
    table: &'static str,
    number: i64,
    started_at: i64,
}

fn oldest(
    batch: &Transaction<'_>,
    table: &'static str,
    number: &str,
    before: Timestamp,
    at_most: u32,
) -> rusqlite::Result<Vec<Old>> {
    batch
        .prepare_cached(&format!(
            "SELECT {number}, started_at FROM {table} WHERE started_at < ?1 ORDER BY started_at LIMIT ?2"
        ))?
        .query_map((before.as_nanos(), at_most), |row| {
            Ok(Old { table, number: row.get(0)?, started_at: row.get(1)? })
        })?
        .collect()
}

/// Rows that come into the sums at a time.
const AT_ONCE: u32 = 16_384;
