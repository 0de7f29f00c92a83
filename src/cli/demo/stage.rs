//! What the demo stands on: a temporary folder with a config, a fake upstream, and a gateway on loopback.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::{self, Places, SEARCH, SECRETS, UPSTREAM};
use crate::app::{self, Running, StartFault};
use crate::base::chance::Chance;
use crate::config::settings::Settings;
use crate::config::{self as configs, Faults};
use crate::mock::{Mock, MockConfig, MockHandle};
use crate::store::place::private_file;

/// Everything that the demo has set up. Dropping it takes it all down.
#[derive(Debug)]
pub(super) struct Stage {
    /// The data listener.
    pub(super) data: SocketAddr,
    pub(super) settings: Settings,
    admin: SocketAddr,
    // in the order in which they go: the folder last
    gateway: Option<Running>,
    mock: MockHandle,
    folder: Folder,
}

/// Why the stage cannot be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageFault {
    #[error("its files and ports: {0}")]
    Files(#[source] io::Error),
    #[error("the fake upstream: {0}")]
    Mock(#[source] io::Error),
    #[error("its config: {0}")]
    Config(#[from] Faults),
    #[error("the gateway: {0}")]
    Gateway(#[from] StartFault),
}

impl Stage {
    /// Sets everything up; the gateway listens when this returns.
    pub(super) fn set(any_port: bool) -> Result<Self, StageFault> {
        let folder = Folder::make().map_err(StageFault::Files)?;
        let mock = Mock::start(MockConfig {
            pace: PACE,
            tokens: Some(LONGEST_ANSWER),
            key: Some(UPSTREAM.key.into()),
            ..MockConfig::default()
        })
        .map_err(StageFault::Mock)?;
        let (data, admin) = free_places(any_port).map_err(StageFault::Files)?;
        let data_dir = folder.path.join("data");
        let places = Places { data, admin, upstream: mock.addr, data_dir: &data_dir };
        let config = folder.write(&places).map_err(StageFault::Files)?;
        let loaded = configs::load(&config, &configs::environment)?;
        let gateway = app::start(&loaded.settings, config, &loaded.fingerprint)?;
        Ok(Self { data, settings: loaded.settings, admin, gateway: Some(gateway), mock, folder })
    }

    /// Lets the gateway close its books, then stops the fake upstream.
    pub(super) fn stop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
        self.mock.stop();
    }

    /// What is to be seen, before it is.
    pub(super) fn introduction(&self) -> String {
        format!(
            "tollgate demo: three teams ask a fake upstream; nothing leaves this machine.\n\
             gateway http://{}   admin http://{}   config {}\n\
             search has a cache, support may not use every model, research has one cent a day.\n",
            self.data,
            self.admin,
            self.folder.config().display(),
        )
    }

    /// How to send requests of one's own.
    pub(super) fn invitation(&self) -> String {
        let (data, admin) = (self.data, self.admin);
        format!(
            "\nYour turn; each request shows as a line here. Ctrl-C ends the demo.\n\n{}\n\n  \
             curl -N http://{data}/v1/messages -H 'x-api-key: demo-support' -H 'anthropic-version: 2023-06-01' \\\n    \
             -d '{{\"model\":\"claude-haiku-4-5\",\"max_tokens\":50,\"stream\":true,\"messages\":\
             [{{\"role\":\"user\",\"content\":\"hello\"}}]}}'\n\n  \
             curl http://{admin}/api/v1/budgets\n  curl http://{admin}/metrics\n  \
             tollgate budgets --config {}\n",
            self.curl(),
            self.folder.config().display(),
        )
    }

    /// The request to try first.
    pub(super) fn curl(&self) -> String {
        format!(
            "  curl -i http://{}/v1/chat/completions -H 'authorization: Bearer {}' \\\n    \
             -d '{{\"model\":\"gpt-4o-mini\",\"max_tokens\":40,\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'",
            self.data, SEARCH.key
        )
    }
}

/// Between stream events: about what a small model takes for a token.
const PACE: Duration = Duration::from_millis(12);
/// The mock answers as long as it may: up to the request's own cap.
const LONGEST_ANSWER: u64 = 400;

/// For the data and the admin listener: the usual ports, or any where somebody listens already. Asked by
/// binding them for a moment: the data listener itself would share its port (`SO_REUSEPORT`).
fn free_places(any_port: bool) -> io::Result<(SocketAddr, SocketAddr)> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let free = |usual| if any_port { bind(0) } else { bind(usual).or_else(|_| bind(0)) };
    // both held at once, so that they differ
    let (data, admin) = (free(4000)?, free(4001)?);
    Ok((data.local_addr()?, admin.local_addr()?))
}

/// A folder of our own among the system's temporary files, removed when dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn make() -> io::Result<Self> {
        let name = format!("tollgate-demo-{:016x}", Chance::from_system().next_u64());
        let path = std::env::temp_dir().join(name);
        // fails if somebody made one of this name; nobody else may look into ours
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    fn config(&self) -> PathBuf {
        self.path.join("tollgate.yaml")
    }

    fn write(&self, places: &Places<'_>) -> io::Result<PathBuf> {
        let write = |path: &Path, text: &str| private_file(path)?.write_all(text.as_bytes());
        for secret in SECRETS {
            write(&self.path.join(secret.file), secret.key)?;
        }
        write(&self.config(), &config::text(places))?;
        Ok(self.config())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // nothing in it matters; at worst the system tidies it up
        let _ = fs::remove_dir_all(&self.path);
    }
}
