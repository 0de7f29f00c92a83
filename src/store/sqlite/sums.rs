//! Sums of what was spent in spans of time, so that a start reads them and not every row. Rows come into them
//! some thousands at a time, in the order in which they were saved; those that are in none yet count themselves.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Row, Transaction};

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::store::ledger::{Cuts, Spending};

use super::pieces::{FINEST, Piece, SPANS, pieces};
use super::reader::Tags;
use super::words::Words;

/// Up to where rows are in the sums, by table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summed {
    pub(super) entries: i64,
    pub(super) before: i64,
}

/// Up to where rows are in the sums.
pub(super) fn summed(connection: &Connection) -> rusqlite::Result<Summed> {
    connection
        .prepare_cached("SELECT entries, requests_v3 FROM summed")?
        .query_row([], |row| Ok(Summed { entries: row.get(0)?, before: row.get(1)? }))
}

/// Adds up to `at_most` rows to the sums, if at least `least` are in none. Returns how many.
pub(super) fn sum_up(
    batch: &Transaction<'_>,
    spenders: &mut Words,
    least: u32,
    at_most: u32,
) -> rusqlite::Result<u64> {
    let mut summed = summed(batch)?;
    let (entries, before) = (last(batch, "entries", "entry")?, last(batch, "requests_v3", "rowid")?);
    // entries are never deleted before they are summed, so that the difference is about their number; a file that
    // was put together again by hand may have given its old rows other ones
    let left = (entries - summed.entries).max(0).saturating_add((before - summed.before).max(0));
    if left < i64::from(least.max(1)) {
        return Ok(0);
    }
    let mut sums = BTreeMap::new();
    let mut rows = sum_before(batch, spenders, &mut summed, at_most, &mut sums)?;
    let at_most = at_most.saturating_sub(u32::try_from(rows).unwrap_or(u32::MAX));
    rows += sum_entries(batch, &mut summed, at_most, &mut sums)?;
    for (key, sum) in &sums {
        add(batch, *key, *sum)?;
    }
    note_summed(batch, summed)?;
    Ok(rows)
}

/// Calls `each` with sums, and with the rows that are in none.
pub(super) fn spendings(
    connection: &Connection,
    cuts: &Cuts,
    each: &mut dyn FnMut(&Spending<'_>),
) -> rusqlite::Result<()> {
    let Some(since) = cuts.at.first() else { return Ok(()) };
    let summed = summed(connection)?;
    let (stretches, singles) = pieces(&cuts.at);
    let mut tags = Tags::default();
    for stretch in stretches {
        tell_sums(connection, &stretch, &mut tags, each)?;
    }
    let mut rows = |table, which: &str, bounds: &[i64], as_what| {
        let sql = format!("SELECT {COLUMNS} FROM {table} WHERE {which} AND admitted_at > 0");
        tell_rows(connection, &sql, bounds, as_what, each)
    };
    for (from, to) in singles {
        if let Some((first, last)) = began(connection, from, to)? {
            let which =
                "started_at BETWEEN ?1 AND ?2 AND admitted_at >= ?3 AND admitted_at < ?4 AND entry <= ?5";
            rows(ENTRIES, which, &[first, last, from, to, summed.entries], As::PartOfSum)?;
        }
        let which = "admitted_at >= ?1 AND admitted_at < ?2 AND rowid <= ?3";
        rows(BEFORE, which, &[from, to, summed.before], As::PartOfSum)?;
    }
    if let Some(since) = cuts.runs_since.map(Timestamp::as_nanos) {
        let which = "run IS NOT NULL AND admitted_at >= ?1 AND entry <= ?2";
        rows(ENTRIES, which, &[since, summed.entries], As::RunAlone)?;
        let which = "run <> '' AND admitted_at >= ?1 AND rowid <= ?2";
        rows(BEFORE, which, &[since, summed.before], As::RunAlone)?;
    }
    let since = since.as_nanos();
    rows(ENTRIES, "admitted_at >= ?1 AND entry > ?2", &[since, summed.entries], As::Whole)?;
    if last(connection, "requests_v3", "rowid")? > summed.before {
        rows(BEFORE, "admitted_at >= ?1 AND rowid > ?2", &[since, summed.before], As::Whole)?;
    }
    Ok(())
}

/// Notes that rows were deleted. The number of a last row is given again to the next: that one is in no sum.
pub(super) fn forget_rows(batch: &Transaction<'_>) -> rusqlite::Result<()> {
    let summed = summed(batch)?;
    let entries = summed.entries.min(last(batch, "entries", "entry")?);
    let before = summed.before.min(last(batch, "requests_v3", "rowid")?);
    note_summed(batch, Summed { entries, before })
}

fn note_summed(batch: &Transaction<'_>, summed: Summed) -> rusqlite::Result<()> {
    let sql = "UPDATE summed SET entries = ?1, requests_v3 = ?2";
    batch.prepare_cached(sql)?.execute([summed.entries, summed.before])?;
    Ok(())
}

/// Forgets the finest sums of what was retired: coarser ones stay.
pub(super) fn coarsen(batch: &Transaction<'_>, before: i64) -> rusqlite::Result<()> {
    let [coarse, ..] = SPANS;
    let whole = before.div_euclid(coarse).saturating_mul(coarse).div_euclid(FINEST);
    batch.prepare_cached("DELETE FROM sums WHERE span = ?1 AND place < ?2")?.execute([FINEST, whole])?;
    Ok(())
}

/// Span, place in time, spender.
type Key = (i64, i64, i64);

#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    first_admitted_at: i64,
    first_started_at: i64,
    last_started_at: i64,
    cost: NanoUsd,
    tokens: i64,
    requests: i64,
}

