//! What the system knows of a process: memory at its highest, descriptors, threads.

use std::fs;

/// One look at `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    /// The most memory it ever held, in KiB (`VmHWM`).
    pub(super) peak_kib: u64,
    /// Without connections to the upstream, which may be kept for those who come next.
    pub(super) descriptors: u64,
    pub(super) threads: u64,
}

/// Looks at a process whose upstream listens on `upstream`; `None` where it is gone or there is no `/proc`.
pub(super) fn look(pid: u32, upstream: u16) -> Option<Look> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().split(' ').next()?.parse().ok()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    let descriptors = descriptors.saturating_sub(connections_to(upstream));
    Some(Look { peak_kib: number("VmHWM:")?, descriptors, threads: number("Threads:")? })
}

/// TCP connections of this machine to a port of its own.
fn connections_to(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{port:04X}");
    let is_one = |line: &&str| {
        let mut columns = line.split_whitespace().skip(2);
        let (remote, state) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
        remote.ends_with(&port) && [ESTABLISHED, CLOSE_WAIT].contains(&state)
    };
    table.lines().filter(is_one).count() as u64
}

/// States that hold a descriptor, as the kernel writes them.
const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_threads() {
        let look = look(std::process::id(), 1).unwrap();
        assert!(look.peak_kib > 1_000 && look.descriptors > 2 && look.threads > 0);
        assert_eq!(super::look(u32::MAX, 1), None);
    }
}
