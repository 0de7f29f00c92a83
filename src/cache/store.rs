//! The store of answers, bounded in bytes, and the look-up that says which part a request plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;

use super::answer::Answer;
use super::flight::{Flights, Follower, Leader, Part};
use super::key::CacheKey;
use super::section::CacheSection;
use crate::base::clock::{Clock, Tick};

/// The answers of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    shelf: Arc<Shelf>,
}

/// What a look-up found.
#[derive(Debug)]
pub enum Lookup {
    /// An answer, fresh enough.
    Hit(Arc<Answer>),
    /// Nothing: ask the upstream, and store or drop.
    Lead(Leader),
    /// The same request is in flight: wait for it.
    Follow(Follower),
}

/// What the store holds and what it had to let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Answers.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Answers let go for want of room, since the start.
    pub evictions: u64,
}

/// The store itself, shared with the leaders.
#[derive(Debug)]
pub(super) struct Shelf {
    stored: moka::sync::Cache<CacheKey, Stored>,
    pub(super) flights: Flights,
    max_answer: u64,
    clock: Clock,
    /// Counts clearings.
    turn: AtomicU64,
    evictions: Arc<AtomicU64>,
}

#[derive(Debug, Clone)]
struct Stored {
    answer: Arc<Answer>,
    at: Tick,
    ttl: Duration,
}

impl Cache {
    /// An empty store of the section's size.
    #[must_use]
    pub fn new(section: &CacheSection, clock: Clock) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&evictions);
        let stored = moka::sync::Cache::builder()
            .max_capacity(section.max_size.0)
            .weigher(|_, stored: &Stored| u32::try_from(stored.answer.size()).unwrap_or(u32::MAX))
            .expire_after(Ttl)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build();
        let shelf = Shelf {
            stored,
            flights: Flights::default(),
            max_answer: section.max_answer.0,
            clock,
            turn: AtomicU64::new(0),
            evictions,
        };
        Self { shelf: Arc::new(shelf) }
    }

    /// Looks for an answer no older than `max_age`; without one, says whether to ask or to wait.
    #[must_use]
    pub fn look_up(&self, key: CacheKey, max_age: Duration) -> Lookup {
        if let Some(hit) = self.fresh(key, max_age) {
            return Lookup::Hit(hit);
        }
        match Flights::join(&self.shelf, key) {
            Part::Follow(follower) => Lookup::Follow(follower),
            // a leader may have stored its answer and gone between the two looks
            Part::Lead(leader) => match self.fresh(key, max_age) {
                Some(hit) => {
                    leader.publish(Arc::clone(&hit));
                    Lookup::Hit(hit)
                }
                None => Lookup::Lead(leader),
            },
        }
    }

    /// A leader that reads nothing and is followed by nobody: for a caller who wants a fresh answer stored.
    pub fn refresh(&self, key: CacheKey) -> Leader {
        Leader::alone(&self.shelf, key)
    }

    /// The largest body worth collecting.
    #[must_use]
    pub fn max_answer(&self) -> u64 {
        self.shelf.max_answer
    }

    /// Forgets all answers, also those that are under way now.
    pub fn clear(&self) {
        self.shelf.turn.fetch_add(1, Ordering::SeqCst);
        self.shelf.stored.invalidate_all();
    }

    /// What it holds. Tidies up first, so not for the hot path.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.shelf.stored.run_pending_tasks();
        CacheStats {
            entries: self.shelf.stored.entry_count(),
            bytes: self.shelf.stored.weighted_size(),
            evictions: self.shelf.evictions.load(Ordering::Relaxed),
        }
    }

    fn fresh(&self, key: CacheKey, max_age: Duration) -> Option<Arc<Answer>> {
        let stored = self.shelf.stored.get(&key)?;
        let age = self.shelf.clock.tick().since(stored.at);
        (age < stored.ttl.min(max_age)).then_some(stored.answer)
    }
}

impl Shelf {
    pub(super) fn turn(&self) -> u64 {
        self.turn.load(Ordering::SeqCst)
    }

    /// Stores an answer, unless the store was cleared since `turn`; whether it may be handed on.
    pub(super) fn put(&self, key: CacheKey, answer: &Arc<Answer>, ttl: Duration, turn: u64) -> bool {
        if !answer.storable() || answer.body.len() as u64 > self.max_answer {
            return false;
        }
        if self.turn() == turn && !ttl.is_zero() {
            let stored = Stored { answer: Arc::clone(answer), at: self.clock.tick(), ttl };
            self.stored.insert(key, stored);
            // a clearing may have passed between the look and the insertion
            if self.turn() != turn {
                self.stored.invalidate(&key);
            }
        }
        true
    }
}

/// Frees the memory of answers past their time. Whether an answer is fresh is decided on reading, by our
/// own clock.
struct Ttl;

impl Expiry<CacheKey, Stored> for Ttl {
    fn expire_after_create(&self, _: &CacheKey, stored: &Stored, _: Instant) -> Option<Duration> {
        Some(stored.ttl)
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        stored: &Stored,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(stored.ttl)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
