//! A real gateway process between real clients and the mock upstream: what a caller and an operator see.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where and ends")]

mod books;
mod budget;
mod bytes;
mod cut;
mod disk;
mod drain;
mod ends;
#[cfg(feature = "failpoints")]
mod failpoints;
mod kill;
mod late;
mod store;
mod support;
mod wait;
