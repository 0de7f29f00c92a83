//! Wiring: turns a config into running services. The only room that knows which concrete store is in use.

mod admin_api;
mod assemble;
mod budget_rows;
mod deferred;
mod reconcile;
mod reload;
mod running;
mod spent;

pub use assemble::{AssemblyFault, catalogue, read_catalogue};
pub use budget_rows::{BudgetRow, BudgetRows, MoreAccounts};
pub use reload::{ReloadState, Reloader};
pub use running::{Running, StartFault, pepper_path, start};
