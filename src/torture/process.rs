//! What the system knows of a process: memory at its highest, descriptors, threads.

use std::fs;

/// One look at `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    /// The most memory it ever held, in KiB (`VmHWM`).
    pub(super) peak_kib: u64,
    pub(super) descriptors: u64,
    pub(super) threads: u64,
}

/// Looks at a process; `None` where it is gone or there is no `/proc`.
pub(super) fn look(pid: u32) -> Option<Look> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().split(' ').next()?.parse().ok()
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Look { peak_kib: number("VmHWM:")?, descriptors, threads: number("Threads:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_threads() {
        let look = look(std::process::id()).unwrap();
        assert!(look.peak_kib > 1_000 && look.descriptors > 2 && look.threads > 0);
        assert_eq!(super::look(u32::MAX), None);
    }
}
