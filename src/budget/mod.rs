//! Floor 3: how much a caller may spend. Reserve, settle, release.

mod account;
mod amount;
mod book;
mod refusal;
mod reservation;
pub mod section;
mod spec;
mod window;

pub use account::{BudgetState, Crossing};
pub use amount::{Amount, Limit, Need, Unit};
pub use book::{Book, Budget};
pub use refusal::Refusal;
pub use reservation::{Reservation, Settled, reserve};
pub use spec::{BudgetFault, BudgetSpec, Scope};
pub use window::{Window, window};
