//! The cases of docs/WIRE.md on real connections: a gateway process between a client and an upstream that
//! a test plays byte by byte.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[expect(unreachable_pub, reason = "shared with the tests in process, where it can be reached")]
#[path = "../../src/dialect/answers_tests.rs"]
mod answers;
mod script;
#[expect(dead_code, unused_imports, reason = "shared with the tests of features, which use all of it")]
#[path = "../features/support/mod.rs"]
mod support;

mod asks;
mod bodies;
mod crowd;
mod differential;
mod ends;
mod events;
mod http2;
mod memory;
mod odd;
mod pause;
mod sockets;
mod stale;
mod uploads;
mod ws;
