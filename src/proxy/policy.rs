//! What the door works with: the services of the process, and the policy of one config load.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::drain::Drains;
use super::error::BodyLimit;
use super::lines::Lines;
use super::prices::Prices;
use super::socket::Sockets;
use super::spool::Spools;
use crate::base::chance::Chance;
use crate::base::clock::Clock;
use crate::base::live::Live;
use crate::budget::{Budget, Reservation};
use crate::cache::Cache;
use crate::cache::section::CacheRule;
use crate::dialect::path::Dialect;
use crate::identity::{Directory, Rules};
use crate::ledger::deferred::Deferred;
use crate::ledger::journal::Journal;
use crate::limits::{Limiter, ModelLimiter};
use crate::routing::router::{Plan, Router, Target, UpstreamIndex};
use crate::signals::Signals;
use crate::tokens::CountingPool;
use crate::upstream::client::Client;
use crate::upstream::endpoint::Upstream;
use crate::upstream::section::UpstreamKind;

/// One worker's view: the shared door, and its own connections.
#[derive(Debug)]
pub struct Station {
    /// Shared by all workers.
    pub door: Arc<Door>,
    /// `http` or `https`, as the data listener speaks.
    pub scheme: &'static str,
    /// This worker's upstream connections.
    pub client: Client,
}

/// Answers that are still to be billed, with what is held for them: nothing, where nobody knows how large the
/// bill may be.
pub type Deferrals = Deferred<Option<Reservation>>;

/// The services of the process. Built once.
#[derive(Debug)]
pub struct Door {
    /// The policy now in force.
    pub live: Live<Policy>,
    /// Time.
    pub clock: Clock,
    /// Chance, for ids and weighted routes.
    pub chance: Chance,
    /// The record that survives.
    pub journal: Arc<Journal>,
    /// Answers that are still to be billed.
    pub deferred: Deferrals,
    /// Answers that may be served again.
    pub cache: Cache,
    /// Counts tokens off the workers.
    pub counting: CountingPool,
    /// Traces, metrics, logs.
    pub signals: Arc<Signals>,
    /// Request bodies in memory, in KiB (`server.max_body_total`).
    pub body_memory: Arc<Semaphore>,
    /// Forms that wait on the disk (`server.max_upload_total`).
    pub spools: Spools,
    /// Requests at work.
    pub at_work: AtomicU32,
    /// Requests between their row in the journal and their settlement: only when there is none do counters
    /// and books have to agree.
    pub settling: AtomicU32,
    /// Requests that wait for money.
    pub lines: Lines,
    /// Requests whose clients have left.
    pub drains: Drains,
    /// Open WebSockets.
    pub sockets: Sockets,
    /// Set when the process stops: new requests are sent away.
    pub draining: AtomicBool,
}

/// What one config load decided. A request keeps the policy it began with.
#[derive(Debug)]
pub struct Policy {
    /// Whose key is whose.
    pub directory: Directory<Arc<Account>>,
    /// The account of everyone when `open: true`.
    pub open: Option<Arc<Account>>,
    /// The same accounts by the names of team and key.
    pub by_name: ByName,
    /// Model names to targets.
    pub router: Router,
    /// All upstreams, in the config's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The limits of each upstream, in the same order.
    pub upstream_limiters: Vec<Option<Arc<Limiter>>>,
    /// What things cost.
    pub prices: Prices,
    /// Models with a price of their own in the config, in lower case: that price is taken before any other.
    pub overridden: HashSet<String>,
    /// Whether unmetered paths are refused to callers with a budget.
    pub refuse_unmetered: bool,
    /// Bounds of the data listener.
    pub bounds: Bounds,
}

