//! What all feature tests stand on: the gateway as a process, a client on raw sockets, upstreams that record.

mod client;
mod gateway;
mod upstream;

pub use client::{Answer, Ask, Wire, chat, stream_chat};
pub use gateway::{Gateway, Setup, run};
pub use upstream::{Recorder, Seen, json_answer};

use std::time::{Duration, Instant};

/// More than any event needs that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until there is something; fails when patience is over.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A fake upstream with the default settings.
pub fn mock() -> tollgate::mock::MockHandle {
    tollgate::mock::Mock::start(tollgate::mock::MockConfig::default()).unwrap()
}
