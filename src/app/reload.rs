//! Reads the config again while the gateway runs: load, check, build, swap. A bad file changes nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::assemble::{Lasting, plan};
use super::reconcile::Bell;
use super::spent::spent_before;
use crate::base::clock::Timestamp;
use crate::config;
use crate::proxy::{Door, Policy};

/// Swaps policies. What cannot change while running (listeners, data directory, telemetry) waits for a restart.
#[derive(Debug)]
pub struct Reloader {
    config: PathBuf,
    door: Arc<Door>,
    lasting: Arc<Lasting>,
    reconciler: Bell,
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
    pub(super) fn new(
        config: PathBuf,
        door: Arc<Door>,
        lasting: Arc<Lasting>,
        reconciler: Bell,
        fingerprint: &str,
    ) -> Self {
        let state = ReloadState {
            generation: 1,
            loaded_at: door.clock.now(),
            fingerprint: fingerprint.into(),
            last_error: None,
        };
        Self { config, door, lasting, reconciler, state: Mutex::new(state) }
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
        let _counting = self.lasting.counting.lock().unwrap_or_else(PoisonError::into_inner);
        match self.build(&state) {
            Ok(None) => state.last_error = None,
            Ok(Some((policy, fingerprint))) => {
                let replaced = self.door.live.snapshot();
                self.door.live.swap(policy);
                self.lasting.superseded.note(replaced);
                // what was settled between the count and the swap
                self.reconciler.ring();
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

    /// The policy of the file as it is now; `None` if it is the one in force. Nothing changes if it fails.
    fn build(&self, state: &ReloadState) -> Result<Option<(Policy, String)>, String> {
        let loaded = config::load(&self.config, &config::environment).map_err(|faults| faults.to_string())?;
        if loaded.fingerprint == state.fingerprint {
            return Ok(None);
        }
        let plan = plan(&loaded.settings, &self.lasting.pepper).map_err(|fault| fault.to_string())?;
        let now = self.door.clock.now();
        // the journal's folder, not the config's: another one waits for a restart
        let spent = spent_before(&plan, &self.lasting.budgets, self.door.journal.data_dir(), now)
            .map_err(|fault| format!("what new budgets have spent cannot be read: {fault}"))?;
        let fresh: Vec<String> = spent.ids().map(str::to_owned).collect();
        let policy = plan.adopt(&self.lasting, spent);
        for budget in fresh.iter().filter_map(|id| self.lasting.budgets.find(id)) {
            budget.catch_up(true);
        }
        Ok(Some((policy, loaded.fingerprint)))
    }
}
