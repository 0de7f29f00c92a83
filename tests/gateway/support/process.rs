//! The gateway as a process of its own, as it runs in production.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;

use super::{PATIENCE, eventually};

/// A running `tollgate serve`.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pub(super) data: SocketAddr,
    pub(super) admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts the gateway and waits until it says where it listens.
    pub(super) fn serve(config: &Path) -> Self {
        Self::start(&mut tollgate(config, &["serve"]))
    }

    /// The same, with a place where it will end itself.
    #[cfg(feature = "failpoints")]
    pub(super) fn serve_until(config: &Path, point: &str) -> Self {
        Self::start(tollgate(config, &["serve"]).env("TOLLGATE_FAILPOINT", point))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let (told, heard) = sync_channel(1);
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(places) = addresses(&line) {
                    // nobody waits any more if the test gave up
                    let _ = told.send(places);
                }
                kept.lock().unwrap().push(line);
            }
        });
        match heard.recv_timeout(PATIENCE) {
            Ok((data, admin)) => Self { child, data, admin, log },
            Err(_) => panic!("the gateway does not start: {:#?}", log.lock().unwrap()),
        }
    }

    /// What it wrote on standard error.
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it has ended by itself.
    pub(super) fn wait(&mut self) -> ExitStatus {
        eventually("the gateway stops", || self.child.try_wait().unwrap())
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // gone already, unless a test failed
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours, by its id.
pub(crate) fn signal(name: &str, pid: u32) {
    let kill = format!("kill -{name} {pid}");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// The binary under test, asked to do something with a config.
pub(super) fn tollgate(config: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(words).arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// `tollgate 0.1.0 listens on A, admin on B`
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, places) = line.split_once(" listens on ")?;
    let (data, admin) = places.split_once(", admin on ")?;
    Some((data.trim().parse().ok()?, admin.trim().parse().ok()?))
}
