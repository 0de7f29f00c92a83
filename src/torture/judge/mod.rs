//! The judge: holds clients, oracle and books against each other.

pub(super) mod books;
pub(super) mod bytes;
pub(super) mod case;
pub(super) mod counters;
