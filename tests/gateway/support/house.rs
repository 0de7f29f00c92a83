//! Mock, gateway and client under one roof. Dropping it checks the books.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;
use tollgate::ledger::books::Books;
use tollgate::mock::{Mock, MockConfig, MockHandle, Served};
use tollgate::store::ledger::{Filter, LedgerReader as _};
use tollgate::store::record::Record;

use super::disk::SmallDisk;
use super::process::{Process, signal, tollgate};
use super::setup::{CONFIG, Setup};
use super::{Answer, Ask, Wire, check};

/// A gateway process with a mock behind it.
#[derive(Debug)]
pub(crate) struct House {
    pub(super) folder: TempDir,
    pub(crate) mock: MockHandle,
    /// `None` while it is down.
    pub(super) process: Option<Process>,
    pub(super) was_killed: bool,
    /// Unmounted when the house is gone; before the folder it is in.
    disk: Option<SmallDisk>,
}

impl House {
    pub(super) fn start(setup: &Setup, mock: MockConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mock = Mock::start(mock).unwrap();
        setup.write(folder.path(), &format!("http://{}", mock.addr));
        let disk = setup.disk.map(|size| SmallDisk::mount(&folder.path().join("data"), size));
        let mut house = Self { folder, mock, process: None, was_killed: false, disk };
        house.restart();
        house
    }

    /// Starts the gateway again with the same config and data.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "the gateway runs");
        self.process = Some(Process::serve(&self.config()));
    }

    /// Ends the gateway in order and starts it so that it ends itself at a point of a request's way.
    #[cfg(feature = "failpoints")]
    pub(crate) fn restart_until(&mut self, point: &str) {
        self.stop();
        self.process = Some(Process::serve_until(&self.config(), point));
    }

    /// Waits for a gateway that ends itself.
    #[cfg(feature = "failpoints")]
    pub(crate) fn wait_for_death(&mut self) {
        self.was_killed = true;
        let status = self.process.take().unwrap().wait();
        assert!(!status.success(), "it was to die: {status}");
    }

    /// The process id of the gateway, for a test that ends it while others still use the house.
    pub(crate) fn pid(&self) -> u32 {
        self.running().id()
    }

    /// Where the data listener is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running().data
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.was_killed = true;
        self.process.take().unwrap().kill();
    }

    /// SIGTERM; the gateway must end well.
    pub(crate) fn stop(&mut self) {
        signal("TERM", self.pid());
        self.wait();
    }

    /// Waits for a gateway that was told to stop.
    pub(crate) fn wait(&mut self) {
        let mut process = self.process.take().unwrap();
        let status = process.wait();
        assert!(status.success(), "the gateway ended with {status}: {:#?}", process.log());
    }

    /// A new connection to the gateway.
    pub(crate) fn connect(&self) -> Wire {
        Wire::open(self.running().data)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, ask: &Ask) -> Answer {
        self.connect().ask(ask)
    }

    /// What the admin listener answers.
    pub(crate) fn admin(&self, path: &str) -> Value {
        let answer = Wire::open(self.running().admin).ask(&Ask::get(path));
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// The sum of all series of a metric.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = Wire::open(self.running().admin).ask(&Ask::get("/metrics")).text();
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The one budget of a team, as the admin API shows it.
    pub(crate) fn budget(&self, team: &str) -> Value {
        let scope = format!("team {team}");
        let shown = self.admin("/api/v1/budgets");
        let found = shown["budgets"].as_array().unwrap().iter().find(|row| row["scope"] == scope.as_str());
        found.unwrap_or_else(|| panic!("{scope} has no budget: {shown}")).clone()
    }

    /// All rows of the books, as anyone may read them from the data directory.
    pub(crate) fn rows(&self) -> Vec<Record> {
        let mut rows = Vec::new();
        let mut books = Books::open(&self.data_dir()).unwrap();
        books.scan(&Filter::default(), &mut |record| rows.push(record.clone())).unwrap();
        rows
    }

    /// The row of an answer.
    pub(crate) fn row(&self, answer: &Answer) -> Record {
        let id = answer.head.get("x-tollgate-request-id").unwrap();
        super::eventually("the request's row", || {
            self.rows().into_iter().find(|row| row.request_id().to_string() == id)
        })
    }

    /// What `tollgate usage --json` prints.
    pub(crate) fn usage(&self, by: &str) -> Value {
        let output = tollgate(&self.config(), &["usage", "--json", "--by", by]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the mock served to the gateway, not to the test itself.
    pub(crate) fn served(&self) -> Vec<Served> {
        let ours = check::credential();
        self.mock.served().into_iter().filter(|served| served.credential == ours).collect()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join(CONFIG)
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the gateway runs")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if thread::panicking() {
            if let Some(process) = &self.process {
                eprintln!("the gateway said: {:#?}", process.log());
            }
            return;
        }
        check::at_rest(self);
        if self.process.is_some() {
            self.stop();
        }
        check::the_books(self);
        self.disk = None;
    }
}
