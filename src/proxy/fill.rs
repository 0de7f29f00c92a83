//! Keeps a copy of an answer while it is relayed, for the cache. Only whole 200 answers are stored.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::clock::Timestamp;
use crate::cache::{Answer, Filling, Leader};
use crate::store::record::Record;

/// An answer in the making, and the right to publish it. Dropped, it lets those who wait ask themselves.
#[derive(Debug)]
pub(super) struct Fill {
    leader: Leader,
    filling: Filling,
    ttl: Duration,
    headers: Vec<(HeaderName, HeaderValue)>,
    stored_at: Timestamp,
}

impl Fill {
    pub(super) fn new(leader: Leader, filling: Filling, ttl: Duration, now: Timestamp) -> Self {
        Self { leader, filling, ttl, headers: Vec::new(), stored_at: now }
    }

    /// Notes the headers that a hit will carry again.
    pub(super) fn note_headers(&mut self, headers: &HeaderMap) {
        self.headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    }

    /// Notes bytes as they went to the client.
    pub(super) fn note_bytes(&mut self, bytes: &Bytes) {
        self.filling.push(bytes);
    }

    /// Publishes the answer, if all of it fitted.
    pub(super) fn publish(self, record: &Record) {
        let Some(body) = self.filling.finish() else { return };
        let answer = Answer {
            status: record.status,
            headers: self.headers,
            body,
            stream: record.stream,
            usage: record.usage,
            cost: record.cost,
            model: record.response_model.clone(),
            upstream: record.upstream.clone(),
            stored_at: self.stored_at,
        };
        self.leader.store(answer, self.ttl);
    }
}
