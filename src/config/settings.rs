//! The whole config file as values: sections of the rooms, composed. Not how it is read.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::{Size, Span};
use crate::budget::section::BudgetSection;
use crate::cache::section::{CacheRule, CacheSection};
use crate::identity::section::KeyProof;
use crate::ledger::section::LedgerSection;
use crate::limits::section::{LimitsSection, ModelLimitSection};
use crate::pricing::section::PriceSection;
use crate::routing::section::RouteSection;
use crate::signals::section::{LogSection, TelemetrySection};
use crate::upstream::section::UpstreamSection;

/// A Tollgate config file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of the data listener.
    #[serde(default = "listen")]
    pub listen: String,
    /// Certificate and key; with them the data listener speaks TLS.
    #[serde(default)]
    pub tls: Option<TlsSection>,
    /// The admin listener: health, metrics, API.
    #[serde(default)]
    pub admin: AdminSection,
    /// Local development without keys: everyone is the team `open`. Only on a loopback address.
    #[serde(default)]
    pub open: bool,
    /// Where journal, ledger and pepper live.
    #[serde(default = "data_dir")]
    pub data_dir: PathBuf,
    /// Worker threads. Default: one per core.
    #[serde(default)]
    pub workers: Option<std::num::NonZeroUsize>,
    /// Bounds of the data listener.
    #[serde(default)]
    pub server: ServerSection,
    /// Endpoints that answer, by name.
    pub upstreams: IndexMap<String, UpstreamSection>,
    /// Which upstreams serve a model name.
    #[serde(default)]
    pub routes: Vec<RouteSection>,
    /// What happens to paths that no dialect knows, when the caller has a budget.
    #[serde(default)]
    pub unmetered: Unmetered,
    /// Who may ask, by team name.
    #[serde(default)]
    pub teams: IndexMap<String, TeamSection>,
    /// Limits on models, whoever asks.
    #[serde(default)]
    pub limits: Vec<ModelLimitSection>,
    /// Spending limits of everyone together, besides those of teams and keys.
    #[serde(default)]
    pub budgets: Vec<BudgetSection>,
    /// Overrides of the shipped price catalogue, by model name.
    #[serde(default)]
    pub prices: IndexMap<String, PriceSection>,
    /// A price catalogue to use instead of the shipped one (made by `tollgate prices import`).
    #[serde(default)]
    pub price_catalogue: Option<PathBuf>,
    /// The store of answers.
    #[serde(default)]
    pub cache: CacheSection,
    /// How records survive.
    #[serde(default)]
    pub ledger: LedgerSection,
    /// Traces and metrics.
    #[serde(default)]
    pub telemetry: TelemetrySection,
    /// Logs.
    #[serde(default)]
    pub log: LogSection,
}

/// A team: its keys and what holds for all of them together.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TeamSection {
    /// The team's keys.
    pub keys: Vec<KeySection>,
    /// Model names or patterns allowed. Default: all.
    pub models: Option<Vec<String>>,
    /// Last instant of validity: RFC 3339, or a date (through its end, UTC).
    pub expires: Option<String>,
    /// Spending limits of the team.
    pub budgets: Vec<BudgetSection>,
    /// Rate limits of the team.
    pub limits: LimitsSection,
    /// Switches the answer cache on.
    pub cache: Option<CacheRule>,
}

/// One key of a team.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySection {
    /// Name within the team.
    pub name: String,
    /// Keyed hash as printed by `tollgate keys new`: `hmac-sha256:` and 64 hex digits.
    #[serde(default)]
    pub hash: Option<String>,
    /// A reference to the key itself: `${ENV}` or `file:PATH`.
    #[serde(default)]
    pub key: Option<crate::base::secret::Secret>,
    /// Model names or patterns allowed, within the team's. Default: the team's.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Last instant of validity: RFC 3339, or a date (through its end, UTC).
    #[serde(default)]
    pub expires: Option<String>,
    /// Spending limits of this key, besides the team's.
    #[serde(default)]
    pub budgets: Vec<BudgetSection>,
    /// Rate limits of this key, besides the team's.
    #[serde(default)]
    pub limits: LimitsSection,
}

