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
    /// Holds the only sender; goes first, so that the thread ends.
    watcher: Option<RecommendedWatcher>,
    thread: Option<JoinHandle<()>>,
}

/// Calls `on_change` on a thread of its own after the file at `path` may have changed, once per burst of
/// changes. It may be called without a change; load the file and compare fingerprints. Secrets in files
/// elsewhere are not watched. Do not drop the watch from within `on_change`: the drop waits for it.
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
    // the folder, since a rename gives the name to another file
    watcher.watch(&folder, RecursiveMode::NonRecursive).map_err(failed)?;
    // and the file, since one that is linked or mounted here is written elsewhere; it may be absent just now
    let _ = watcher.watch(path, RecursiveMode::NonRecursive);
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A watched file in a folder of its own, and where its changes are told.
    fn watched(path: &Path) -> (Watch, Receiver<()>) {
        let (told, news) = sync_channel(100);
        let watch = watch(path, move || told.try_send(()).expect("fewer than 100 changes")).unwrap();
        (watch, news)
    }

    fn is_told(news: &Receiver<()>) -> bool {
        // a limit for broken watches only; a working one takes a fifth of a second
        news.recv_timeout(Duration::from_secs(20)).is_ok()
    }

    #[test]
    fn a_file_written_in_place_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        fs::write(&path, "a").unwrap();
        let (_watch, news) = watched(&path);
        fs::write(&path, "b").unwrap();
        assert!(is_told(&news));
    }

    #[test]
    fn a_file_replaced_by_a_rename_is_told_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        fs::write(&path, "a").unwrap();
        let (_watch, news) = watched(&path);
        for text in ["b", "c"] {
            fs::write(folder.path().join("new"), text).unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap();
            assert!(is_told(&news));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_turned_link_is_told() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("c.yaml"), version).unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/c.yaml", at("c.yaml")).unwrap();
        let (_watch, news) = watched(&at("c.yaml"));
        symlink("v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(is_told(&news));
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_file_written_elsewhere_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("real.yaml");
        fs::write(&target, "a").unwrap();
        let path = folder.path().join("c.yaml");
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let (_watch, news) = watched(&path);
        fs::write(&target, "b").unwrap();
        assert!(is_told(&news));
    }

    #[test]
    fn nothing_is_told_after_the_drop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        let (watch, news) = watched(&path);
        drop(watch);
        fs::write(&path, "b").unwrap();
        assert!(news.recv().is_err(), "the thread has ended and cannot tell any more");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let fault = watch(Path::new("/nowhere/at/all/c.yaml"), || {}).unwrap_err();
        assert!(fault.to_string().contains("/nowhere/at/all"), "{fault}");
    }
}
