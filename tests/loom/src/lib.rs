//! The budget room and what stands below it, as they are in the gateway; only the locks are the model checker's.

#[path = "../../../src/base/mod.rs"]
pub mod base;
#[path = "../../../src/budget/mod.rs"]
pub mod budget;
