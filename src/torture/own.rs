//! A Tollgate of the kit's own: this executable's `serve` in a folder that is gone afterwards.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::TortureFault;
use super::door::Caller;
use super::folder::Folder;
use super::rates::{RATES, Rates};
use crate::base::chance::Chance;
use crate::base::clock::Clock;

/// What a scenario wants in the config, besides what all have.
#[derive(Debug, Clone, Default)]
pub(super) struct Wants {
    /// Budgets of a team in place of its large one, as YAML.
    pub(super) budgets: Vec<(&'static str, String)>,
    /// Further lines of the upstreams.
    pub(super) upstream: Vec<&'static str>,
    /// Further lines of the one that serves messages.
    pub(super) claude: Vec<&'static str>,
    /// Further lines at the top.
    pub(super) top: Vec<String>,
}

/// A gateway process with its folder.
#[derive(Debug)]
pub(super) struct Own {
    folder: Folder,
    callers: Vec<Caller>,
    running: Option<Running>,
    words: Arc<Mutex<LastWords>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    data: SocketAddr,
    admin: SocketAddr,
}

/// The end of what it said on standard error, and how often it panicked.
#[derive(Debug, Default)]
struct LastWords {
    lines: VecDeque<String>,
    panics: u64,
}

impl Own {
    /// Writes the config; the gateway is started by [`Own::start`].
    pub(super) fn settle(
        folder: Folder,
        upstream: SocketAddr,
        wants: &Wants,
        chance: &Chance,
    ) -> Result<Self, TortureFault> {
        let callers: Vec<Caller> = CALLERS
            .iter()
            .map(|(team, key)| Caller {
                team: (*team).into(),
                key: (*key).into(),
                secret: format!("tg-{team}-{key}-{:016x}{:016x}", chance.next_u64(), chance.next_u64()),
            })
            .collect();
        let written = callers
            .iter()
            .try_for_each(|caller| {
                folder.write(&format!("{}-{}.key", caller.team, caller.key), &caller.secret)
            })
            .and_then(|()| {
                let data_dir = folder.path().join("data");
                folder.write(CONFIG, &config(upstream, &data_dir, wants, &callers))
            });
        written.map_err(TortureFault::io("write the config"))?;
        Ok(Self { folder, callers, running: None, words: Arc::default() })
    }

    /// Starts the process; yields how long it took until it said that it listens.
    pub(super) fn start(&mut self) -> Result<Duration, TortureFault> {
        let clock = Clock::system();
        let begun = clock.tick();
        let program = std::env::current_exe().map_err(TortureFault::io("find this executable"))?;
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(self.folder.path().join(CONFIG))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(TortureFault::io("start the gateway"))?;
        let stderr = child.stderr.take().expect("asked for a line ago");
        let (told, heard) = sync_channel(1);
        let words = Arc::clone(&self.words);
        thread::Builder::new()
            .name("gateway-log".into())
            .spawn(move || listen(BufReader::new(stderr), &told, &words))
            .map_err(TortureFault::io("start a thread"))?;
        let Ok((data, admin)) = heard.recv_timeout(START_PATIENCE) else {
            // it ends here either way
            let _ = child.kill();
            let _ = child.wait();
            return Err(TortureFault::Start { why: self.last_words() });
        };
        self.running = Some(Running { child, data, admin });
        Ok(clock.tick().since(begun))
    }

    /// `kill -9`. Yields whether it was still alive.
    pub(super) fn kill(&mut self) -> bool {
        let Some(mut running) = self.running.take() else { return false };
        let was_alive = running.child.try_wait().is_ok_and(|ended| ended.is_none());
        // a process that is gone already was just counted as that
        let _ = running.child.kill();
        let _ = running.child.wait();
        was_alive
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.running.as_mut().is_some_and(|it| it.child.try_wait().is_ok_and(|ended| ended.is_none()))
    }

    pub(super) fn data(&self) -> Option<SocketAddr> {
        self.running.as_ref().map(|running| running.data)
    }

