//! Requests per minute by governor's GCRA, over a cell of our own: governor cannot give a request back,
//! and one that another limit refuses must not count here.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::base::clock::Tick;

/// Up to a minute's requests at once, then one each `60 s / limit`. Always used under its limiter's lock.
#[derive(Debug)]
pub(super) struct Rate {
    gcra: RateLimiter<NotKeyed, Cell, Stopped, NoOpMiddleware<Nanos>>,
    cell: Cell,
    clock: Stopped,
    limit: NonZeroU32,
}

impl Rate {
    pub(super) fn new(limit: NonZeroU32) -> Self {
        // governor counts from the first reading of its clock: the beginning of time
        let (cell, clock) = (Cell::default(), Stopped::default());
        let gcra = RateLimiter::new(Quota::per_minute(limit), cell.clone(), clock.clone());
        Self { gcra, cell, clock, limit }
    }

    /// The same use under a new limit, as of the last request.
    pub(super) fn adopt(&mut self, limit: NonZeroU32) {
        let next = Self::new(limit);
        let last = self.clock.now().as_u64();
        let used = u128::from(self.cell.0.load(Ordering::Relaxed).saturating_sub(last));
        let scaled = used * u128::from(next.period()) / u128::from(self.period());
        let ends = last.saturating_add(u64::try_from(scaled).unwrap_or(u64::MAX));
        next.cell.0.store(ends, Ordering::Relaxed);
        next.clock.0.store(last, Ordering::Relaxed);
        *self = next;
    }

    pub(super) const fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// Takes one request, or says how long to wait for it.
    pub(super) fn take(&mut self, now: Tick) -> Result<(), Duration> {
        self.clock.set(now);
        self.gcra.check().map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Undoes a [`Rate::take`] that nobody else has seen.
    pub(super) fn give_back(&mut self) {
        let before = self.cell.0.load(Ordering::Relaxed).saturating_sub(self.period());
        self.cell.0.store(before, Ordering::Relaxed);
    }

    /// Requests that could be made at once, and the time until all could be again.
    pub(super) fn standing(&mut self, now: Tick) -> (u64, Duration) {
        self.clock.set(now);
        let now = self.clock.now().as_u64();
        let used = self.cell.0.load(Ordering::Relaxed).saturating_sub(now);
        let left = u64::from(self.limit.get()).saturating_sub(used.div_ceil(self.period()));
        (left, Duration::from_nanos(used))
    }

    /// Nanoseconds that one request takes: `60 s / limit`, rounded down as governor does.
    fn period(&self) -> u64 {
        MINUTE / u64::from(self.limit.get())
    }
}

/// GCRA's whole state: the instant at which all that was admitted will have been paid for.
#[derive(Debug, Clone, Default)]
struct Cell(Arc<AtomicU64>);

impl StateStore for Cell {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, next) = decide(Some(Nanos::new(self.0.load(Ordering::Relaxed))))?;
        self.0.store(next.as_u64(), Ordering::Relaxed);
        Ok(outcome)
    }
}

/// A clock that stands at the admission's instant and never goes back, so that all limits of one
/// admission are asked about the same moment.
#[derive(Debug, Clone, Default)]
struct Stopped(Arc<AtomicU64>);

impl Stopped {
    fn set(&self, now: Tick) {
        self.0.fetch_max(u64::try_from(now.as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }
}

impl Clock for Stopped {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

const MINUTE: u64 = 60_000_000_000;
