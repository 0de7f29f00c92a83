//! The gateway as a process of its own, as a user starts it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tollgate::ledger::books::Books;
use tollgate::store::ledger::{Filter, LedgerReader as _};
use tollgate::store::record::Record;

use super::{Answer, Ask, CI, OTHER, PROD, UPSTREAM, until};

/// A config and the environment it is read in.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) dir: TempDir,
    env: Vec<(String, String)>,
}

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) setup: Setup,
    child: Child,
    log: Arc<Mutex<String>>,
}

/// What configs of tests may name as `${KEY_PROD}` and so on.
const KEYS: [(&str, &str); 4] =
    [("KEY_PROD", PROD), ("KEY_CI", CI), ("KEY_OTHER", OTHER), ("UPSTREAM_KEY", UPSTREAM)];

impl Setup {
    /// Writes `config` into a folder of its own, with free ports and that folder's data.
    pub(crate) fn new(config: &str) -> Self {
        let setup = Self { dir: tempfile::tempdir().unwrap(), env: Vec::new() };
        let setup = KEYS.into_iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        setup.write(config);
        setup
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Replaces the config, as an editor does: a new file under the old name.
    pub(crate) fn write(&self, config: &str) {
        let data = self.data_dir();
        let head = format!(
            "listen: \"127.0.0.1:0\"\nadmin: {{ listen: \"127.0.0.1:0\" }}\ndata_dir: \"{}\"\nworkers: 2\n",
            data.display()
        );
        let fresh = self.dir.path().join("fresh.yaml");
        std::fs::write(&fresh, head + config).unwrap();
        std::fs::rename(fresh, self.config()).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("tollgate.yaml")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A command of the program in this environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(args).arg("--config").arg(self.config()).current_dir(self.dir.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn start(self) -> Gateway {
        let command = self.command(&["serve"]);
        self.start_as(command)
    }

    /// Starts a gateway by a command of one's own.
    pub(crate) fn start_as(self, mut command: Command) -> Gateway {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (told, addresses) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(found) = addresses_in(&line) {
                    told.send(found).unwrap();
                }
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let Ok((data, admin)) = addresses.recv_timeout(super::PATIENCE) else {
            panic!("the gateway did not start:\n{}", log.lock().unwrap());
        };
        Gateway { data, admin, setup: self, child, log }
    }
}

impl Gateway {
    /// Starts a gateway with this config.
    pub(crate) fn start(config: &str) -> Self {
        Setup::new(config).start()
    }

    /// What the process has written to standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn send(&self, ask: &Ask) -> Answer {
        ask.send(self.data)
    }

    /// The records of all requests, once there are `count`.
    pub(crate) fn rows(&self, count: usize) -> Vec<Record> {
        rows(&self.setup.data_dir(), count)
    }

    /// The record of the request that was answered with `answer`.
    pub(crate) fn row_of(&self, answer: &Answer) -> Record {
        let id = answer.header("x-tollgate-request-id").unwrap().to_owned();
        until("the record of a request", || {
            self.read_rows().into_iter().find(|row| row.request_id().to_string() == id)
        })
    }

    fn read_rows(&self) -> Vec<Record> {
        read_rows(&self.setup.data_dir())
    }

    /// The metrics page.
    pub(crate) fn metrics(&self) -> String {
        Ask::get("/metrics").send(self.admin).text()
    }

    /// The sum of all series whose line begins with `start`.
    pub(crate) fn metric(&self, start: &str) -> f64 {
        let page = self.metrics();
        let lines = page.lines().filter(|line| line.starts_with(start));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// `/api/v1/...` of the admin listener.
    pub(crate) fn api(&self, path: &str) -> serde_json::Value {
        Ask::get(&format!("/api/v1/{path}")).send(self.admin).json()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the process.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        until("the end of the process", || self.child.try_wait().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The log, once `text` is in it.
    pub(crate) fn logged(&self, text: &str) -> String {
        until("a line of the log", || Some(self.log()).filter(|log| log.contains(text)))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- the gateway's log ---\n{}", self.log());
        }
    }
}

/// The records of a data directory, once there are `count`.
pub(crate) fn rows(data_dir: &Path, count: usize) -> Vec<Record> {
    until(&format!("{count} records"), || Some(read_rows(data_dir)).filter(|rows| rows.len() >= count))
}

fn read_rows(data_dir: &Path) -> Vec<Record> {
    let mut rows = Vec::new();
    let scanned = Books::open(data_dir)
        .and_then(|mut books| books.scan(&Filter::default(), &mut |row| rows.push(row.clone())));
    // a writer at work may move the ground under a reader; the next look sees it whole
    if scanned.is_err() {
        rows.clear();
    }
    rows.sort_by_key(|row| row.started_at);
    rows
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// `tollgate 0.1.0 listens on 127.0.0.1:4000, admin on 127.0.0.1:4001`
fn addresses_in(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (data, admin) = line.split_once(" listens on ")?.1.split_once(", admin on ")?;
    Some((data.parse().ok()?, admin.trim().parse().ok()?))
}
