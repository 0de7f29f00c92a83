//! The config of the demo, as a user would write it: what it shows can be copied.

use std::net::SocketAddr;
use std::path::Path;

/// Who asks in the demo: key, and the file beside the config that holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// The key. No secret: it opens a fake upstream on loopback, for as long as the demo runs.
    pub(super) key: &'static str,
    /// The name of its file.
    pub(super) file: &'static str,
}

pub(super) const SEARCH: Caller = Caller { key: "demo-search", file: "search.key" };
pub(super) const SUPPORT: Caller = Caller { key: "demo-support", file: "support.key" };
pub(super) const NIGHTLY: Caller = Caller { key: "demo-nightly", file: "nightly.key" };
pub(super) const RESEARCH: Caller = Caller { key: "demo-research", file: "research.key" };
/// What the gateway presents to the fake upstream, which accepts nothing else.
pub(super) const UPSTREAM: Caller = Caller { key: "demo-upstream", file: "upstream.key" };

/// All files of secrets that the config refers to.
pub(super) const SECRETS: [Caller; 5] = [SEARCH, SUPPORT, NIGHTLY, RESEARCH, UPSTREAM];

/// Where things are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) data: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) data_dir: &'a Path,
}

/// The config file.
pub(super) fn text(places: &Places<'_>) -> String {
    let Places { data, admin, upstream, data_dir } = places;
    // a JSON string is a YAML string, whatever the path holds
    let data_dir = serde_json::Value::from(data_dir.to_string_lossy());
    format!(
        r#"# Made by `tollgate demo`; gone when it ends.
listen: "{data}"
admin: {{ listen: "{admin}" }}
data_dir: {data_dir}
workers: 1
server: {{ shutdown_grace: 1s }}
log: {{ format: pretty }}

upstreams: # all the same fake one
  openai-eu: {{ base_url: "http://{upstream}/v1", api_key: "file:{UPSTREAM}" }}
  openai: {{ base_url: "http://{upstream}/v1", api_key: "file:{UPSTREAM}" }}
  anthropic: {{ kind: anthropic, base_url: "http://{upstream}", api_key: "file:{UPSTREAM}" }}

routes: # the fake upstream does what model names tell it: here 503, the first time that it is asked
  - models: ["gpt-4o"]
    to: [{{ upstream: openai-eu, model: "gpt-4o@status=503:1" }}, {{ upstream: openai }}]

teams:
  search: # asks the same again and again: the cache pays
    keys: [{{ name: prod, key: "file:{SEARCH}" }}]
    budgets: [{{ limit_usd: 25, every: month, time_zone: Europe/Berlin }}]
    cache: {{ ttl: 10m }}
  support: # may use small models only; the nightly job is slowed down
    models: ["gpt-4o-mini", "claude-*"]
    keys:
      - {{ name: bot, key: "file:{SUPPORT}" }}
      - {{ name: nightly, key: "file:{NIGHTLY}", limits: {{ requests_per_minute: 1 }} }}
    budgets: [{{ limit_tokens: 1_000_000, every: day }}]
  research: # a small budget that is spent soon
    keys: [{{ name: lab, key: "file:{RESEARCH}" }}]
    budgets: [{{ limit_usd: 0.01, every: day, warn_at: [50%, 75%], when_spent: refuse }}]
"#,
        UPSTREAM = UPSTREAM.file,
        SEARCH = SEARCH.file,
        SUPPORT = SUPPORT.file,
        NIGHTLY = NIGHTLY.file,
        RESEARCH = RESEARCH.file,
    )
}
