//! A stored answer, and the collecting of one while it streams by.

use bytes::{Bytes, BytesMut};
use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue};

use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::usage::Usage;

/// A complete answer as the upstream gave it, with what it had cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status; only 200 is ever stored.
    pub status: u16,
    /// Its headers, without those of one connection or one request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its whole body, byte for byte.
    pub body: Bytes,
    /// Whether it is an event stream, to be replayed as one.
    pub stream: bool,
    /// What it used.
    pub usage: Usage,
    /// What it cost, so that a hit can say what it saved; `None` if the price was unknown.
    pub cost: Option<NanoUsd>,
    /// The model that answered.
    pub model: String,
    /// The upstream that answered.
    pub upstream: String,
    /// When it was stored, for the `age` header.
    pub stored_at: Timestamp,
}

impl Answer {
    /// Whether it may be served to anybody again: a 200 that sets no cookie. That it is complete and no
    /// error in disguise, its dialect must have said.
    #[must_use]
    pub fn storable(&self) -> bool {
        self.status == 200 && !self.headers.iter().any(|(name, _)| name == SET_COOKIE)
    }

    /// About the memory it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let headers: usize = self.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + PER_HEADER).sum();
        (self.body.len() + headers + self.model.len() + self.upstream.len() + OVERHEAD) as u64
    }
}

/// Collects a body as it passes, up to a bound.
#[derive(Debug)]
pub struct Filling {
    max: usize,
    /// `None` once it grew too large. The bytes are copied: a slice would keep the whole read buffer that
    /// it came in.
    body: Option<BytesMut>,
}

impl Filling {
    /// Collects bodies of at most `max` bytes.
    #[must_use]
    pub fn up_to(max: u64) -> Self {
        Self { max: usize::try_from(max).unwrap_or(usize::MAX), body: Some(BytesMut::new()) }
    }

    /// Adds what was relayed. Past the bound everything is let go, at once and for good.
    pub fn push(&mut self, chunk: &[u8]) {
        if let Some(body) = &mut self.body {
            if chunk.len() > self.max - body.len() {
                self.body = None;
            } else {
                body.extend_from_slice(chunk);
            }
        }
    }

    /// Whether the body grew too large to be stored.
    #[must_use]
    pub const fn gave_up(&self) -> bool {
        self.body.is_none()
    }

    /// The whole body, unless it grew too large. Only for answers that ended well.
    #[must_use]
    pub fn finish(self) -> Option<Bytes> {
        self.body.map(BytesMut::freeze)
    }
}

/// A header's place in its list and its reference counts.
const PER_HEADER: usize = 72;
/// The entry itself and its place in the store.
const OVERHEAD: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_up_to_the_bound_is_kept_whole() {
        let mut filling = Filling::up_to(5);
        for chunk in ["ab", "", "cde"] {
            filling.push(chunk.as_bytes());
        }
        assert_eq!(filling.finish(), Some(Bytes::from_static(b"abcde")));
        assert_eq!(Filling::up_to(0).finish(), Some(Bytes::new()));
    }

    #[test]
    fn a_body_past_the_bound_is_let_go_for_good() {
        let mut filling = Filling::up_to(5);
        filling.push(b"abc");
        filling.push(b"def");
        assert!(filling.gave_up());
        filling.push(b"");
        assert_eq!(filling.finish(), None);
    }
}
