//! A process under valgrind's callgrind, and how many instructions it took.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Failure;

/// What once costs, from `n` times and `2n` times.
pub(crate) fn once(times: u64, count: impl Fn(u64) -> Result<u64, Failure>) -> Result<u64, Failure> {
    let (single, double) = (count(times)?, count(times * 2)?);
    Ok(double.saturating_sub(single) / times)
}

/// Runs `program` until `wait` has seen its end; the instructions of all its threads.
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
