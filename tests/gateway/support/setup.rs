//! A config in the making: teams with one key each, prices known to the test, one mock behind it all.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tollgate::base::usage::Usage;
use tollgate::mock::MockConfig;

use super::House;

/// What tokens cost, in pico-USD each: the test's own idea of a price, and its own arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) cache_write: u64,
    pub(crate) output: u64,
}

impl Rates {
    pub(crate) const fn flat(input: u64, output: u64) -> Self {
        Self { input, cached: input, cache_write: input, output }
    }

    /// What a usage costs in nano-USD: each token once, rounded half up once.
    pub(crate) fn cost(&self, usage: &Usage) -> i64 {
        let plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens;
        let picos = plain * self.input
            + usage.cached_input_tokens * self.cached
            + usage.cache_write_tokens * self.cache_write
            + usage.output_tokens * self.output;
        i64::try_from((picos + 500) / 1_000).unwrap()
    }
}

/// A team with one key named `prod`.
#[derive(Debug, Clone)]
pub(crate) struct Team {
    name: &'static str,
    lines: Vec<String>,
}

impl Team {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, lines: Vec::new() }
    }

    /// One more line of the team's section.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.lines.push(line.into());
        self
    }
}

/// What a house is made of.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    teams: Vec<Team>,
    prices: Vec<(String, Rates)>,
    lines: Vec<String>,
    upstream_lines: Vec<String>,
    /// Size of a disk of its own for the data folder.
    pub(super) disk: Option<&'static str>,
}

impl Setup {
    pub(crate) fn team(mut self, team: Team) -> Self {
        self.teams.push(team);
        self
    }

    pub(crate) fn price(mut self, model: &str, rates: Rates) -> Self {
        self.prices.push((model.into(), rates));
        self
    }

    /// One more line at the top of the config.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.lines.push(line.into());
        self
    }

    /// One more line for both upstreams.
    pub(crate) fn upstream(mut self, line: &str) -> Self {
        self.upstream_lines.push(line.into());
        self
    }

    /// Puts the data folder on a disk of its own, of this size. Needs the right to mount.
    pub(crate) fn disk(mut self, size: &'static str) -> Self {
        self.disk = Some(size);
        self
    }

    /// Starts mock and gateway.
    pub(crate) fn start(self) -> House {
        House::start(&self, MockConfig::default())
    }

    /// Writes config and secrets into `folder`.
    pub(super) fn write(&self, folder: &Path, mock: &str) {
        secret(folder, "upstream.key", UPSTREAM_KEY);
        let mut yaml = String::from("listen: \"127.0.0.1:0\"\nadmin: { listen: \"127.0.0.1:0\" }\n");
        let mut line = |text: String| writeln!(yaml, "{text}").unwrap();
        line(format!("data_dir: \"{}\"", folder.join("data").display()));
        line("log: { format: json, requests: false }".into());
        line("workers: 2".into());
        for extra in &self.lines {
            line(extra.clone());
        }
        line("upstreams:".into());
        for (name, kind, url) in
            [("mock", "openai", format!("{mock}/v1")), ("claude", "anthropic", mock.into())]
        {
            line(format!("  {name}:"));
            line(format!("    base_url: \"{url}\""));
            line(format!("    kind: {kind}"));
            line("    api_key: \"file:upstream.key\"".into());
            // so that the mock sees no header that a client did not send
            line("    propagate_trace: false".into());
            for extra in &self.upstream_lines {
                line(format!("    {extra}"));
            }
        }
        line("teams:".into());
        for team in &self.teams {
            let file = format!("{}.key", team.name);
            secret(folder, &file, &key_of(team.name));
            line(format!("  {}:", team.name));
            line(format!("    keys: [{{ name: prod, key: \"file:{file}\" }}]"));
            for extra in &team.lines {
                line(format!("    {extra}"));
            }
        }
        if !self.prices.is_empty() {
            line("prices:".into());
        }
        for (model, rates) in &self.prices {
            line(format!(
                "  \"{model}\": {{ input: {}, cached_input: {}, cache_write: {}, output: {} }}",
                per_million(rates.input),
                per_million(rates.cached),
                per_million(rates.cache_write),
                per_million(rates.output),
            ));
        }
        fs::write(folder.join(CONFIG), yaml).unwrap();
    }
}

/// The key of a team.
pub(super) fn key_of(team: &str) -> String {
    format!("tg-{team}-prod-0123456789abcdef")
}

/// Pico-USD per token as USD per million tokens.
fn per_million(picos: u64) -> String {
    format!("{}.{:06}", picos / 1_000_000, picos % 1_000_000)
}

fn secret(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What the gateway presents to the mock; nobody else knows it.
pub(super) const UPSTREAM_KEY: &str = "sk-upstream-of-the-gateway";
pub(super) const CONFIG: &str = "tollgate.yaml";
