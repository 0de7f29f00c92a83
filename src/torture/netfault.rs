//! A TCP proxy that breaks the network on demand.

use std::net::SocketAddr;

use super::TortureFault;

/// A running proxy.
#[derive(Debug)]
pub(super) struct Netfault {
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Netfault {
    pub(super) fn start(_to: SocketAddr) -> Result<Self, TortureFault> {
        todo!()
    }
    pub(super) fn start_at(_listen: SocketAddr, _to: SocketAddr) -> Result<Self, TortureFault> {
        todo!()
    }
}