    pub(super) fn admin(&self) -> Option<SocketAddr> {
        self.running.as_ref().map(|running| running.admin)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    pub(super) fn callers(&self) -> &[Caller] {
        &self.callers
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn panics(&self) -> u64 {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).panics
    }

    pub(super) fn last_words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads what the gateway says until it is gone; tells once where it listens.
fn listen(
    stderr: BufReader<impl io::Read>,
    told: &SyncSender<(SocketAddr, SocketAddr)>,
    words: &Mutex<LastWords>,
) {
    for line in stderr.lines().map_while(Result::ok) {
        if let Some(places) = addresses(&line) {
            // nobody waits any more if the start took too long
            let _ = told.try_send(places);
        }
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.panics += u64::from(line.contains("panicked at"));
        words.lines.push_back(line);
        if words.lines.len() > MAX_LINES {
            words.lines.pop_front();
        }
    }
}

/// `tollgate 0.1.0 listens on A, admin on B`
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, places) = line.split_once(" listens on ")?;
    let (data, admin) = places.split_once(", admin on ")?;
    Some((data.trim().parse().ok()?, admin.trim().parse().ok()?))
}

fn config(upstream: SocketAddr, data_dir: &Path, wants: &Wants, callers: &[Caller]) -> String {
    // a JSON string is a YAML string, whatever the path holds
    let data_dir = serde_json::Value::from(data_dir.to_string_lossy());
    let mut text = format!(
        "listen: \"127.0.0.1:0\"\nadmin: {{ listen: \"127.0.0.1:0\" }}\ndata_dir: {data_dir}\nworkers: 2\n\
         log: {{ format: json, level: warn, requests: false }}\n"
    );
    let mut line = |said: &str| {
        writeln!(text, "{said}").expect("a String takes everything");
    };
    wants.top.iter().for_each(|extra| line(extra));
    line("upstreams:");
    for (name, kind, path) in [("oracle", "openai", "/v1"), ("oracle-claude", "anthropic", "")] {
        line(&format!("  {name}:"));
        line(&format!("    base_url: \"http://{upstream}{path}\""));
        line(&format!("    kind: {kind}"));
        line("    propagate_trace: false");
        let own = if kind == "anthropic" { &wants.claude[..] } else { &[] };
        wants.upstream.iter().chain(own).for_each(|extra| line(&format!("    {extra}")));
    }
    line("teams:");
    for team in TEAMS {
        line(&format!("  {team}:"));
        let keys = callers.iter().filter(|caller| caller.team == team);
        let keys: Vec<String> =
            keys.map(|caller| format!("{{ name: {0}, key: \"file:{team}-{0}.key\" }}", caller.key)).collect();
        line(&format!("    keys: [{}]", keys.join(", ")));
        let budgets = wants.budgets.iter().find(|(of, _)| *of == team).map(|(_, budgets)| budgets.as_str());
        line(&format!("    budgets: [{}]", budgets.unwrap_or(LARGE_BUDGET)));
    }
    line("prices:");
    for Rates { model, input, cached, cache_write, output } in RATES {
        let [input, cached, cache_write, output] =
            [input, cached, cache_write, output].map(Rates::per_million);
        line(&format!(
            "  {model}: {{ input: {input}, cached_input: {cached}, cache_write: {cache_write}, output: {output} }}"
        ));
    }
    text
}

/// The teams of the kit and their keys.
pub(super) const CALLERS: [(&str, &str); 6] = [
    ("search", "prod"),
    ("search", "ci"),
    ("support", "bot"),
    ("batch", "nightly"),
    ("batch", "adhoc"),
    ("lab", "bench"),
];
const TEAMS: [&str; 4] = ["search", "support", "batch", "lab"];

/// Counts, but never says no.
const LARGE_BUDGET: &str =
    "{ limit_usd: 1000000, every: total }, { limit_tokens: 100000000000, every: total }";

const CONFIG: &str = "tollgate.yaml";

/// A start replays a journal; a busy machine is slow.
const START_PATIENCE: Duration = Duration::from_secs(60);
const MAX_LINES: usize = 50;
