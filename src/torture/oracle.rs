//! The oracle: the fake upstream, and its own log of what it served, by the marks of the questions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::TortureFault;
use crate::base::clock::Clock;
use crate::mock::{End, Mock, MockConfig, MockHandle, Served};

/// The upstream of the gateway under test. It alone knows what was really used.
#[derive(Debug)]
pub(super) struct Oracle {
    mock: MockHandle,
    /// How many answers were looked at already.
    seen: u64,
}

/// What it served since it was asked last, by mark, in its order.
pub(super) type ByMark = HashMap<String, Vec<Served>>;

impl Oracle {
    /// Listens at `listen`; each answer is in the log at `log` and on the disk before its first byte.
    pub(super) fn start(listen: SocketAddr, log: &Path) -> Result<Self, TortureFault> {
        let config =
            MockConfig { listen, served_log: Some(log.into()), sync_log: true, ..MockConfig::default() };
        let mock = Mock::start(config).map_err(TortureFault::io("start the oracle"))?;
        Ok(Self { mock, seen: 0 })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.mock.addr
    }

    /// What was served since the last call, when all of it is over. What is still open after a while is
    /// given as it is: a connection that nobody reads and nobody closes.
    pub(super) async fn served(&mut self) -> ByMark {
        let clock = Clock::system();
        let begun = clock.tick();
        let (served, next) = loop {
            let (served, next) = self.mock.served_from(self.seen);
            let is_open = served.iter().any(|one| one.end == End::Open);
            if !is_open || clock.tick().since(begun) > PATIENCE {
                break (served, next);
            }
            tokio::time::sleep(PAUSE).await;
        };
        self.seen = next;
        let mut by_mark = ByMark::new();
        for one in served {
            by_mark.entry(one.mark.clone()).or_default().push(one);
        }
        by_mark
    }
}

/// A gateway has so long to let go of an upstream whose client is gone.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);