impl KeySection {
    /// The key's proof, as identity reads it.
    #[must_use]
    pub fn proof(&self) -> KeyProof {
        KeyProof { hash: self.hash.clone(), key: self.key.clone() }
    }
}

/// The admin listener.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminSection {
    /// Its address; loopback unless you know better, it has no login.
    pub listen: String,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self { listen: "127.0.0.1:4001".into() }
    }
}

/// Certificate and key of a listener, PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// Bounds of the data listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSection {
    /// Largest request body of a metered path that is read whole before it is sent on: all but forms with files.
    pub max_body: Size,
    /// Request bodies in memory, all together.
    pub max_body_total: Size,
    /// Largest form with files (images, audio); beyond 1 MiB it passes through, or waits on the disk until all
    /// is known that its way and its price depend on.
    pub max_upload: Size,
    /// Forms with files that wait on the disk, all together.
    pub max_upload_total: Size,
    /// Requests at work at once; more are answered 503.
    pub max_requests: u32,
    /// Open client connections; more wait in the system's backlog.
    pub max_connections: u32,
    /// Limit on receiving a request's headers; an idle connection is kept this long, too.
    pub header_timeout: Span,
    /// Limit on silence while a request body arrives.
    pub body_timeout: Span,
    /// Limit on a client that takes nothing of its answer.
    pub write_timeout: Span,
    /// Limit on a WebSocket in which neither side says anything, a ping included.
    pub socket_idle_timeout: Span,
    /// What a client is that has ended its sending direction and waits for its answer.
    pub half_closed: HalfClosed,
    /// How long a request waits for money that others hold and may give back, before it is refused.
    pub budget_wait: Span,
    /// How long requests may go on after a stop signal.
    pub shutdown_grace: Span,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            max_body: Size(32 << 20),
            max_body_total: Size(512 << 20),
            // sixteen pictures of 50 MB, the most that an upstream takes in one form, and some air
            max_upload: Size(1 << 30),
            // a few of the largest at once, and little beside what a gateway's disk has for its journal
            max_upload_total: Size(4 << 30),
            max_requests: 10_000,
            max_connections: 20_000,
            // as long as common load balancers keep idle connections: closing first would race their next request
            header_timeout: Span(Duration::from_secs(75)),
            body_timeout: Span(Duration::from_secs(30)),
            // a laptop that changes its network is back by then
            write_timeout: Span(Duration::from_mins(1)),
            // as long as an upstream may think before its first word; a client that waits for longer pings
            socket_idle_timeout: Span(Duration::from_mins(10)),
            // to us a closed socket looks the same, and nobody is to pay for answers that nobody reads
            half_closed: HalfClosed::Gone,
            // two seconds of waiting are no failure to a client; streams that end meanwhile give back half or more
            budget_wait: Span(Duration::from_secs(2)),
            shutdown_grace: Span(Duration::from_secs(30)),
        }
    }
}

/// What a client of HTTP/1.1 is that has ended its sending direction: TCP tells nobody whether it still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HalfClosed {
    /// A client that left: its request is cancelled.
    #[default]
    Gone,
    /// A client that waits: its request is served in full. That another one has left is noticed when
    /// something is written to it.
    Served,
}

/// What happens to paths that no dialect knows, when the caller has a budget. (Callers without a budget are
/// forwarded and recorded as unmetered.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unmetered {
    /// Forward, and record as unmetered.
    #[default]
    Forward,
    /// Refuse with 403 `unmetered_path`.
    Refuse,
}

fn listen() -> String {
    "127.0.0.1:4000".into()
}

fn data_dir() -> PathBuf {
    "./data".into()
}
