//! Retention: old rows go, and what is kept of them are sums, by all that budgets go by but the run.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::store::ledger::{Retired, Spending};

use super::reader::Tags;

/// Deletes the oldest rows before `before` and adds them to the sums. Returns how many.
pub(super) fn retire(batch: &Transaction<'_>, before: Timestamp, at_most: u32) -> rusqlite::Result<u64> {
    let (rows, last) = take_oldest(batch, before, at_most)?;
    let Some(last) = last else { return Ok(0) };
    let mut delete = batch.prepare_cached("DELETE FROM requests WHERE rowid = ?1")?;
    let mut sums: HashMap<Whose, Sum> = HashMap::new();
    for row in &rows {
        delete.execute([row.rowid])?;
        if row.sum.first_admitted_at > 0 {
            let sum = sums.entry(row.whose.clone()).or_insert_with(Sum::none);
            *sum = sum.plus(row.sum);
        }
    }
    for (whose, sum) in &sums {
        add(batch, whose, *sum)?;
    }
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    batch
        .prepare_cached(
            "INSERT INTO retention VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE SET \
             retired_before = max(retired_before, excluded.retired_before), \
             retired_rows = retired_rows + excluded.retired_rows",
        )?
        .execute([last.saturating_add(1), count])?;
    Ok(rows.len() as u64)
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

/// Calls `each` with every sum that is wholly of requests admitted at `since` or later.
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
        let text = |column| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
        let count = |column| row.get(column).map(|count: i64| u64::try_from(count).unwrap_or(0));
        each(&Spending {
            id: 0,
            admitted_at: Timestamp::from_nanos(row.get(5)?),
            team: text(0)?,
            key: text(1)?,
            user: text(2)?,
            run: "",
            model: text(3)?,
            tags: tags.read(text(4)?),
            cost: Some(NanoUsd::new(row.get(6)?)),
            tokens: count(7)?,
            requests: count(8)?,
        });
    }
    Ok(())
}

/// Whose spending a sum is: team, key, user, model, tags.
type Whose = [String; 5];

#[derive(Debug, Clone, Copy)]
struct Sum {
    first_admitted_at: i64,
    cost: NanoUsd,
    tokens: i64,
    requests: i64,
}

impl Sum {
    const fn none() -> Self {
        Self { first_admitted_at: i64::MAX, cost: NanoUsd::ZERO, tokens: 0, requests: 0 }
    }

    /// Held at the top, where a sum in SQL would fail.
    fn plus(self, other: Self) -> Self {
        Self {
            first_admitted_at: self.first_admitted_at.min(other.first_admitted_at),
            cost: self.cost + other.cost,
            tokens: self.tokens.saturating_add(other.tokens),
            requests: self.requests.saturating_add(other.requests),
        }
    }
}

struct Old {
    rowid: i64,
    whose: Whose,
    sum: Sum,
}

/// The oldest rows, and when the last of them began.
fn take_oldest(
    batch: &Transaction<'_>,
    before: Timestamp,
    at_most: u32,
) -> rusqlite::Result<(Vec<Old>, Option<i64>)> {
    let mut statement = batch.prepare_cached(
        "SELECT rowid, started_at, admitted_at, cost_nano_usd, input_tokens, output_tokens, team, key, user, \
         model, tags FROM requests WHERE started_at < ?1 ORDER BY started_at LIMIT ?2",
    )?;
    let mut rows = statement.query((before.as_nanos(), at_most))?;
    let (mut old, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get(1)?);
        let sum = Sum {
            first_admitted_at: row.get(2)?,
            cost: NanoUsd::new(row.get::<_, Option<i64>>(3)?.unwrap_or(0)),
            tokens: row.get::<_, i64>(4)?.saturating_add(row.get(5)?),
            requests: 1,
        };
        let whose = [row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?, row.get(10)?];
        old.push(Old { rowid: row.get(0)?, whose, sum });
    }
    Ok((old, last))
}

fn add(batch: &Transaction<'_>, whose: &Whose, sum: Sum) -> rusqlite::Result<()> {
    let kept = batch
        .prepare_cached(
            "SELECT first_admitted_at, cost_nano_usd, tokens, requests FROM retired \
             WHERE team = ?1 AND key = ?2 AND user = ?3 AND model = ?4 AND tags = ?5",
        )?
        .query_row(whose.each_ref(), |row| {
            let cost = NanoUsd::new(row.get(1)?);
            Ok(Sum { first_admitted_at: row.get(0)?, cost, tokens: row.get(2)?, requests: row.get(3)? })
        })
        .optional()?;
    let sum = kept.unwrap_or_else(Sum::none).plus(sum);
    let [team, key, user, model, tags] = whose;
    batch
        .prepare_cached("INSERT OR REPLACE INTO retired VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute((
            team,
            key,
            user,
            model,
            tags,
            sum.first_admitted_at,
            sum.cost.as_nanos(),
            sum.tokens,
            sum.requests,
        ))?;
    Ok(())
}
