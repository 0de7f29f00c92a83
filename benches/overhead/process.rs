//! A child process and what the kernel says of it.

use std::fs;
use std::io;
use std::process::Child;
use std::time::Duration;

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
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let nanos = text.split(' ').next().and_then(|text| text.parse().ok());
            total += Duration::from_nanos(nanos.ok_or_else(|| io::Error::other(text))?);
        }
        Ok(total)
    }

    /// CPU time so far, once work that was put off (a ledger's batch) is done, too.
    pub(crate) fn cpu_at_rest(&self) -> io::Result<Duration> {
        let mut before = self.cpu()?;
        for _ in 0..MOST_PAUSES {
            pause(PAUSE);
            let after = self.cpu()?;
            if after.saturating_sub(before) < PAUSE / 100 {
                return Ok(after);
            }
            before = after;
        }
        Ok(before)
    }

    /// The most memory it ever had resident, in KiB.
    pub(crate) fn peak_kib(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kib.ok_or_else(|| io::Error::other("no VmHWM in the process's status"))
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
const MOST_PAUSES: u32 = 20;
