//! Reads the config again while the gateway runs: load, check, build, swap. A bad file changes nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::assemble::{Lasting, plan};
use crate::base::clock::Timestamp;
use crate::config::{self, Faults};
use crate::proxy::Door;

/// Swaps policies. What cannot change while running (listeners, data directory, telemetry) waits for a restart.
#[derive(Debug)]
pub struct Reloader {
    config: PathBuf,
    door: Arc<Door>,
    lasting: Arc<Lasting>,
    state: Mutex<ReloadState>,
}

/// How the last load went.
#[derive(Debug, Clone)]
pub struct ReloadState {
    /// Counts accepted loads, from 1.
    pub generation: u64,
    /// When the config in force was loaded.
    pub loaded_at: Timestamp,
    /// Of the config in force.
    pub fingerprint: String,
    /// Why the last file was rejected; `None` if it was not.
    pub last_error: Option<String>,
}

impl Reloader {
    pub(super) fn new(config: PathBuf, door: Arc<Door>, lasting: Arc<Lasting>, fingerprint: &str) -> Self {
        let state = ReloadState {
            generation: 1,
            loaded_at: door.clock.now(),
            fingerprint: fingerprint.into(),
            last_error: None,
        };
        Self { config, door, lasting, state: Mutex::new(state) }
    }

    /// How the last load went.
    #[must_use]
    pub fn state(&self) -> ReloadState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again. An unchanged file is left alone.
    pub fn reload(&self) {
        // held throughout: two reloads at once would race for the generation
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let built = config::load(&self.config, &config::environment)
            .map_err(|faults| told(&faults))
            .and_then(|loaded| {
                if loaded.fingerprint == state.fingerprint {
                    return Ok(None);
                }
                let plan = plan(&loaded.settings, &self.lasting.pepper).map_err(|fault| fault.to_string())?;
                Ok(Some((plan.adopt(&self.lasting, state.generation + 1), loaded.fingerprint)))
            });
        match built {
            Ok(None) => state.last_error = None,
            Ok(Some((policy, fingerprint))) => {
                self.door.live.swap(policy);
                state.generation += 1;
                state.loaded_at = self.door.clock.now();
                state.fingerprint = fingerprint;
                state.last_error = None;
                self.door.signals.config_reloaded(true);
                tracing::info!(generation = state.generation, "the config was loaded again");
            }
            Err(error) => {
                self.door.signals.config_reloaded(false);
                tracing::error!(error, "the changed config was rejected; the one in force stays");
                state.last_error = Some(error);
            }
        }
    }
}

fn told(faults: &Faults) -> String {
    let first = faults.found().first().map(ToString::to_string);
    first.map_or_else(|| faults.to_string(), |first| format!("{faults}: {first}"))
}
