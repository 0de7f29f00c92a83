//! Tells when the config file has changed on disk: written in place, replaced by a rename, or behind a
//! symbolic link that was turned (as Kubernetes does with mounted config maps).
//!
//! By looking, four times a second. Being told by the kernel means watching the whole folder, where every
//! line of a log file beside the config is an event; and mounted files are often not told of at all.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A watch that goes on until it is dropped.
#[derive(Debug)]
pub struct Watch {
    /// The thread ends when this is gone.
    going_on: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A file as it was at one moment, or that it was not there.
#[derive(Debug, Clone, Copy)]
pub struct Mark(Option<Stamp>);

impl Mark {
    /// The file as it is now.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self(Stamp::of(path))
    }
}

/// Calls `on_change` on a thread of its own after the file at `path` has changed `since` and then rested for a
/// moment. Load the file and compare fingerprints: a change may have left its bytes as they were. Secrets in
/// files elsewhere are not watched. Do not drop the watch from within `on_change`: the drop waits for it.
///
/// # Errors
/// When the system gives no thread.
pub fn watch(path: &Path, since: Mark, on_change: impl Fn() + Send + 'static) -> io::Result<Watch> {
    let (going_on, stopped) = sync_channel(0);
    let eye = Eye { path: path.to_owned(), told: since.0, stopped };
    let thread =
        std::thread::Builder::new().name("config-watch".into()).spawn(move || eye.look(on_change))?;
    Ok(Watch { going_on: Some(going_on), thread: Some(thread) })
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.going_on = None;
        if let Some(thread) = self.thread.take() {
            // a panic in `on_change` was printed where it happened
            let _ = thread.join();
        }
    }
}

struct Eye {
    path: PathBuf,
    /// As the file was when a change was last told.
    told: Option<Stamp>,
    stopped: Receiver<()>,
}

impl Eye {
    fn look(mut self, on_change: impl Fn()) {
        let mut before = self.told;
        while self.stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            let now = Stamp::of(&self.path);
            // one that is still being written differs from look to look; one that is gone may come back
            let rested = now == before;
            before = now;
            if rested && now.is_some() && now != self.told {
                self.told = now;
                on_change();
            }
        }
    }
}

/// What differs between two states of a file, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            place: (found.dev(), found.ino()),
            size: found.size(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// A person does not notice half a second; four `stat` calls a second cost nothing.
const EVERY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A watched file in a folder of its own, and where its changes are told.
    fn watched(path: &Path) -> (Watch, Receiver<()>) {
        let (told, news) = sync_channel(100);
        let watch =
            watch(path, Mark::of(path), move || told.try_send(()).expect("fewer than 100 changes")).unwrap();
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
    fn what_changed_before_the_watch_began_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.yaml");
        fs::write(&path, "a").unwrap();
        let loaded = Mark::of(&path);
        fs::write(&path, "b, and more").unwrap();
        let (told, news) = sync_channel(100);
        let _watch = watch(&path, loaded, move || told.try_send(()).expect("one change")).unwrap();
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
    fn a_file_that_comes_later_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not yet").join("c.yaml");
        let (_watch, news) = watched(&path);
        fs::create_dir(folder.path().join("not yet")).unwrap();
        fs::write(&path, "a").unwrap();
        assert!(is_told(&news));
    }
}
