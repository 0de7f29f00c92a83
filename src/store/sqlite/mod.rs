//! The ledger in one `SQLite` file (bundled, WAL): the default, for one machine.

mod columns;
mod reader;
mod retired;
mod schema;
mod writer;

pub use reader::{Snapshot, SqliteReader};
pub use schema::FILE_NAME;
pub use writer::SqliteLedger;
