//! A token bucket with reserve and settle: tokens per minute, refilled continuously. Pure: `now` comes in.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::base::clock::Tick;

/// Up to a minute's tokens. What is reserved is taken at once and corrected later, so the level may fall
/// below zero when an answer was longer than expected; the caller then waits until that is made good.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: NonZeroU64,
    /// In grains, so that a nanosecond's refill is a whole number.
    level: i128,
    filled: Tick,
}

impl Bucket {
    pub(super) fn full(limit: NonZeroU64, now: Tick) -> Self {
        Self { limit, level: grains(limit.get()), filled: now }
    }

    /// The same use under a new limit.
    pub(super) fn adopt(&mut self, limit: NonZeroU64) {
        self.level += grains(limit.get()) - grains(self.limit.get());
        self.limit = limit;
    }

    pub(super) const fn limit(&self) -> u64 {
        self.limit.get()
    }

    /// How long to wait until `tokens` are there; zero if they are. `None` if they never will be,
    /// because they are more than a full bucket.
    pub(super) fn wait_for(&mut self, tokens: u64, now: Tick) -> Option<Duration> {
        self.refill(now);
        (tokens <= self.limit.get()).then(|| self.time_to(grains(tokens)))
    }

    /// Takes tokens, whether they are there or not: ask [`Bucket::wait_for`] first.
    pub(super) fn take(&mut self, tokens: u64) {
        self.level -= grains(tokens);
    }

    /// Gives tokens back; a full bucket does not get fuller.
    pub(super) fn give(&mut self, tokens: u64) {
        self.level = (self.level + grains(tokens)).min(self.capacity());
    }

    /// Whole tokens that are there, and the time until it is full.
    pub(super) fn standing(&mut self, now: Tick) -> (u64, Duration) {
        (self.there(now), self.time_to(self.capacity()))
    }

    /// Whole tokens that are there.
    pub(super) fn there(&mut self, now: Tick) -> u64 {
        self.refill(now);
        u64::try_from((self.level / GRAINS_PER_TOKEN).max(0)).unwrap_or(u64::MAX)
    }

    /// A clock that went back refills nothing.
    fn refill(&mut self, now: Tick) {
        let gone = i128::try_from(now.since(self.filled).as_nanos()).unwrap_or(i128::MAX);
        let gain = gone.saturating_mul(i128::from(self.limit.get()));
        self.level = self.level.saturating_add(gain).min(self.capacity());
        self.filled = self.filled.max(now);
    }

    fn time_to(&self, level: i128) -> Duration {
        let missing = (level - self.level).max(0);
        if missing == 0 {
            return Duration::ZERO;
        }
        let per_nano = i128::from(self.limit.get());
        let nanos = missing / per_nano + i128::from(missing % per_nano != 0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn capacity(&self) -> i128 {
        grains(self.limit.get())
    }
}

fn grains(tokens: u64) -> i128 {
    i128::from(tokens) * GRAINS_PER_TOKEN
}

/// One nanosecond refills `limit` grains: a token has as many grains as a minute has nanoseconds.
const GRAINS_PER_TOKEN: i128 = 60_000_000_000;
