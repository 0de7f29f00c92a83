//! The rooms that read bytes of strangers, as they are in the gateway, and the laws that hold for any bytes.

#[path = "../../src/base/usage.rs"]
pub mod usage;

/// Of the words, the one that dialects need.
pub mod base {
    pub use crate::usage;
}
#[path = "../../src/dialect/mod.rs"]
pub mod dialect;
pub mod input;
pub mod laws;
