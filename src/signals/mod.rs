//! Floor 3: traces, metrics and logs, from one record per request.

mod export;
pub mod finished;
mod hub;
mod instruments;
mod line;
mod lines;
mod logs;
mod measure;
mod object;
mod object_line;
mod outlet;
pub mod section;
mod series;
mod spans;
mod stamp;
mod told;

pub use finished::{AnswerFaults, Answered, Asked, Attempt, BudgetVerdict, Finished, HttpFacts};
pub use hub::{BudgetGauge, LedgerStatus, Signals, SignalsFault};
pub use instruments::Active;
pub use logs::Colours;

#[cfg(test)]
mod tests;
