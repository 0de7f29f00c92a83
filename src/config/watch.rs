//! Tells when the config file has changed on disk: written in place, replaced by a rename, or behind a
//! symbolic link that was turned (as Kubernetes does with mounted config maps).

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::base::clock::Clock;

/// The file cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be watched: {reason}", folder.display())]
pub struct WatchError {
    /// The folder of the file.
    pub folder: PathBuf,
    /// What the system said.
    pub reason: notify::Error,
}

/// A watch that goes on until it is dropped.
#[derive(Debug)]
pub struct Watch {
    /// Holds the only sender; dropped first, so that the thread ends.
    watcher: Option<RecommendedWatcher>,
    thread: Option<JoinHandle<()>>,
}

/// Calls `on_change` on a thread of its own after the file at `path` may have changed, once per burst of
/// changes. It may be called without a change; load the file and compare fingerprints.
///
/// # Errors
/// When the system cannot watch the folder of the file.
pub fn watch(path: &Path, on_change: impl Fn() + Send + 'static) -> Result<Watch, WatchError> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let failed = |reason| WatchError { folder: folder.clone(), reason };
    let (changed, changes) = sync_channel(1);
    let mut watcher = notify::recommended_watcher(move |event| tell(&event, &changed)).map_err(failed)?;
    // the folder, not the file: a rename gives the name to another file
    watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(failed)?;
    let thread = std::thread::Builder::new()
        .name("config-watch".into())
        .spawn(move || call_after_quiet(&changes, on_change))
        .map_err(|reason| failed(notify::Error::io(reason)))?;
    Ok(Watch { watcher: Some(watcher), thread: Some(thread) })
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watcher = None;
        if let Some(thread) = self.thread.take() {
            // a panic in `on_change` was printed where it happened
            let _ = thread.join();
        }
    }
}

/// Everything in the folder but reading counts: behind a turned link, the file's own name is not in the event.
fn tell(event: &notify::Result<notify::Event>, changed: &SyncSender<()>) {
    let only_read = matches!(event, Ok(event) if matches!(event.kind, EventKind::Access(_)));
    if !only_read {
        match changed.try_send(()) {
            // full: a change is waiting to be told already
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

fn call_after_quiet(changes: &Receiver<()>, on_change: impl Fn()) {
    let clock = Clock::system();
    while changes.recv().is_ok() {
        let first = clock.tick();
        while clock.tick().since(first) < LONGEST_BURST {
            match changes.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        on_change();
    }
}

/// Editors write, rename and set modes within milliseconds; a person does not notice a fifth of a second.
const QUIET: Duration = Duration::from_millis(200);
/// Something else in the folder that never rests must not keep a change from being told.
const LONGEST_BURST: Duration = Duration::from_secs(2);
