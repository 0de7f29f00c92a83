//! Tollgate: a transparent LLM API gateway.
//!
//! The house has floors; a room uses rooms on lower floors only (docs/ARCHITECTURE.md):
//!
//! ```text
//! 0 base
//! 1 dialect pricing routing telemetry
//! 2 store upstream
//! 3 identity limits budget cache ledger tokens signals
//! 4 proxy admin mock
//! 5 config torture -> server -> app -> cli
//! ```

pub mod admin;
pub mod app;
pub mod base;
pub mod budget;
pub mod cache;
pub mod cli;
pub mod config;
pub mod dialect;
pub mod identity;
pub mod ledger;
pub mod limits;
pub mod mock;
pub mod pricing;
pub mod proxy;
pub mod routing;
pub mod server;
pub mod signals;
pub mod store;
pub mod telemetry;
pub mod tokens;
pub mod torture;
pub mod upstream;
