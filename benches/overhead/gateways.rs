//! The two gateways under measurement, each a process of its own in front of the same upstream.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::load::{now, pause};
use crate::process::Process;
use crate::work::WORKS;

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

impl Tollgate {
    pub(crate) fn start(
        binary: &Path,
        folder: &Path,
        upstream: SocketAddr,
        workers: usize,
    ) -> io::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let home = folder.join("tollgate");
        // the config has a folder of its own, as in a deployment: what is written beside it wakes its watcher
        fs::create_dir_all(home.join("config"))?;
        let prices: String =
            WORKS.iter().map(|work| format!("  {}: {{ input: 0.15, output: 0.60 }}\n", work.name)).collect();
        let config = TOLLGATE
            .replace("@LISTEN@", &address.to_string())
            .replace("@ADMIN@", &admin.to_string())
            .replace("@HOME@", &home.display().to_string())
            .replace("@UPSTREAM@", &upstream.to_string())
            .replace("@WORKERS@", &workers.to_string())
            .replace("@PRICES@", &prices);
        let file = home.join("config/tollgate.yaml");
        fs::write(&file, config)?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(&file).env("BENCH_KEY", KEY).env("UPSTREAM_KEY", KEY);
        let process = start(&mut command, &home.join("log"), address)?;
        Ok(Self { process, address, binary: binary.to_owned(), config: file })
    }

    /// Requests that its ledger knows.
    pub(crate) fn recorded(&self) -> io::Result<u64> {
        let mut command = Command::new(&self.binary);
        let output = command.args(["usage", "--json", "--config"]).arg(&self.config).output()?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let total = report["total"]["requests"].as_u64();
        total.ok_or_else(|| io::Error::other(format!("no total in the usage report: {report}")))
    }
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
        pause(Duration::from_millis(10));
    }
    Ok(process)
}

/// A port that is free now, and most likely still when it is bound.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// The caller's key; made up, and of no use anywhere else.
pub(crate) const KEY: &str = "bench-key-of-no-use-anywhere-else-0123456789";

const PATIENCE: Duration = Duration::from_secs(10);

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
  client_body_buffer_size 64k;
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

/// A key, two budgets, three limits, asking for usage; journal, ledger, metrics and a log line per request.
const TOLLGATE: &str = r#"
listen: "@LISTEN@"
admin: { listen: "@ADMIN@" }
data_dir: "@HOME@/data"
workers: @WORKERS@
upstreams:
  provider: { base_url: "http://@UPSTREAM@/v1", api_key: "${UPSTREAM_KEY}", stream_usage: ask }
teams:
  bench:
    keys:
      - { name: load, key: "${BENCH_KEY}", budgets: [{ limit_usd: 1_000_000, every: day }] }
    budgets: [{ limit_usd: 1_000_000, every: month }]
    limits: { requests_per_minute: 100_000_000, tokens_per_minute: 10_000_000_000, concurrent: 10_000 }
log: { format: json, level: info, requests: true }
prices:
@PRICES@"#;
