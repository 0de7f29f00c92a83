//! The ledger in one `SQLite` file (bundled, WAL): the default, for one machine.

mod columns;
mod entry;
mod pieces;
mod reader;
mod retired;
mod schema;
mod sums;
mod words;
mod writer;

pub use reader::{Snapshot, SqliteReader};
pub use schema::FILE_NAME;
pub use writer::SqliteLedger;