/// Bounds on what a client may make us hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Largest body that is read whole, bytes.
    pub max_body: u64,
    /// Largest form with files, bytes.
    pub max_upload: u64,
    /// Limit on silence while a body arrives.
    pub body_timeout: Duration,
    /// Requests at work at once.
    pub max_requests: u32,
    /// How long a request waits for money that others hold and may give back.
    pub budget_wait: Duration,
    /// How long a request waits for an identical one in flight.
    pub coalesce_wait: Duration,
    /// Limit on a WebSocket in which neither side says anything.
    pub socket_idle: Duration,
    /// How long a background response may stay unfetched before it is billed at its reservation.
    pub deferred_for: Duration,
}

impl Bounds {
    pub(super) const fn body_limit(&self) -> BodyLimit {
        BodyLimit { most: self.max_body, setting: "server.max_body" }
    }

    pub(super) const fn upload_limit(&self) -> BodyLimit {
        BodyLimit { most: self.max_upload, setting: "server.max_upload" }
    }
}

/// A caller's key with everything that holds for it, resolved once per config load.
#[derive(Debug)]
pub struct Account {
    /// Team name.
    pub team: String,
    /// Key name within the team.
    pub key: String,
    /// What the key may do; `None` when everyone may do everything (`open`).
    pub rules: Option<Rules>,
    /// Rate limits of team and key.
    pub limiters: Vec<Arc<Limiter>>,
    /// Limits on models, as they hold for this key.
    pub model_limiters: Vec<ModelLimiter>,
    /// Budgets of team and key.
    pub budgets: Vec<Arc<Budget>>,
    /// Whether answers may come from the cache.
    pub cache: Option<CacheRule>,
}

impl Account {
    fn names(&self) -> (&str, &str) {
        (&self.team, &self.key)
    }

    fn is(&self, team: &str, key: &str) -> bool {
        self.names() == (team, key)
    }
}

/// Accounts in the order of their names: a place for each takes less memory than a map would.
#[derive(Debug, Default)]
pub struct ByName(Vec<Arc<Account>>);

impl ByName {
    /// Of these accounts.
    #[must_use]
    pub fn of<'a>(accounts: impl Iterator<Item = &'a Arc<Account>>) -> Self {
        let mut accounts: Vec<_> = accounts.cloned().collect();
        accounts.sort_unstable_by(|a, b| a.names().cmp(&b.names()));
        Self(accounts)
    }

    fn find(&self, team: &str, key: &str) -> Option<&Arc<Account>> {
        let place = self.0.binary_search_by(|account| account.names().cmp(&(team, key))).ok()?;
        self.0.get(place)
    }
}

impl Policy {
    /// The account of a key, by its names.
    #[must_use]
    pub fn account_of(&self, team: &str, key: &str) -> Option<Arc<Account>> {
        self.by_name.find(team, key).or(self.open.as_ref().filter(|open| open.is(team, key))).cloned()
    }

    /// Where a request may go: the one the client named, a route's, or the first upstream that
    /// speaks the path's dialect (the first of all if none does).
    #[must_use]
    pub fn plan(&self, model: &str, dialect: Dialect, wanted: Option<&str>, dice: u64) -> Plan {
        let only = |upstream: UpstreamIndex| Plan {
            targets: vec![Target { upstream, model: None }],
            cache_ttl: None,
        };
        let mut routed = self.router.plan(model, dice);
        if let Some(wanted) = wanted {
            let named = self.upstreams.iter().position(|upstream| upstream.name == wanted);
            if routed.targets.is_empty() {
                return named.map_or(Plan::default(), only);
            }
            // a choice among the route's targets: nobody gets past a route by naming an upstream
            routed.targets.retain(|target| Some(target.upstream) == named);
            return routed;
        }
        if !routed.targets.is_empty() || self.upstreams.is_empty() {
            return routed;
        }
        let speaks = |upstream: &Arc<Upstream>| {
            (upstream.kind == UpstreamKind::Anthropic) == (dialect == Dialect::Anthropic)
        };
        only(self.upstreams.iter().position(speaks).unwrap_or(0))
    }
}
