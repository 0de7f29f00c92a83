//! Floor 5, wiring: the config file, read and checked whole. The only room that reads the environment.

mod check;
pub mod document;
mod fault;
mod fit;
mod fitted;
mod form;
mod load;
mod report;
mod secrets;
pub mod settings;
mod suggest;
mod tree;
pub mod watch;

pub use document::schema_json;
pub use fault::{Fault, Faults, Severity};
pub use load::{Loaded, environment, load};

#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod trial;