impl Sum {
    /// Held at the top, where a sum in SQL would fail.
    fn plus(self, other: Self) -> Self {
        Self {
            first_admitted_at: self.first_admitted_at.min(other.first_admitted_at),
            first_started_at: self.first_started_at.min(other.first_started_at),
            last_started_at: self.last_started_at.max(other.last_started_at),
            cost: self.cost + other.cost,
            tokens: self.tokens.saturating_add(other.tokens),
            requests: self.requests.saturating_add(other.requests),
        }
    }

    /// Of one row whose columns begin at `first`: started, admitted, cost, input, output.
    fn of(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let started_at = row.get(first)?;
        Ok(Self {
            first_admitted_at: row.get(first + 1)?,
            first_started_at: started_at,
            last_started_at: started_at,
            cost: NanoUsd::new(row.get::<_, Option<i64>>(first + 2)?.unwrap_or(0)),
            tokens: row.get::<_, i64>(first + 3)?.saturating_add(row.get(first + 4)?),
            requests: 1,
        })
    }

    /// As it was saved, in columns that begin at `first`: admitted, cost, tokens, requests. To tell it, when it
    /// started does not matter.
    pub(super) fn saved(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            first_admitted_at: row.get(first)?,
            first_started_at: 0,
            last_started_at: 0,
            cost: NanoUsd::new(row.get(first + 1)?),
            tokens: row.get(first + 2)?,
            requests: row.get(first + 3)?,
        })
    }

    /// Calls `each` with it and its spender, the first columns of `row`: team, key, user, model, tags.
    pub(super) fn tell(
        self,
        row: &Row<'_>,
        tags: &mut Tags,
        each: &mut dyn FnMut(&Spending<'_>),
    ) -> rusqlite::Result<()> {
        let text = |column| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
        each(&Spending {
            id: 0,
            admitted_at: Timestamp::from_nanos(self.first_admitted_at),
            team: text(0)?,
            key: text(1)?,
            user: text(2)?,
            run: "",
            model: text(3)?,
            tags: tags.read(text(4)?),
            cost: Some(self.cost),
            tokens: u64::try_from(self.tokens).unwrap_or(0),
            requests: u64::try_from(self.requests).unwrap_or(0),
            is_of_run_alone: false,
        });
        Ok(())
    }
}

fn sum_entries(
    batch: &Transaction<'_>,
    summed: &mut Summed,
    at_most: u32,
    sums: &mut BTreeMap<Key, Sum>,
) -> rusqlite::Result<u64> {
    let mut statement = batch.prepare_cached(
        "SELECT entry, spender, started_at, admitted_at, cost_nano_usd, input_tokens, output_tokens FROM entries \
         WHERE entry > ?1 ORDER BY entry LIMIT ?2",
    )?;
    let mut rows = statement.query([summed.entries, i64::from(at_most)])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        summed.entries = row.get(0)?;
        note(sums, row.get(1)?, Sum::of(row, 2)?);
        count += 1;
    }
    Ok(count)
}

fn sum_before(
    batch: &Transaction<'_>,
    spenders: &mut Words,
    summed: &mut Summed,
    at_most: u32,
    sums: &mut BTreeMap<Key, Sum>,
) -> rusqlite::Result<u64> {
    let mut statement = batch.prepare_cached(
        "SELECT rowid, started_at, admitted_at, cost_nano_usd, input_tokens, output_tokens, team, key, user, model, \
         tags FROM requests_v3 WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
    )?;
    let mut rows = statement.query([summed.before, i64::from(at_most)])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        summed.before = row.get(0)?;
        let text = |column| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
        let words = [text(6)?, text(7)?, text(8)?, text(9)?, text(10)?];
        let spender = spenders.number(batch, &words, &[])?;
        note(sums, spender, Sum::of(row, 1)?);
        count += 1;
    }
    Ok(count)
}

fn note(sums: &mut BTreeMap<Key, Sum>, spender: i64, sum: Sum) {
    if sum.first_admitted_at <= 0 {
        return;
    }
    for span in SPANS {
        let place = sum.first_admitted_at.div_euclid(span);
        sums.entry((span, place, spender)).and_modify(|known| *known = known.plus(sum)).or_insert(sum);
    }
}

