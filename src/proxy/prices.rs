//! Prices as they were looked up before: a request asks for the same few again and again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::base::clock::Timestamp;
use crate::pricing::catalogue::Catalogue;
use crate::pricing::price::Price;

/// A catalogue that remembers its answers, for one config load.
#[derive(Debug)]
pub struct Prices {
    catalogue: Arc<Catalogue>,
    /// By upstream host, then by model. What is not known is looked up each time: callers write what they like.
    known: RwLock<HashMap<String, HashMap<String, Known>>>,
}

/// A price, and the moment for which it was looked up: it says nothing of earlier ones.
#[derive(Debug)]
struct Known {
    since: Timestamp,
    price: Arc<Price>,
}

impl Known {
    fn holds_at(&self, at: Timestamp) -> bool {
        self.since <= at && self.price.valid_until.is_none_or(|until| at < until)
    }
}

impl Prices {
    /// Nothing looked up yet.
    #[must_use]
    pub fn of(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue, known: RwLock::default() }
    }

    /// The catalogue's version, as it stands on ledger rows.
    #[must_use]
    pub fn version(&self) -> &str {
        self.catalogue.version()
    }

    /// The price of a model at an upstream's host, at `at`. `None`: unknown, which is not 0.
    #[must_use]
    pub fn price(&self, host: Option<&str>, model: &str, at: Timestamp) -> Option<Arc<Price>> {
        let host = host.unwrap_or_default();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(host).and_then(|models| models.get(model));
        if let Some(found) = found.filter(|found| found.holds_at(at)) {
            return Some(Arc::clone(&found.price));
        }
        drop(known);
        let found = self.catalogue.price((!host.is_empty()).then_some(host), model, at)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let models = known.entry(host.to_owned()).or_default();
        if models.len() < MOST_MODELS || models.contains_key(model) {
            models.insert(model.to_owned(), Known { since: at, price: Arc::clone(&found) });
        }
        Some(found)
    }
}

/// Names of known models per host: the catalogue's, and their dated and prefixed spellings that occur.
const MOST_MODELS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_found_once_is_the_catalogues_own() {
        let prices = Prices::of(Catalogue::shipped());
        let now = Timestamp::from_secs(1_790_000_000);
        let (first, again) = (prices.price(None, "gpt-4o-mini", now), prices.price(None, "gpt-4o-mini", now));
        assert!(first.is_some() && first == again);
        assert_eq!(first, Catalogue::shipped().price(None, "gpt-4o-mini", now));
        assert_eq!(prices.price(None, "nobody-knows-this", now), None);
    }
}
