//! The limits of one team, key, model or upstream, kept across reloads.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::admission::{Slot, TokenAsk};
use super::bucket::Bucket;
use super::rate::Rate;
use super::section::LimitsSection;
use super::standing::{Meter, Standing};
use crate::base::clock::Tick;

/// The limits of one scope. What a limit has admitted stays counted when a reload changes it.
#[derive(Debug)]
pub struct Limiter {
    scope: String,
    /// Its place in the order in which several limiters are locked, so that no two requests deadlock.
    pub(super) order: u64,
    gauges: Mutex<Gauges>,
    /// Requests in flight. Raised under the lock, lowered without it, so that a request's end never waits.
    in_flight: AtomicU64,
}

/// A limiter's counters: everything that an admission looks at and changes.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) rate: Option<Rate>,
    pub(super) bucket: Option<Bucket>,
    concurrent: Option<NonZeroU32>,
    /// Counts the buckets there were: tokens go back only into the one that they came from.
    buckets: u32,
}

/// Tokens that were taken from a limiter's bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) tokens: u64,
    bucket: u32,
}

/// Which limit a request ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// Requests per minute.
    Requests,
    /// Tokens per minute.
    Tokens,
    /// Requests in flight at once.
    Concurrent,
}

/// Why a limit does not admit a request now. The caller's to solve, by waiting if `satisfiable`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct LimitHit {
    /// Whose limit, e.g. `team search` or `upstream openai`.
    pub scope: String,
    /// Which.
    pub kind: LimitKind,
    /// The limit.
    pub limit: u64,
    /// What the request needed: 1, or its tokens.
    pub need: u64,
    /// For `retry-after`: whole seconds, at least 1, below 60 (clients ignore longer ones).
    pub retry_after: Duration,
    /// The exact wait; for concurrency, which nobody can foretell, as `retry_after`.
    pub wait: Duration,
    /// Whether waiting helps at all: not if one request needs more tokens than the limit allows in a minute.
    pub satisfiable: bool,
}

/// All limiters by name. It grows by what operators write into configs, never by what callers send.
#[derive(Debug, Default)]
pub struct LimiterBook {
    limiters: Mutex<HashMap<String, Arc<Limiter>>>,
}

impl LimiterBook {
    /// A book without limiters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The limiter of this name, e.g. `team search`. If it is open already, its counters stay and the
    /// next admission sees the new limits.
    pub fn open(&self, name: &str, section: &LimitsSection) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = limiters.get(name) {
            known.adopt(section);
            return Arc::clone(known);
        }
        let limiter = Arc::new(Limiter::new(name.into(), section));
        limiters.insert(name.into(), Arc::clone(&limiter));
        limiter
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.limiters.lock().unwrap().len()
    }
}

