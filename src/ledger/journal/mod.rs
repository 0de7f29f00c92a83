//! The append-only files that make a request's record survive a crash.

mod append;
mod bell;
mod codec;
mod fault;
mod follow;
mod frame;
#[cfg(test)]
mod power_tests;
mod reserve;
mod segment;
mod sync;
mod tail;
mod unwritten;

pub use append::{Journal, Ticket, is_in_use};
pub use fault::JournalFault;
pub use follow::{Entry, Follower};
pub use frame::Kind;
pub use segment::{end_on_disk, oldest, remove_before, resume};

pub(in crate::ledger) use bell::Bell;
