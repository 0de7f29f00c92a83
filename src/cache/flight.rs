//! Identical requests in flight: the first leads, the others follow and wait for its answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::answer::Answer;
use super::key::CacheKey;
use super::store::Shelf;

/// The request that asks the upstream. Storing its answer hands it to all followers; dropping it instead
/// tells them to ask for themselves.
#[derive(Debug)]
#[must_use = "dropping a leader sends its followers to the upstream"]
pub struct Leader {
    shelf: Arc<Shelf>,
    key: CacheKey,
    /// The shelf's turn when it set out: what was cleared meanwhile must not come back.
    turn: u64,
    /// `None` if nobody can follow.
    flight: Option<watch::Sender<News>>,
}

/// A request that waits for another's answer.
#[derive(Debug)]
pub struct Follower {
    news: watch::Receiver<News>,
}

/// `None` while the leader is under way.
type News = Option<Arc<Answer>>;

/// The requests in flight that can be followed, at most [`Flights::MAX`].
#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<CacheKey, watch::Receiver<News>>>,
}

/// Which part a request plays.
#[derive(Debug)]
pub(super) enum Part {
    Lead(Leader),
    Follow(Follower),
}

impl Flights {
    /// Beyond so many different requests at once, further ones lead without followers.
    pub(super) const MAX: usize = 10_000;

    /// Joins the flight of this key, or begins one.
    pub(super) fn join(shelf: &Arc<Shelf>, key: CacheKey) -> Part {
        let mut under_way = shelf.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let full = under_way.len() >= Self::MAX;
        match under_way.entry(key) {
            Entry::Occupied(flight) => Part::Follow(Follower { news: flight.get().clone() }),
            Entry::Vacant(_) if full => Part::Lead(Leader::alone(shelf, key)),
            Entry::Vacant(place) => {
                let (sender, receiver) = watch::channel(None);
                place.insert(receiver);
                Part::Lead(Leader::new(shelf, key, Some(sender)))
            }
        }
    }

    fn end(&self, key: &CacheKey) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.under_way.lock().unwrap().len()
    }
}

impl Leader {
    /// A leader whom nobody follows.
    pub(super) fn alone(shelf: &Arc<Shelf>, key: CacheKey) -> Self {
        Self::new(shelf, key, None)
    }

    fn new(shelf: &Arc<Shelf>, key: CacheKey, flight: Option<watch::Sender<News>>) -> Self {
        Self { shelf: Arc::clone(shelf), key, turn: shelf.turn(), flight }
    }

    /// Stores a complete answer for `ttl` and hands it to the followers. An answer larger than the store
    /// takes is neither stored nor handed on: followers ask for themselves, as they would have had to a
    /// moment later.
    pub fn store(self, answer: Answer, ttl: Duration) {
        let answer = Arc::new(answer);
        if self.shelf.put(self.key, &answer, ttl, self.turn) {
            self.publish(answer);
        }
    }

    /// Hands an answer to the followers.
    pub(super) fn publish(mut self, answer: Arc<Answer>) {
        if let Some(flight) = self.flight.take() {
            // new requests find the stored answer from here on
            self.shelf.flights.end(&self.key);
            flight.send_replace(Some(answer));
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // those who wait hear of it when the sender goes, and must not find this flight again by then
        let flight = self.flight.take();
        if flight.is_some() {
            self.shelf.flights.end(&self.key);
        }
    }
}

impl Follower {
    /// The leader's answer, if it comes within `limit`. `None` means: ask for yourself.
    pub async fn wait(mut self, limit: Duration) -> Option<Arc<Answer>> {
        let news = tokio::time::timeout(limit, self.news.wait_for(Option::is_some)).await;
        news.ok()?.ok()?.clone()
    }
}
