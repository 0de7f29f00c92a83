//! The gateway's features, as a user sees them: a real process, a fake upstream, and bytes on sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

mod bench;
mod cache;
mod callers;
mod counting;
mod disk;
mod dodges;
mod framing;
mod limits;
mod money;
mod parts;
mod paths;
mod reload;
mod robust;
mod routes;
mod secure;
mod stop;
mod telemetry;
mod verify;
