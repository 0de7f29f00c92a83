//! The gateway's process, if it is on this machine and ours to look at: found by its port, read from `/proc`.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process and the CPU time it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process(u32);

impl Process {
    pub(super) const fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// Who listens at `host:port`; `None` if that is another machine, or another user's.
    pub(super) fn listening_at(host: &str, port: u16) -> Option<Self> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_here = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let sockets = if is_here { listening_sockets(port) } else { Vec::new() };
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.find(|pid| !sockets.is_empty() && holds_any(*pid, &sockets)).map(Self)
    }

    pub(super) const fn id(self) -> u32 {
        self.0
    }

    /// CPU time of all its threads so far, user and system; `None` if it is gone or not ours to see.
    pub(super) fn cpu(self) -> Option<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0)).ok()?.flatten() {
            // a thread may end while we look
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            total += Duration::from_nanos(text.split(' ').next()?.parse().ok()?);
        }
        Some(total)
    }
}

/// Names of the sockets that listen on `port`, as descriptors show them.
fn listening_sockets(port: u16) -> Vec<PathBuf> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|row| listening_on(port, row)).collect()
}

/// The socket of a row of `/proc/net/tcp` (proc(5)): its place, whom it speaks to, its state, ..., its inode.
fn listening_on(port: u16, row: &str) -> Option<PathBuf> {
    let mut columns = row.split_whitespace();
    let place = columns.nth(1)?;
    let state = columns.nth(1)?;
    let inode = columns.nth(5)?;
    let at = u16::from_str_radix(place.rsplit_once(':')?.1, 16).ok()?;
    (at == port && state == LISTENING).then(|| format!("socket:[{inode}]").into())
}

fn holds_any(pid: u32, sockets: &[PathBuf]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let leads_to = |path: &Path| fs::read_link(path).is_ok_and(|target| sockets.contains(&target));
    descriptors.flatten().any(|descriptor| leads_to(&descriptor.path()))
}

/// `TCP_LISTEN`.
const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_is_found_and_its_time_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = Process::listening_at("127.0.0.1", port).unwrap();
        assert_eq!(found.id(), std::process::id());
        assert!(found.cpu().is_some());
        assert_eq!(Process::listening_at("192.0.2.1", port), None);
        drop(listener);
        assert_eq!(Process::listening_at("127.0.0.1", port), None);
    }
}
