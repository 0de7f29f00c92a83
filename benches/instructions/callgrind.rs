//! A process under valgrind's callgrind, and how many instructions it took.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Failure;

/// What once costs, from `n` times and `2n` times. Where time and chance play a part, they only ever add: so each is
/// tried so often, and the least counts.
pub(crate) fn once(
    times: u64,
    tries: u32,
    count: impl Fn(u64) -> Result<u64, Failure>,
) -> Result<u64, Failure> {
    let least = |times| -> Result<u64, Failure> {
        let mut least = u64::MAX;
        for _ in 0..tries {
            least = least.min(count(times)?);
        }
        Ok(least)
    };
    Ok(least(times * 2)?.saturating_sub(least(times)?) / times)
}

/// Runs `program` until `wait` has seen its end; the instructions of all its threads.
#[expect(clippy::disallowed_methods, reason = "where valgrind is found")]
pub(crate) fn count(
    program: &Path,
    args: &[&str],
    wait: impl FnOnce(&mut Child) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let folder = tempfile::tempdir()?;
    let (log, complaints) = (folder.path().join("valgrind.log"), folder.path().join("stderr"));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .arg(program)
        .args(args)
        // nothing of the caller's environment, and an allocator that gives nothing back by the clock
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("MIMALLOC_PURGE_DELAY", "-1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&complaints)?);
    let mut child = command.spawn().map_err(|fault| format!("valgrind: {fault}"))?;
    let waited = wait(&mut child);
    // it has ended already if all went well
    let _ = child.kill();
    child.wait()?;
    waited?;
    let said = std::fs::read_to_string(&log)?;
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected
        .ok_or_else(|| format!("valgrind did not say how many instructions it collected:\n{said}").into())
}
