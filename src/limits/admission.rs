//! Admits a request to all its limits or to none, and gives back what it did not use.

use std::sync::{Arc, MutexGuard};

use super::limiter::{Gauges, LimitHit, Limiter};
use crate::base::clock::Tick;

/// An admitted request's place in its limits. Dropping it frees its slots, and gives its tokens back
/// unless it was settled.
#[derive(Debug)]
#[must_use = "dropping an admission frees its slots"]
pub struct Admission {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    limiter: Arc<Limiter>,
    /// Taken from its token bucket and not yet settled.
    tokens: Option<u64>,
}

/// Admits a request that needs `tokens` to all limiters, or to none.
///
/// All of them are locked while it decides, in one order for all requests: a refused request leaves no
/// trace, and nobody is refused because of one that is about to be taken back.
///
/// # Errors
/// When a limit has no room; of several, the one that bars the way longest, so that waiting for it helps.
pub fn admit(limiters: &[Arc<Limiter>], tokens: u64, now: Tick) -> Result<Admission, LimitHit> {
    let mut ordered: Vec<&Arc<Limiter>> = limiters.iter().collect();
    ordered.sort_unstable_by_key(|limiter| limiter.order);
    // the same limiter twice would wait for its own lock
    ordered.dedup_by_key(|limiter| limiter.order);
    let mut gauges: Vec<MutexGuard<'_, Gauges>> = ordered.iter().map(|limiter| limiter.lock()).collect();
    let hits = ordered.iter().zip(&mut gauges).filter_map(|(limiter, own)| limiter.refuses(own, tokens, now));
    if let Some(hit) = hits.max_by_key(LimitHit::gravity) {
        return Err(hit);
    }
    let taken = ordered.iter().zip(&mut gauges);
    let held = taken
        .map(|(limiter, own)| Held { tokens: limiter.take(own, tokens, now), limiter: Arc::clone(limiter) });
    Ok(Admission { held: held.collect() })
}

impl Admission {
    /// Corrects the token limits to what was really used: gives the rest back, or takes what is missing
    /// even below zero. Slots stay held until the admission is dropped. A second settlement does nothing.
    pub fn settle(&mut self, used_tokens: u64) {
        for held in &mut self.held {
            let Some(reserved) = held.tokens.take() else { continue };
            if let Some(bucket) = &mut held.limiter.lock().bucket {
                bucket.give(reserved.saturating_sub(used_tokens));
                bucket.take(used_tokens.saturating_sub(reserved));
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle(0);
        for held in &self.held {
            held.limiter.leave();
        }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
