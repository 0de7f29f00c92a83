//! Starts everything in order, and stops it in the opposite one.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::admin_api::{self, AdminView};
use super::assemble::{AssemblyFault, Lasting, plan};
use super::deferred::{self, MOST_DEFERRED, Overdue};
use super::reconcile::{self, Reconciler, Superseded};
use super::reload::Reloader;
use super::spent::spent_before;
use crate::base::chance::Chance;
use crate::base::clock::Clock;
use crate::base::live::Live;
use crate::base::units::Span;
use crate::budget::Book;
use crate::cache::Cache;
use crate::config::environment;
use crate::config::settings::{HalfClosed, Settings};
use crate::identity::{Pepper, PepperFault};
use crate::ledger::deferred::Deferred;
use crate::ledger::journal::{Journal, JournalFault};
use crate::ledger::recovery::recover;
use crate::ledger::retention::Retention;
use crate::ledger::writer::{self, WriterHandle, WriterWatcher};
use crate::limits::LimiterBook;
use crate::proxy::{Door, Drains, Lines, Sockets, Spools, Station};
use crate::server::{self, Listening, Workers};
use crate::signals::{Colours, LedgerStatus, Signals, SignalsFault};
use crate::store::ledger::{LedgerStore as _, StoreFault};
use crate::store::sqlite::SqliteLedger;
use crate::tokens::CountingPool;
use crate::upstream::client::{Client, TlsFault, tls_config};
use crate::upstream::learned::Learned;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The config reads well but cannot be put to work.
    #[error(transparent)]
    Assembly(#[from] AssemblyFault),
    /// The pepper file.
    #[error(transparent)]
    Pepper(#[from] PepperFault),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// Traces, metrics or logs.
    #[error(transparent)]
    Signals(#[from] SignalsFault),
    /// TLS towards upstreams.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// The data listener's certificate.
    #[error("{0}")]
    Certificate(String),
    /// A listener's address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address as configured.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// A thread or a file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A running gateway.
#[derive(Debug)]
pub struct Running {
    /// Where the data listener was bound.
    pub data: SocketAddr,
    /// Where the admin listener was bound.
    pub admin: SocketAddr,
    door: Arc<Door>,
    reloader: Arc<Reloader>,
    stop: watch::Sender<bool>,
    workers: Workers,
    admin_thread: thread::JoinHandle<()>,
    writer: WriterHandle,
    reconciler: Reconciler,
    overdue: Overdue,
}

/// Starts a gateway. `config` is the file that reloads read again.
///
/// # Errors
/// When any part cannot start; what was started by then stops again.
pub fn start(settings: &Settings, config: PathBuf, fingerprint: &str) -> Result<Running, StartFault> {
    let clock = Clock::system();
    let chance = Chance::from_system();
    let signals = Arc::new(Signals::start(&settings.telemetry, &settings.log, &chance, colours())?);
    let journal = Arc::new(Journal::open(&settings.data_dir, &settings.ledger)?);
    let mut store = SqliteLedger::open(&settings.data_dir)?;
    let recovered = recover(&journal, store.checkpoint()?)?;
    if recovered.interrupted > 0 {
        tracing::warn!(
            requests = recovered.interrupted,
            cost_usd = %recovered.cost,
            "requests were under way when the last process ended; they are charged at their reservation"
        );
    }
    let pepper = Pepper::load_or_create(&pepper_path(&settings.data_dir))?;
    let lasting = Arc::new(Lasting {
        budgets: Book::new(),
        limiters: LimiterBook::new(),
        pepper,
        superseded: Superseded::new(),
        learned: Learned::default(),
        counting: Mutex::default(),
    });
    let plan = plan(settings, &lasting.pepper)?;
    let spent = spent_before(&plan, &lasting.budgets, &settings.data_dir, clock.now())?;
    let policy = plan.adopt(&lasting, spent);
    let retention = settings.ledger.keep.map(|Span(keep)| Retention { keep, clock: clock.clone() });
    let writer = writer::start_retiring(Arc::clone(&journal), Box::new(store), retention)?;
    let door = Arc::new(Door {
        live: Live::new(policy),
        deferred: Deferred::new(MOST_DEFERRED),
        cache: Cache::new(&settings.cache, clock.clone()),
        counting: CountingPool::start(COUNTING_THREADS, COUNTING_QUEUE)?,
        body_memory: Arc::new(Semaphore::new(body_permits(settings))),
        spools: Spools::new(settings.data_dir.clone(), settings.server.max_upload_total.0),
        at_work: AtomicU32::new(0),
        settling: AtomicU32::new(0),
        lines: Lines::default(),
        drains: Drains::default(),
        sockets: Sockets::default(),
        draining: AtomicBool::new(false),
        signals: Arc::clone(&signals),
        journal,
        clock,
        chance,
    });
    deferred::take_up(&door, &settings.data_dir)?;
    let (stop, stopped) = watch::channel(false);
    let tls = tls_config()?;
    let listening = listening(settings)?;
    let scheme = if listening.tls.is_some() { "https" } else { "http" };
    let station = || Station { door: Arc::clone(&door), client: Client::new(&tls), scheme };
    let workers = server::start(&listening, &stopped, station)
        .map_err(|error| StartFault::Listen { address: settings.listen.clone(), error })?;
    let overdue = deferred::start(Arc::clone(&door))?;
    let reconciler = reconcile::start(Arc::clone(&door), Arc::clone(&lasting))?;
    let reloader =
        Reloader::new(config, Arc::clone(&door), Arc::clone(&lasting), reconciler.bell(), fingerprint);
    let reloader = Arc::new(reloader);
    let view = AdminView {
        door: Arc::clone(&door),
        lasting,
        reloader: Arc::clone(&reloader),
        data_dir: settings.data_dir.clone(),
    };
    let (admin, admin_thread) = admin_api::serve(settings, view, ledger_status(writer.watcher()), stopped)?;
    let data = workers.address;
    Ok(Running { data, admin, door, reloader, stop, workers, admin_thread, writer, reconciler, overdue })
}

impl Running {
    /// Reads the config again; a bad file changes nothing.
    pub fn reload(&self) {
        self.reloader.reload();
    }

    /// The part that reads the config again, for watchers.
    #[must_use]
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Stops in order: no new requests, the ones at work finish, counts and records settle.
    pub fn stop(self) {
        self.door.draining.store(true, Ordering::Release);
        self.door.sockets.stop();
        // nobody listens any more only if every worker died, which joining will tell
        let _ = self.stop.send(true);
        self.workers.join();
        self.door.counting.close();
        if self.admin_thread.join().is_err() {
            tracing::error!("the admin thread panicked");
        }
        self.overdue.stop();
        self.reconciler.stop();
        let status = self.writer.stop();
        if let Some(error) = status.last_error {
            tracing::error!(error, "the ledger could not be written; the journal keeps the records");
        }
        let unwritten = self.door.journal.unwritten();
        if unwritten > 0 {
            tracing::error!(outcomes = unwritten, "tollgate.usage.lost: the journal could not be written");
        }
        self.door.signals.flush_and_stop(FLUSH_AT_MOST);
    }
}

/// See no-color.org: set and not empty means none.
fn colours() -> Colours {
    let unwanted = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    if unwanted { Colours::Never } else { Colours::OnTerminals }
}

/// The writer's state as metrics show it.
fn ledger_status(watcher: WriterWatcher) -> impl Fn() -> LedgerStatus + Send + Sync + 'static {
    move || {
        let status = watcher.status();
        LedgerStatus {
            lag: status.lag_bytes,
            written: status.rows_written,
            failed: status.failures,
            deferred: status.deferred,
        }
    }
}

/// Where the pepper lives.
#[must_use]
pub fn pepper_path(data_dir: &Path) -> PathBuf {
    Pepper::path_in(data_dir)
}

/// Two: counting is rare, and the workers need the cores.
const COUNTING_THREADS: usize = 2;
/// Jobs hold a request's body each; beyond this, counts are rough.
const COUNTING_QUEUE: usize = 1_024;
const FLUSH_AT_MOST: Duration = Duration::from_secs(5);

fn body_permits(settings: &Settings) -> usize {
    let kib = settings.server.max_body_total.0.div_ceil(1024);
    usize::try_from(kib).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

fn listening(settings: &Settings) -> Result<Listening, StartFault> {
    let tls = match &settings.tls {
        None => None,
        Some(tls) => {
            let (cert, key) = (std::fs::read(&tls.cert)?, std::fs::read(&tls.key)?);
            Some(server::tls_config(&cert, &key).map_err(StartFault::Certificate)?)
        }
    };
    let cores = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Ok(Listening {
        address: address(&settings.listen)?,
        tls,
        workers: settings.workers.map_or(cores, std::num::NonZeroUsize::get),
        max_connections: usize::try_from(settings.server.max_connections).unwrap_or(usize::MAX),
        header_timeout: settings.server.header_timeout.0,
        write_timeout: settings.server.write_timeout.0,
        serves_half_closed: settings.server.half_closed == HalfClosed::Served,
        grace: settings.server.shutdown_grace.0,
    })
}

/// An address as configured; names such as `localhost:4000` are resolved.
pub(super) fn address(text: &str) -> Result<SocketAddr, StartFault> {
    use std::net::ToSocketAddrs as _;
    let fault = |error| StartFault::Listen { address: text.into(), error };
    let mut found = text.to_socket_addrs().map_err(fault)?;
    found.next().ok_or_else(|| fault(io::Error::from(io::ErrorKind::AddrNotAvailable)))
}
