//! Floor 2, edge to storage: traits by noun, and one room per engine. The only place with SQL.

pub mod ledger;
pub mod place;
pub mod record;
#[cfg(test)]
pub(crate) mod samples;
pub mod sqlite;
