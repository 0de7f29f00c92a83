//! The `tollgate` command: parse, dispatch, exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_pages_small();
    tollgate::cli::run().into()
}

/// Where huge pages are the system's default, the heap of an idle gateway would take 2 MiB for every page that
/// is touched. Where this cannot be asked for, it only takes more memory.
fn keep_pages_small() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
