//! The two gateways under measurement, each a process of its own in front of the same upstream.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;
use tollgate::identity::Pepper;

use crate::load::{now, pause};
use crate::process::Process;
use crate::work::{CACHED, HELD_OPEN, WORKS};

/// nginx with one process, as a plain reverse proxy with kept connections.
pub(crate) struct Nginx {
    pub(crate) process: Process,
    /// Collects answers, as nginx does by default: for JSON.
    pub(crate) buffered: SocketAddr,
    /// Passes bytes on as they come: for streams.
    pub(crate) unbuffered: SocketAddr,
}

/// The gateway with everything switched on that a request passes.
pub(crate) struct Tollgate {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// When its process began.
    pub(crate) spawned: Instant,
    binary: PathBuf,
    config: PathBuf,
}

impl Nginx {
    pub(crate) fn start(folder: &Path, upstream: SocketAddr) -> io::Result<Self> {
        let (buffered, unbuffered) = (free_address()?, free_address()?);
        let home = folder.join("nginx");
        fs::create_dir(&home)?;
        let config = NGINX
            .replace("@HOME@", &home.display().to_string())
            .replace("@UPSTREAM@", &upstream.to_string())
            .replace("@UNBUFFERED@", &unbuffered.to_string())
            .replace("@BUFFERED@", &buffered.to_string());
        let file = home.join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&home).arg("-c").arg(&file);
        let process = start(&mut command, &home.join("log"), unbuffered)?;
        Ok(Self { process, buffered, unbuffered })
    }
}

/// What a gateway is started with, besides everything that is always on.
pub(crate) struct Setup<'a> {
    pub(crate) binary: &'a Path,
    /// Worker threads.
    pub(crate) workers: usize,
    pub(crate) upstream: SocketAddr,
    pub(crate) receiver: SocketAddr,
    /// Teams, with ten keys each; of a single team there is one key.
    pub(crate) teams: usize,
}

impl Tollgate {
    /// Starts a gateway that lives in `home`; a ledger that lies there already is its own.
    pub(crate) fn start(setup: &Setup<'_>, home: &Path) -> io::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        // the config has a folder of its own, as in a deployment: what is written beside it wakes its watcher
        fs::create_dir_all(home.join("config"))?;
        let data = home.join("data");
        fs::create_dir_all(&data)?;
        let pepper = Pepper::load_or_create(&Pepper::path_in(&data)).map_err(io::Error::other)?;
        let works = WORKS.iter().chain([&HELD_OPEN]);
        let prices: String =
            works.map(|work| format!("  {}: {{ input: 0.15, output: 0.60 }}\n", work.name)).collect();
        let config = TOLLGATE
            .replace("@LISTEN@", &address.to_string())
            .replace("@ADMIN@", &admin.to_string())
            .replace("@HOME@", &home.display().to_string())
            .replace("@UPSTREAM@", &setup.upstream.to_string())
            .replace("@RECEIVER@", &setup.receiver.to_string())
            .replace("@WORKERS@", &setup.workers.to_string())
            .replace("@CACHED@", CACHED)
            .replace("@TEAMS@", &teams(setup.teams, &pepper))
            .replace("@PRICES@", &prices);
        let file = home.join("config/tollgate.yaml");
        fs::write(&file, config)?;
        let mut command = Command::new(setup.binary);
        command.arg("serve").arg("--config").arg(&file).env("UPSTREAM_KEY", KEY);
        let spawned = now();
        let process = start(&mut command, &home.join("log"), address)?;
        Ok(Self { process, address, spawned, binary: setup.binary.to_owned(), config: file })
    }

    /// What its ledger knows.
    pub(crate) fn recorded(&self) -> io::Result<Recorded> {
        let mut command = Command::new(&self.binary);
        let output = command.args(["usage", "--json", "--config"]).arg(&self.config).output()?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let total = |name: &str| report["total"][name].as_u64();
        let recorded =
            total("requests").map(|requests| Recorded { requests, hits: total("cache_hits").unwrap_or(0) });
        recorded.ok_or_else(|| io::Error::other(format!("no total in the usage report: {report}")))
    }
}

/// Sums of a gateway's ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    pub(crate) requests: u64,
    /// Answers from the cache.
    pub(crate) hits: u64,
}

