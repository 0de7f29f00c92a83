//! Where and with what the figures were measured.

use std::path::Path;
use std::process::Command;

use crate::Args;

/// A sentence for pages: date, machine, nginx, and which gateway this was.
pub(crate) fn describe(args: &Args) -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = |name: &str| cpus.lines().find(|line| line.starts_with(name));
    let model = named("model name").and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown CPU");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let nginx = Command::new("nginx").arg("-v").output();
    let nginx = nginx.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
    let nginx = nginx.unwrap_or_default().replace("nginx version: nginx/", "nginx ");
    let quick = if args.quick { " This was a look (`--quick`), not a measurement." } else { "" };
    format!(
        "{}, {model}, {cores} cores, load average {load} at the end (the load generator and the upstream \
         included), {nginx} with one process, Tollgate {} ({}) with {} worker{}.{quick}",
        today(),
        env!("CARGO_PKG_VERSION"),
        build(&args.binary),
        args.workers,
        if args.workers == 1 { "" } else { "s" },
    )
}

/// The day, as the machine has it.
#[expect(clippy::disallowed_methods, reason = "the date of a report is the machine's")]
pub(crate) fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// Which profile the gateway was built with: cargo names the folder by it.
fn build(binary: &Path) -> String {
    let folder = binary.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match folder.as_deref() {
        Some("dist") => "profile `dist`, as the README and the container image deploy it".to_owned(),
        Some(profile @ ("release" | "quick" | "debug")) => {
            format!("profile `{profile}`, not what is deployed")
        }
        _ => "a binary of unknown profile".to_owned(),
    }
}
