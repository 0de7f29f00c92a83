//! Floor 4, the admin door: health, metrics, API. One file per verb; it has no login, so it stays on loopback.

mod budgets;
mod config;
mod error;
mod guard;
mod healthz;
mod index;
mod metrics;
mod openapi;
mod readyz;
mod router;
mod state;
mod usage;
mod version;

pub use router::router;
pub use state::{AdminApi, AdminState, Readiness};