/// The teams of a config, with the hashes of their keys.
fn teams(count: usize, pepper: &Pepper) -> String {
    if count == 1 {
        return ONE_TEAM.replace("@HASH@", &pepper.hash(KEY).to_string());
    }
    let mut teams = String::new();
    for number in 0..count {
        teams += &TEAM.replace("@NUMBER@", &number.to_string());
        for key in 0..KEYS_OF_A_TEAM {
            let hash = pepper.hash(&key_of(number, key));
            // writing to a String cannot fail
            let _ = writeln!(teams, "      - {{ name: key-{key}, hash: \"{hash}\" }}");
        }
    }
    teams
}

/// The key of a caller in a config of many teams; made up, too.
pub(crate) fn key_of(team: usize, key: usize) -> String {
    format!("bench-key-of-no-use-anywhere-else-{team:05}-{key:02}")
}

/// Starts a process and waits until it listens.
fn start(command: &mut Command, log: &Path, address: SocketAddr) -> io::Result<Process> {
    let written = File::create(log)?;
    command.stdin(Stdio::null()).stdout(written.try_clone()?).stderr(written);
    let name = command.get_program().to_owned();
    let child = command.spawn().map_err(|fault| io::Error::other(format!("{}: {fault}", name.display())))?;
    let process = Process::of(child);
    let until = now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if now() > until {
            let said = fs::read_to_string(log)?;
            return Err(io::Error::other(format!("{} does not listen:\n{said}", name.display())));
        }
        pause(Duration::from_millis(2));
    }
    Ok(process)
}

/// A port that is free now, and most likely still when it is bound.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// The caller's key; made up, and of no use anywhere else.
pub(crate) const KEY: &str = "bench-key-of-no-use-anywhere-else-0123456789";

/// In configs of more than one team.
pub(crate) const KEYS_OF_A_TEAM: usize = 10;

const PATIENCE: Duration = Duration::from_secs(60);

const NGINX: &str = r"
daemon off;
master_process off;
worker_processes 1;
pid @HOME@/pid;
error_log @HOME@/error.log error;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path @HOME@/body;
  proxy_temp_path @HOME@/proxy;
  fastcgi_temp_path @HOME@/fastcgi;
  uwsgi_temp_path @HOME@/uwsgi;
  scgi_temp_path @HOME@/scgi;
  client_body_buffer_size 512k;
  keepalive_requests 100000000;
  tcp_nodelay on;
  proxy_http_version 1.1;
  proxy_set_header Connection '';
  upstream provider {
    server @UPSTREAM@;
    keepalive 256;
    keepalive_requests 100000000;
  }
  server { listen @BUFFERED@; location / { proxy_pass http://provider; } }
  server { listen @UNBUFFERED@; location / { proxy_pass http://provider; proxy_buffering off; } }
}
";

/// Budgets, limits, asking for usage; journal, ledger, metrics, a hundredth of the traces to a receiver, a log
/// line per request. Nothing is cached but the answers of one model.
const TOLLGATE: &str = r#"
listen: "@LISTEN@"
admin: { listen: "@ADMIN@" }
data_dir: "@HOME@/data"
workers: @WORKERS@
server: { max_requests: 50_000, max_connections: 50_000 }
upstreams:
  provider: { base_url: "http://@UPSTREAM@/v1", api_key: "${UPSTREAM_KEY}", stream_usage: ask }
routes:
  - { models: [@CACHED@], to: [{ upstream: provider }], cache: { ttl: 1h } }
telemetry: { otlp_endpoint: "http://@RECEIVER@", sample_ratio: 0.01 }
log: { format: json, level: info, requests: true }
prices:
@PRICES@teams:
@TEAMS@"#;

/// A key, two budgets, three limits.
const ONE_TEAM: &str = r#"  bench:
    keys:
      - { name: load, hash: "@HASH@", budgets: [{ limit_usd: 1_000_000, every: day }] }
    budgets: [{ limit_usd: 1_000_000, every: month }]
    limits: { requests_per_minute: 100_000_000, tokens_per_minute: 10_000_000_000, concurrent: 50_000 }
"#;

/// The same for all keys of a team together, as in a company of many teams.
const TEAM: &str = r#"  team-@NUMBER@:
    budgets: [{ limit_usd: 1_000_000, every: month }, { limit_usd: 1_000_000, every: day }]
    limits: { requests_per_minute: 100_000_000, tokens_per_minute: 10_000_000_000, concurrent: 50_000 }
    keys:
"#;
