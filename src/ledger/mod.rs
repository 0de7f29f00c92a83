//! Floor 3: the journal that survives, the writer that settles it, the reports that read it.

pub mod books;
pub mod deferred;
pub mod journal;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod measurements;
mod open_intents;
pub mod recovery;
pub mod report;
pub mod retention;
pub mod section;
mod summing;
pub mod writer;
