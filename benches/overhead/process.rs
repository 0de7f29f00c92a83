//! A child process and what the kernel says of it.

use std::fs;
use std::io;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::load::pause;

/// A running child; it ends when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn of(child: Child) -> Self {
        Self { child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time so far, user and system. The sum over threads is utime + stime of `stat`, in nanoseconds
    /// instead of hundredths of a second.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        self.cpu_of("")
    }

    /// CPU time so far of the threads whose names begin so.
    pub(crate) fn cpu_of(&self, name: &str) -> io::Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let thread = thread?.path();
            if !fs::read_to_string(thread.join("comm"))?.starts_with(name) {
                continue;
            }
            let text = fs::read_to_string(thread.join("schedstat"))?;
            let nanos = text.split(' ').next().and_then(|text| text.parse().ok());
            total += Duration::from_nanos(nanos.ok_or_else(|| io::Error::other(text))?);
        }
        Ok(total)
    }

    /// Waits until work that was put off (a ledger's batch, a batch of spans) is done, too.
    pub(crate) fn rest(&self) -> io::Result<()> {
        let (mut before, mut quiet) = (self.cpu()?, 0);
        for _ in 0..MOST_PAUSES {
            pause(PAUSE);
            let after = self.cpu()?;
            quiet = if after.saturating_sub(before) < PAUSE / 50 { quiet + 1 } else { 0 };
            if quiet == QUIET_PAUSES {
                break;
            }
            before = after;
        }
        Ok(())
    }

    /// CPU time so far, once it is at rest.
    pub(crate) fn cpu_at_rest(&self) -> io::Result<Duration> {
        self.rest()?;
        self.cpu()
    }

    /// The most memory it ever had resident, in KiB.
    pub(crate) fn peak_kib(&self) -> io::Result<u64> {
        self.status("VmHWM")
    }

    /// The memory that it has resident now, in KiB.
    pub(crate) fn resident_kib(&self) -> io::Result<u64> {
        self.status("VmRSS")
    }

    /// Stops it as an operator does, and waits until it has ended.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(id.ok_or_else(|| io::Error::other("no process"))?, Signal::TERM)?;
        self.child.wait().map(drop)
    }

    fn status(&self, name: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kib.ok_or_else(|| io::Error::other(format!("no {name} in the process's status")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have ended by itself, which its connections have told already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PAUSE: Duration = Duration::from_millis(100);
const MOST_PAUSES: u32 = 40;
/// Longer than the ledger's writer gathers rows.
const QUIET_PAUSES: u32 = 4;
