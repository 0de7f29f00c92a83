//! The gateway under test, whoever's it is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::TortureFault;
use super::door::{Caller, Door};
use super::foreign::Theirs;
use super::own::Own;
use super::rates::RATES;

/// Ours, of which everything can be known, or somebody else's.
#[derive(Debug)]
pub(super) enum Gateway {
    Own(Own),
    Theirs(Theirs),
}

impl Gateway {
    pub(super) fn start(&mut self) -> Result<Duration, TortureFault> {
        match self {
            Self::Own(own) => own.start(),
            Self::Theirs(theirs) => theirs.start(),
        }
    }

    pub(super) fn kill(&mut self) -> bool {
        match self {
            Self::Own(own) => own.kill(),
            Self::Theirs(theirs) => theirs.kill(),
        }
    }

    /// Where it listens now; ours has another port after each start.
    pub(super) fn door(&self) -> Door {
        match self {
            Self::Own(own) => Door::at(own.data().unwrap_or(NOWHERE)),
            Self::Theirs(theirs) => theirs.door.clone(),
        }
    }

    pub(super) fn callers(&self) -> &[Caller] {
        match self {
            Self::Own(own) => own.callers(),
            Self::Theirs(theirs) => &theirs.callers,
        }
    }

    /// The models to ask for.
    pub(super) fn models(&self) -> Vec<String> {
        match self {
            Self::Theirs(Theirs { asked, .. }) if asked.model.is_some() => {
                asked.model.iter().cloned().collect()
            }
            _ => RATES[..3].iter().map(|rates| rates.model.to_owned()).collect(),
        }
    }

    /// Where its books lie, if they can be read.
    pub(super) fn data_dir(&self) -> Option<PathBuf> {
        match self {
            Self::Own(own) => Some(own.data_dir()),
            Self::Theirs(_) => None,
        }
    }

    pub(super) fn admin(&self) -> Option<SocketAddr> {
        match self {
            Self::Own(own) => own.admin(),
            Self::Theirs(_) => None,
        }
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Own(own) => own.pid(),
            Self::Theirs(theirs) => theirs.pid(),
        }
    }

    /// What it spent so far in nano-USD, where only a command of the user's can say.
    pub(super) fn spent(&self) -> Result<Option<i64>, TortureFault> {
        match self {
            Self::Own(_) => Ok(None),
            Self::Theirs(theirs) => theirs.spent(),
        }
    }

    pub(super) const fn is_ours(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Whether its process can be killed and started again.
    pub(super) const fn can_die(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Theirs(theirs) => theirs.asked.start.is_some(),
        }
    }
}

/// Nobody listens there: what a gateway that is down looks like.
const NOWHERE: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1));
