//! What is played: one file per scenario.

mod budget;
mod disconnect;
mod kill;
mod lots;
mod mixed;
mod network;
mod retry;
mod usage;

use super::TortureFault;
use super::own::Wants;
use super::run::Stand;

/// A scenario by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// Requests of every kind; the books against the oracle's log.
    Mixed,
    /// `kill -9` under load, restart, recover; again and again.
    Kill,
    /// More streams than a budget holds.
    Budget,
    /// Clients that leave at any byte.
    Disconnect,
    /// Usage in every spelling, right and wrong.
    Usage,
    /// Broken networks on both sides.
    Network,
    /// Upstreams that fail before one works.
    Retry,
}

impl Scenario {
    /// All, in the order in which they are played.
    pub const ALL: [Self; 7] =
        [Self::Mixed, Self::Kill, Self::Budget, Self::Disconnect, Self::Usage, Self::Network, Self::Retry];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Kill => "kill",
            Self::Budget => "budget",
            Self::Disconnect => "disconnect",
            Self::Usage => "usage",
            Self::Network => "network",
            Self::Retry => "retry",
        }
    }

    /// The scenario of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name)
    }

    /// What the gateway's config needs for it.
    pub(super) fn wants(self) -> Wants {
        match self {
            Self::Budget => budget::wants(),
            Self::Disconnect => disconnect::wants(),
            Self::Network => network::wants(),
            Self::Retry => retry::wants(),
            Self::Mixed | Self::Kill | Self::Usage => Wants::default(),
        }
    }

    pub(super) async fn play(self, stand: &mut Stand<'_>) -> Result<(), TortureFault> {
        match self {
            Self::Mixed => mixed::play(stand).await,
            Self::Kill => kill::play(stand).await,
            Self::Budget => budget::play(stand).await,
            Self::Disconnect => disconnect::play(stand).await,
            Self::Usage => usage::play(stand).await,
            Self::Network => network::play(stand).await,
            Self::Retry => retry::play(stand).await,
        }
    }
}
