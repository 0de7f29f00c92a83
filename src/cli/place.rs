//! Which config file a command means, and which of the places in it: listeners, upstreams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::out::{Exit, note};
use crate::config::{self, Loaded};

/// The config file of a command.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArg {
    /// The config file.
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
}

/// Where a config is looked for when nothing else is said.
pub const DEFAULT_CONFIG: &str = "config/tollgate.yaml";

/// Loads a config with the secrets it refers to; prints its faults.
///
/// # Errors
/// With the exit code, once the faults were printed.
pub fn load(path: &Path) -> Result<Loaded, Exit> {
    read(path, &config::environment)
}

/// Loads a config for commands that need no secret: unset variables do not matter.
///
/// # Errors
/// With the exit code, once the faults were printed.
pub fn load_without_secrets(path: &Path) -> Result<Loaded, Exit> {
    let known_or_not = |name: &str| config::environment(name).or_else(|| Some(format!("unset:{name}")));
    read(path, &known_or_not)
}

fn read(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Exit> {
    let file = path.display();
    config::load(path, environment).map_err(|faults| {
        if faults.found().is_empty() {
            note(&faults.to_string());
            return Exit::Failed;
        }
        for fault in faults.found() {
            note(&format!("{file}:{fault}"));
            if let Some(hint) = &fault.hint {
                note(&format!("  hint: {hint}"));
            }
        }
        Exit::Failed
    })
}

/// No upstream, or one of several: which one was meant?
#[derive(Debug, thiserror::Error)]
pub enum UpstreamChoice {
    /// The name is none of the config's.
    #[error("no upstream is called `{0}`; there are: {1}")]
    Unknown(String, String),
    /// No name was given, and there are several.
    #[error("the config has several upstreams, choose one: --upstream {0}")]
    Several(String),
}

/// The name of the upstream that is meant: the one wanted, or the only one.
///
/// # Errors
/// When there is none of that name, or there are several.
pub fn upstream_named(wanted: Option<&str>, loaded: &Loaded) -> Result<String, UpstreamChoice> {
    let known = &loaded.settings.upstreams;
    let names = |between| known.keys().map(String::as_str).collect::<Vec<_>>().join(between);
    match (wanted, known.len()) {
        (Some(name), _) if known.contains_key(name) => Ok(name.to_owned()),
        (Some(name), _) => Err(UpstreamChoice::Unknown(name.to_owned(), names(", "))),
        (None, 1) => Ok(names("")),
        (None, _) => Err(UpstreamChoice::Several(names(" | "))),
    }
}

/// A listener on all addresses is asked on loopback.
#[must_use]
pub fn reachable(listed: &str) -> String {
    let Ok(address) = listed.parse::<SocketAddr>() else { return listed.into() };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        for (listed, asked) in [
            ("127.0.0.1:4001", "127.0.0.1:4001"),
            ("0.0.0.0:4001", "127.0.0.1:4001"),
            ("[::]:4001", "[::1]:4001"),
            ("10.0.0.5:4001", "10.0.0.5:4001"),
            ("localhost:4001", "localhost:4001"),
        ] {
            assert_eq!(reachable(listed), asked);
        }
    }
}
