//! Which config file a command means, and what it says of places, without needing its secrets.

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
