//! Floor 3: how much a caller may spend. Reserve, settle, release.

#[cfg(test)]
mod account_tests;
mod accounts;
mod amount;
mod book;
mod counted;
mod counters;
#[cfg(test)]
mod history_tests;
mod lock;
mod recount;
mod refusal;
mod reservation;
pub mod section;
mod spec;
mod spent;
mod state;
mod sums;
mod suspects;
mod terms;
mod window;

pub use amount::{Amount, Limit, Need, Unit};
pub use book::{Book, Budget, Standing, Watched, watch};
pub use counted::{Counted, Spender};
pub use recount::Recount;
pub use refusal::Refusal;
pub use reservation::{Reservation, Settled, impose, reserve};
pub use spec::{BudgetFault, BudgetSpec, Scope};
pub use state::{BudgetState, Crossing, Shadowed};
pub use suspects::{Drift, Suspects};
pub use terms::{Terms, UnpricedRule, terms};
pub use window::{Period, Window, window};
