//! What is kept of requests whose rows were deleted: sums, by all that budgets go by but the run.

use rusqlite::Connection;

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::store::ledger::Spending;

use super::reader::Tags;

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
