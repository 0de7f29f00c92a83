//! What all feature tests stand on: the gateway as a process, a client on raw sockets, upstreams that record.

mod client;
mod gateway;
pub(crate) mod upstream;

pub(crate) use client::{Answer, Ask, Wire, chat, stream_chat};
pub(crate) use gateway::{Gateway, Setup, rows, run};
pub(crate) use upstream::{COMPLETION, Recorder, Seen, json_answer};

use std::time::Duration;

use tollgate::base::clock::Clock;

/// More than any event needs that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The keys of a config's `${KEY_PROD}`, `${KEY_CI}` and `${KEY_OTHER}`.
pub(crate) const PROD: &str = "key-prod-0123456789";
pub(crate) const CI: &str = "key-ci-0123456789";
pub(crate) const OTHER: &str = "key-other-0123456789";
/// The credential of a config's `${UPSTREAM_KEY}`.
pub(crate) const UPSTREAM: &str = "sk-upstream-0123456789";

/// Asks again until there is something; fails when patience is over.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let began = clock.tick();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock.tick().since(began) < PATIENCE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A fake upstream with the default settings.
pub(crate) fn mock() -> tollgate::mock::MockHandle {
    tollgate::mock::Mock::start(tollgate::mock::MockConfig::default()).unwrap()
}
