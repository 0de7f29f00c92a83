//! What answers have told about models, beyond the config load in which they came.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Models that have reported hidden reasoning, by the upstream's name.
#[derive(Debug, Default)]
pub struct Learned(Mutex<HashMap<String, Arc<Names>>>);

impl Learned {
    /// Those of one upstream. Upstreams are the config's: there are as many as it has had.
    pub(super) fn reasons_of(&self, upstream: &str) -> Arc<Names> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(upstream.to_owned()).or_default().clone()
    }
}

/// Model names learned while the process runs.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<HashSet<String>>);

impl Names {
    pub(super) fn has(&self, model: &str) -> bool {
        self.0.read().is_ok_and(|known| known.contains(model))
    }

    /// Callers choose model names, so there is a bound.
    pub(super) fn note(&self, model: &str) {
        if let Ok(mut known) = self.0.write()
            && known.len() < MOST_NAMES
        {
            known.insert(model.into());
        }
    }
}

/// Enough for every model of a large deployment.
const MOST_NAMES: usize = 1_000;