impl Limiter {
    /// A limiter that has admitted nothing yet.
    #[must_use]
    pub fn new(scope: String, section: &LimitsSection) -> Self {
        static ORDER: AtomicU64 = AtomicU64::new(0);
        let limiter = Self {
            scope,
            order: ORDER.fetch_add(1, Ordering::Relaxed),
            gauges: Mutex::default(),
            in_flight: AtomicU64::new(0),
        };
        limiter.adopt(section);
        limiter
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How its rates stand at `now`.
    #[must_use]
    pub fn standing(&self, now: Tick) -> Standing {
        let mut gauges = self.lock();
        let requests = gauges.rate.as_mut().map(|rate| {
            let (remaining, reset) = rate.standing(now);
            Meter { limit: u64::from(rate.limit().get()), remaining, reset }
        });
        let tokens = gauges.bucket.as_mut().map(|bucket| {
            let (remaining, reset) = bucket.standing(now);
            Meter { limit: bucket.limit(), remaining, reset }
        });
        Standing { requests, tokens }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Gauges> {
        // plain additions cannot panic halfway: a poisoned lock is whole
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this limiter would refuse; the longest wait if for several reasons. Takes nothing.
    pub(super) fn refuses(
        &self,
        gauges: &mut Gauges,
        ask: TokenAsk,
        now: Tick,
        slot: Slot,
    ) -> Option<LimitHit> {
        let concurrent = gauges.concurrent.filter(|_| slot == Slot::Own);
        let concurrent = concurrent.filter(|limit| self.in_flight() >= u64::from(limit.get()));
        let concurrent = concurrent
            .map(|limit| self.hit(LimitKind::Concurrent, u64::from(limit.get()), 1, Some(SLOT_WAIT)));
        let requests = gauges.rate.as_mut().and_then(|rate| {
            let wait = rate.take(now).map(|()| rate.give_back()).err()?;
            Some(self.hit(LimitKind::Requests, u64::from(rate.limit().get()), 1, Some(wait)))
        });
        let tokens = gauges.bucket.as_mut().and_then(|bucket| {
            let needed = ask.needed(bucket.limit());
            let wait = bucket.wait_for(needed, now);
            let hit = wait != Some(Duration::ZERO);
            hit.then(|| self.hit(LimitKind::Tokens, bucket.limit(), needed, wait))
        });
        [concurrent, requests, tokens].into_iter().flatten().max_by_key(LimitHit::gravity)
    }

    /// Takes a request, its tokens and a slot; returns the tokens taken. Ask [`Limiter::refuses`] first.
    pub(super) fn take(&self, gauges: &mut Gauges, ask: TokenAsk, now: Tick, slot: Slot) -> Option<Taken> {
        if slot == Slot::Own {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(rate) = &mut gauges.rate {
            // `refuses` has just found room at this instant under this lock
            let _ = rate.take(now);
        }
        let bucket = gauges.bucket.as_mut()?;
        let needed = ask.needed(bucket.limit());
        let tokens = if ask.most > needed { needed.max(ask.most.min(bucket.there(now))) } else { needed };
        bucket.take(tokens);
        Some(Taken { tokens, bucket: gauges.buckets })
    }

    /// Takes what is missing of `tokens`, whether it is there or not, and tells how long the refill needs to
    /// make it good.
    pub(super) fn take_ahead(&self, taken: &mut Taken, tokens: u64, now: Tick) -> Option<Duration> {
        let mut gauges = self.lock();
        let is_same = taken.bucket == gauges.buckets;
        let bucket = gauges.bucket.as_mut().filter(|_| is_same)?;
        let missing = tokens.saturating_sub(taken.tokens);
        bucket.take(missing);
        taken.tokens = tokens;
        bucket.wait_for(0, now)
    }

    /// Corrects what was taken to what was used.
    pub(super) fn correct(&self, taken: Taken, used_tokens: u64) {
        let mut gauges = self.lock();
        let is_same = taken.bucket == gauges.buckets;
        if let Some(bucket) = gauges.bucket.as_mut().filter(|_| is_same) {
            bucket.give(taken.tokens.saturating_sub(used_tokens));
            bucket.take(used_tokens.saturating_sub(taken.tokens));
        }
    }

    /// Takes a request out of the count of requests.
    pub(super) fn uncount(&self) {
        if let Some(rate) = &mut self.lock().rate {
            rate.give_back();
        }
    }

    /// Gives the slot back.
    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn adopt(&self, section: &LimitsSection) {
        let mut gauges = self.lock();
        gauges.concurrent = section.concurrent;
        match (section.requests_per_minute, &mut gauges.rate) {
            (Some(limit), Some(rate)) => rate.adopt(limit),
            (limit, rate) => *rate = limit.map(Rate::new),
        }
        let gauges = &mut *gauges;
        match (section.tokens_per_minute, &mut gauges.bucket) {
            (Some(limit), Some(bucket)) => bucket.adopt(limit),
            (limit, bucket) => {
                // full at the beginning of time is full now
                *bucket = limit.map(|limit| Bucket::full(limit, Tick::default()));
                gauges.buckets = gauges.buckets.wrapping_add(1);
            }
        }
    }

    fn hit(&self, kind: LimitKind, limit: u64, need: u64, wait: Option<Duration>) -> LimitHit {
        let satisfiable = wait.is_some();
        let wait = wait.unwrap_or(LONGEST_RETRY_AFTER);
        let seconds = wait.as_nanos().div_ceil(1_000_000_000);
        let retry_after = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX).max(1));
        let retry_after = retry_after.min(LONGEST_RETRY_AFTER);
        LimitHit { scope: self.scope.clone(), kind, limit, need, retry_after, wait, satisfiable }
    }
}

impl LimitKind {
    /// The word in metrics, logs and errors: the config's key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::Tokens => "tokens_per_minute",
            Self::Concurrent => "concurrent",
        }
    }
}

impl TokenAsk {
    /// The tokens that must be there under a limit.
    fn needed(&self, limit: u64) -> u64 {
        self.firm.max(self.usual.min(limit))
    }
}

impl LimitHit {
    /// The word of the scope in metrics and logs: `team`, `key`, `model`, `upstream`.
    #[must_use]
    pub fn scope_word(&self) -> &'static str {
        let word = self.scope.split(' ').next();
        ["team", "key", "model", "upstream"].into_iter().find(|known| word == Some(*known)).unwrap_or("other")
    }

    /// Orders hits by how long they bar the way.
    #[must_use]
    pub const fn gravity(&self) -> (bool, Duration) {
        (!self.satisfiable, self.wait)
    }

    fn message(&self) -> String {
        let Self { scope, limit, need, retry_after, .. } = self;
        let wait = retry_after.as_secs();
        match self.kind {
            LimitKind::Requests => {
                format!("Rate limit of {scope} reached: {limit} requests per minute. Try again in {wait} s.")
            }
            LimitKind::Tokens if self.satisfiable => format!(
                "Rate limit of {scope} reached: {limit} tokens per minute, and this request needs {need}. Try again in {wait} s."
            ),
            LimitKind::Tokens => format!(
                "This request needs {need} tokens, more than the {limit} that {scope} may use in a minute: waiting \
                 does not help. Ask for less output or send less input."
            ),
            LimitKind::Concurrent => format!(
                "Concurrency limit of {scope} reached: {limit} requests at once. Try again when one has ended."
            ),
        }
    }
}

/// A slot is free when some other request ends, which nobody can foretell.
const SLOT_WAIT: Duration = Duration::from_secs(1);
/// The clients tried ignore a `retry-after` of 60 s and more (DESIGN, decision 12).
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(59);
