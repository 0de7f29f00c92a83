//! Syncs the journal on a thread of its own: for all who wait, while their upstreams are already thinking,
//! or now and then, where nobody waits.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;

use crate::ledger::section::Durability;
use crate::store::ledger::Position;

use super::fault::JournalFault;
use super::tail::{Tail, tail_of};

/// What makes files survive a loss of power.
pub(super) trait Durable: Send {
    /// Returns when all that was written to `file` before would survive.
    fn sync_file(&self, file: &File) -> io::Result<()>;
    /// Returns when the names in `dir` would survive.
    fn sync_names(&self, dir: &Path) -> io::Result<()>;
}

/// The system's own.
pub(super) struct Disk;

impl Durable for Disk {
    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// The thread that syncs, and the news of how far it came.
#[derive(Debug)]
pub(super) struct Syncer {
    asked: Arc<Asked>,
    news: watch::Receiver<Synced>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(
        tail: Arc<Mutex<Tail>>,
        dir: &Path,
        durability: Durability,
        disk: Box<dyn Durable>,
    ) -> Result<Self, JournalFault> {
        let asked = Arc::<Asked>::default();
        let (publish, news) = watch::channel(Synced::default());
        let gathering = match durability {
            Durability::Process => GATHERING,
            Durability::Power => Duration::ZERO,
        };
        let worker =
            Worker { asked: Arc::clone(&asked), tail, publish, dir: dir.to_owned(), disk, gathering };
        let thread = thread::Builder::new()
            .name("journal-sync".into())
            .spawn(move || worker.run())
            .map_err(JournalFault::file("start the sync thread of", dir))?;
        Ok(Self { asked, news, thread: Some(thread) })
    }

    /// Asks for what is written by now to be synced. Wakes the thread only if it has nothing to do: else it
    /// looks again by itself, soon.
    pub(super) fn ask(&self) {
        if self.asked.sync.load(Ordering::SeqCst) {
            return;
        }
        self.asked.sync.store(true, Ordering::SeqCst);
        if self.asked.is_asleep.load(Ordering::SeqCst) {
            // with the lock held, so that it cannot fall between the thread's look and its sleep
            let _stop = self.asked.stop();
            self.asked.changed.notify_one();
        }
    }

    /// Waits until all before `end` is synced.
    pub(super) async fn synced(&self, end: Position) -> Result<(), JournalFault> {
        let mut news = self.news.clone();
        let synced = news.wait_for(|synced| synced.settles(end)).await;
        match synced {
            Ok(synced) if !synced.lost(end) => Ok(()),
            _ => Err(JournalFault::NotSynced),
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        *self.asked.stop() = true;
        self.asked.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // a panicked thread has already told its waiters by hanging up
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Asked {
    /// Something was written since the last look.
    sync: AtomicBool,
    /// The thread had nothing to do for a while: the next who asks wakes it.
    is_asleep: AtomicBool,
    stop: Mutex<bool>,
    changed: Condvar,
}

impl Asked {
    fn stop(&self) -> MutexGuard<'_, bool> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `gathering`, in which others may ask. If nobody did, waits until somebody does, and then for
    /// what else comes within `gathering`; `false` at the end.
    fn wait(&self, gathering: Duration) -> bool {
        let is_asked = || self.sync.load(Ordering::SeqCst);
        let mut stop = self.gather(self.stop(), gathering);
        if !*stop && !is_asked() {
            self.is_asleep.store(true, Ordering::SeqCst);
            stop = self
                .changed
                .wait_while(stop, |stop| !*stop && !is_asked())
                .unwrap_or_else(PoisonError::into_inner);
            self.is_asleep.store(false, Ordering::SeqCst);
            stop = self.gather(stop, gathering);
        }
        drop(stop);
        // what was asked before the end is still done
        self.sync.swap(false, Ordering::SeqCst)
    }

    fn gather<'a>(&'a self, stop: MutexGuard<'a, bool>, gathering: Duration) -> MutexGuard<'a, bool> {
        if gathering.is_zero() {
            return stop;
        }
        self.changed
            .wait_timeout_while(stop, gathering, |stop| !*stop)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// How far the disk has the journal.
#[derive(Debug, Clone, Copy, Default)]
struct Synced {
    to: Position,
    /// From and to of what a failed sync may have lost. A later loss only widens it: better to tell one
    /// waiter too many.
    hole: Option<(Position, Position)>,
}

impl Synced {
    fn settles(&self, end: Position) -> bool {
        end <= self.to || self.lost(end)
    }

    fn lost(&self, end: Position) -> bool {
        self.hole.is_some_and(|(from, to)| from < end && end <= to)
    }
}

struct Worker {
    asked: Arc<Asked>,
    tail: Arc<Mutex<Tail>>,
    publish: watch::Sender<Synced>,
    dir: PathBuf,
    disk: Box<dyn Durable>,
    gathering: Duration,
}

impl Worker {
    fn run(self) {
        while self.asked.wait(self.gathering) {
            let (files, entered_segment, end) = {
                let mut tail = tail_of(&self.tail);
                let mut files = std::mem::take(&mut tail.left_behind);
                let entered_segment =
                    !files.is_empty() || tail.end.segment != self.publish.borrow().to.segment;
                files.push(Arc::clone(&tail.file));
                (files, entered_segment, tail.end)
            };
            let synced = self.sync(&files, entered_segment);
            if let Err(fault) = &synced {
                tracing::error!(error = %fault, "the journal could not be synced to disk");
                // after a failed fsync the kernel may call lost pages clean: never trust this file again
                tail_of(&self.tail).spoiled = true;
            }
            self.publish.send_modify(|news| {
                if synced.is_err() {
                    let from = news.hole.map_or(news.to, |(from, _)| from);
                    news.hole = Some((from, end));
                }
                news.to = end;
            });
        }
    }

    fn sync(&self, files: &[Arc<File>], entered_segment: bool) -> io::Result<()> {
        for file in files {
            self.disk.sync_file(file)?;
        }
        // a file whose name is lost is lost
        if entered_segment { self.disk.sync_names(&self.dir) } else { Ok(()) }
    }
}

/// What a loss of power takes at most where nobody waits for the disk. A sync per second is no load; without
/// it the system writes after half a minute.
const GATHERING: Duration = Duration::from_secs(1);
