//! The house under test: a config, a gateway process, a mock upstream, a client that sees every byte, and
//! the check of the books that ends every test.

mod ask;
mod check;
mod disk;
mod house;
mod process;
mod setup;
mod wire;

use std::thread;
use std::time::Duration;

use tollgate::base::clock::Clock;

pub(crate) use ask::Ask;
pub(crate) use check::sha256_hex;
pub(crate) use disk::{fill, may_mount};
pub(crate) use house::House;
pub(crate) use process::signal;
pub(crate) use setup::{Rates, Setup, Team};
pub(crate) use wire::{Answer, BodyEnd, Wire};

/// Waits until `probe` yields something; the time limit is for a slow machine, not part of any promise.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::system();
    let began = clock.tick();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(clock.tick().since(began) < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        thread::park_timeout(PAUSE);
    }
}

/// Long enough for two cores that others use too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
