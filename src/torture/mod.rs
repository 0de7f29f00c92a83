//! The torture kit: an oracle upstream, a fault proxy, a killer and a judge, against any gateway that speaks
//! OpenAI's formats. It says which invariants held (docs/TORTURE.md). It shares no code with the request's
//! walk: what it expects of bytes and money it works out by itself.

mod ask;
mod client;
mod crowd;
mod door;
mod folder;
mod foreign;
mod gateway;
mod judge;
mod netfault;
mod oracle;
mod own;
mod process;
mod rates;
mod report;
mod run;
mod scenario;
mod sheet;
mod watch;

use std::io;
use std::net::SocketAddr;

pub use report::{Report, ScenarioReport};
pub use run::run;
pub use scenario::Scenario;
pub use sheet::{Invariant, Verdict};

/// What to torture, and how hard.
#[derive(Debug, Clone)]
pub struct Options {
    /// The gateway. `None`: a Tollgate of our own, started and stopped by the kit.
    pub gateway: Option<Foreign>,
    /// What is played, in this order.
    pub scenarios: Vec<Scenario>,
    /// From which all chance comes.
    pub seed: u64,
    /// Rounds of `kill`.
    pub rounds: u64,
    /// Requests of `mixed`, and the measure for the other scenarios.
    pub requests: u64,
    /// Streams at once in `kill` and `budget`.
    pub streams: u64,
}

/// A gateway that somebody else set up.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Its base URL, with or without `/v1`.
    pub url: String,
    /// The key to present.
    pub key: String,
    /// The only model name to use. Default: the three that the kit prints.
    pub model: Option<String>,
    /// Where its upstream, the oracle, listens.
    pub oracle: SocketAddr,
    /// The command that starts it, for `kill`.
    pub start: Option<String>,
    /// Its process, to watch its memory.
    pub pid: Option<u32>,
    /// The command that prints what was spent so far, in USD.
    pub spend: Option<String>,
}

/// Why the kit cannot go on; says nothing about the gateway's promises.
#[derive(Debug, thiserror::Error)]
pub enum TortureFault {
    /// A base URL that is none.
    #[error("`{url}` is no base URL of a gateway: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Files, ports or threads of the kit itself.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The gateway does not come up.
    #[error("the gateway does not start: {why}")]
    Start {
        /// Its last words.
        why: String,
    },
    /// The books cannot be read.
    #[error("the books cannot be read: {0}")]
    Books(#[from] crate::store::ledger::StoreFault),
    /// A command of the user's failed.
    #[error("`{command}` {why}")]
    Command {
        /// The command.
        command: String,
        /// What it did.
        why: String,
    },
}

impl TortureFault {
    fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