fn add(batch: &Transaction<'_>, (span, place, spender): Key, sum: Sum) -> rusqlite::Result<()> {
    let mut find = batch.prepare_cached(
        "SELECT first_admitted_at, first_started_at, last_started_at, cost_nano_usd, tokens, requests FROM sums \
         WHERE span = ?1 AND place = ?2 AND spender = ?3",
    )?;
    let mut found = find.query([span, place, spender])?;
    let sum = match found.next()? {
        Some(row) => sum.plus(Sum {
            first_admitted_at: row.get(0)?,
            first_started_at: row.get(1)?,
            last_started_at: row.get(2)?,
            cost: NanoUsd::new(row.get(3)?),
            tokens: row.get(4)?,
            requests: row.get(5)?,
        }),
        None => sum,
    };
    drop(found);
    batch
        .prepare_cached("INSERT OR REPLACE INTO sums VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
        .execute([
            span,
            place,
            spender,
            sum.first_admitted_at,
            sum.first_started_at,
            sum.last_started_at,
            sum.cost.as_nanos(),
            sum.tokens,
            sum.requests,
        ])?;
    Ok(())
}

/// Calls `each` once for each spender of a stretch.
fn tell_sums(
    connection: &Connection,
    stretch: &[Piece],
    tags: &mut Tags,
    each: &mut dyn FnMut(&Spending<'_>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT spender, first_admitted_at, cost_nano_usd, tokens, requests FROM sums \
         WHERE span = ?1 AND place >= ?2 AND place < ?3",
    )?;
    let mut sums: HashMap<i64, Sum> = HashMap::new();
    for Piece { span, from, to } in stretch {
        let mut rows = statement.query([span, from, to])?;
        while let Some(row) = rows.next()? {
            let sum = Sum::saved(row, 1)?;
            sums.entry(row.get(0)?).and_modify(|known| *known = known.plus(sum)).or_insert(sum);
        }
    }
    // in the order of their first words: neighbours in the table
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable_by_key(|(spender, _)| *spender);
    for (spender, sum) in sums {
        tell_sum(connection, spender, sum, tags, each)?;
    }
    Ok(())
}

fn tell_sum(
    connection: &Connection,
    spender: i64,
    sum: Sum,
    tags: &mut Tags,
    each: &mut dyn FnMut(&Spending<'_>),
) -> rusqlite::Result<()> {
    let sql = "SELECT team, key, user, model, tags FROM spenders WHERE spender = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([spender])?;
    let Some(row) = rows.next()? else { return Ok(()) };
    sum.tell(row, tags, each)
}

/// How rows are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum As {
    /// In no sum: with all that they say.
    Whole,
    /// Those of a sum that does not keep apart what lies on both sides of a cut. Their runs are told by themselves.
    PartOfSum,
    /// The runs of what a sum, or a part of one, has told.
    RunAlone,
}

/// When those began that were admitted in the finest spans around two instants.
fn began(connection: &Connection, from: i64, to: i64) -> rusqlite::Result<Option<(i64, i64)>> {
    let (first, last) = (from.div_euclid(FINEST), to.saturating_sub(1).div_euclid(FINEST));
    let sql = "SELECT min(first_started_at), max(last_started_at) FROM sums \
        WHERE span = ?1 AND place BETWEEN ?2 AND ?3";
    connection
        .prepare_cached(sql)?
        .query_row([FINEST, first, last], |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?)))
}

fn tell_rows(
    connection: &Connection,
    sql: &str,
    bounds: &[i64],
    as_what: As,
    each: &mut dyn FnMut(&Spending<'_>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(bounds))?;
    let mut tags = Tags::default();
    while let Some(row) = rows.next()? {
        tell(row, as_what, &mut tags, each)?;
    }
    Ok(())
}

fn tell(
    row: &Row<'_>,
    as_what: As,
    tags: &mut Tags,
    each: &mut dyn FnMut(&Spending<'_>),
) -> rusqlite::Result<()> {
    let text =
        |column| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str_or_null()?.unwrap_or("")) };
    let count = |column| row.get(column).map(|count: i64| u64::try_from(count).unwrap_or(0));
    each(&Spending {
        id: u128::from_be_bytes(row.get(0)?),
        admitted_at: Timestamp::from_nanos(row.get(1)?),
        team: text(2)?,
        key: text(3)?,
        user: text(4)?,
        run: if as_what == As::PartOfSum { "" } else { text(5)? },
        model: text(6)?,
        tags: tags.read(text(7)?),
        cost: row.get::<_, Option<i64>>(8)?.map(NanoUsd::new),
        tokens: count(9)?.saturating_add(count(10)?),
        requests: 1,
        is_of_run_alone: as_what == As::RunAlone,
    });
    Ok(())
}

fn last(connection: &Connection, table: &str, number: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(&format!("SELECT coalesce(max({number}), 0) FROM {table}"))?
        .query_row([], |row| row.get(0))
}

const COLUMNS: &str =
    "id, admitted_at, team, key, user, run, model, tags, cost_nano_usd, input_tokens, output_tokens";
const ENTRIES: &str = "entries CROSS JOIN spenders USING (spender)";
const BEFORE: &str = "requests_v3";
