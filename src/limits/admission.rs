//! Admits a request to all its limits or to none, lets a stream take more as it goes, and gives back what
//! was not used.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::limiter::{Gauges, LimitHit, Limiter, Taken};
use crate::base::clock::Tick;

/// What a request asks of the limits on tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenAsk {
    /// What it will use for certain, or named itself: must be there. More than a minute's tokens are never
    /// admitted.
    pub firm: u64,
    /// What such requests use as a rule: must be there, too, as far as the limit can ever hold it.
    pub usual: u64,
    /// What it might use at most: taken as far as it is there.
    pub most: u64,
}

impl TokenAsk {
    /// Exactly so many tokens.
    #[must_use]
    pub const fn exactly(tokens: u64) -> Self {
        Self { firm: tokens, usual: tokens, most: tokens }
    }
}

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
    tokens: Option<Taken>,
    slot: Slot,
}

/// Admits a request to all limiters, or to none.
///
/// All of them are locked while it decides, in one order for all requests: a refused request leaves no
/// trace, and nobody is refused because of one that is about to be taken back.
///
/// # Errors
/// When a limit has no room; of several, the one that bars the way longest, so that waiting for it helps.
pub fn admit(limiters: &[Arc<Limiter>], ask: TokenAsk, now: Tick) -> Result<Admission, LimitHit> {
    enter(limiters, ask, now, Slot::Own)
}

/// Admits a part of a request that is at work already: it needs no slot of its own, or a caller with one slot
/// could open a socket and ask nothing in it.
///
/// # Errors
/// As [`admit`], but never for want of a slot.
pub fn admit_part(limiters: &[Arc<Limiter>], ask: TokenAsk, now: Tick) -> Result<Admission, LimitHit> {
    enter(limiters, ask, now, Slot::OfWhole)
}

/// Which slot among the requests at once is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Own,
    OfWhole,
}

fn enter(limiters: &[Arc<Limiter>], ask: TokenAsk, now: Tick, slot: Slot) -> Result<Admission, LimitHit> {
    let mut ordered: Vec<&Arc<Limiter>> = limiters.iter().collect();
    ordered.sort_unstable_by_key(|limiter| limiter.order);
    // the same limiter twice would wait for its own lock
    ordered.dedup_by_key(|limiter| limiter.order);
    let mut gauges: Vec<MutexGuard<'_, Gauges>> = ordered.iter().map(|limiter| limiter.lock()).collect();
    let hits =
        ordered.iter().zip(&mut gauges).filter_map(|(limiter, own)| limiter.refuses(own, ask, now, slot));
    if let Some(hit) = hits.max_by_key(LimitHit::gravity) {
        return Err(hit);
    }
    let taken = ordered.iter().zip(&mut gauges);
    let held = taken.map(|(limiter, own)| Held {
        tokens: limiter.take(own, ask, now, slot),
        limiter: Arc::clone(limiter),
        slot,
    });
    Ok(Admission { held: held.collect() })
}

impl Admission {
    /// Sees to it that `tokens` in all are taken, as a stream passes what it took at first. Answers how long
    /// to wait before these tokens may pass: zero if there was room.
    ///
    /// What is missing is taken at once, ahead of the refill, and paid for by the wait: streams that share
    /// a limit get their turns in the order in which they asked, and together never pass it.
    #[must_use = "the stream passes its limits unless it waits"]
    pub fn top_up_to(&mut self, tokens: u64, now: Tick) -> Duration {
        let waits = self.held.iter_mut().filter_map(|held| {
            let taken = held.tokens.as_mut().filter(|taken| taken.tokens < tokens)?;
            held.limiter.take_ahead(taken, tokens, now)
        });
        waits.max().unwrap_or_default()
    }

    /// Corrects the token limits to what was really used: gives the rest back, or takes what is missing
    /// even below zero. Slots stay held until the admission is dropped. A second settlement does nothing.
    pub fn settle(&mut self, used_tokens: u64) {
        for held in &mut self.held {
            if let Some(taken) = held.tokens.take() {
                held.limiter.correct(taken, used_tokens);
            }
        }
    }

    /// Undoes the admission of a request that another limit refused after all: it counts nowhere.
    pub fn withdraw(self) {
        for held in &self.held {
            held.limiter.uncount();
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle(0);
        for held in &self.held {
            if held.slot == Slot::Own {
                held.limiter.leave();
            }
        }
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "stream_tests.rs"]
mod stream_tests;
