//! A request that was read: what every later step looks at.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use hyper::body::Incoming;

use super::passing::Passing;
use super::spool::Spool;
use crate::dialect::outline::InputCeiling;
use crate::dialect::request::RequestFacts;
use crate::dialect::splice::lower_cap;
use crate::routing::router::Target;

/// A decoded request.
#[derive(Debug)]
pub(super) struct ReadRequest {
    pub(super) method: Method,
    /// Raw path, percent escapes and all.
    pub(super) path: String,
    /// Raw query, without the question mark.
    pub(super) query: Option<String>,
    /// The client's headers, as they came.
    pub(super) headers: HeaderMap,
    pub(super) body: RequestBody,
    /// The model that is asked for, whole; the record has it cut to a label's length.
    pub(super) model: String,
    pub(super) facts: Arc<RequestFacts>,
    /// An upper bound of its input.
    pub(super) ceiling: InputCeiling,
    /// Whether bytes of the body may be spliced (not when it came encoded).
    pub(super) can_splice: bool,
    /// Where it may go, best first; never empty.
    pub(super) targets: Vec<Target>,
    /// The output cap that each choice is sent with, where a budget lowered it.
    pub(super) cap_to: Option<u64>,
    /// How long its route lets an answer be served again.
    pub(super) cache_ttl: Option<Duration>,
}

/// The body: read whole, passing through, or on the disk.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// Read whole; can be sent again.
    Whole(Bytes),
    /// Streams through once; `None` once it was sent.
    Passing(Option<Incoming>),
    /// A form that is read as it streams through.
    Uploading(Passing),
    /// A form on the disk; can be sent again.
    Spooled(Arc<Spool>),
}

impl ReadRequest {
    /// Whether the body can be sent after an attempt that came to nothing.
    pub(super) fn can_repeat(&self) -> bool {
        match &self.body {
            RequestBody::Whole(_) | RequestBody::Spooled(_) => true,
            RequestBody::Passing(body) => body.is_some(),
            RequestBody::Uploading(passing) => passing.is_untouched(),
        }
    }

    /// Whether a lower output cap can be written into the body.
    pub(super) fn may_lower_cap(&self) -> bool {
        let body = self.whole().filter(|_| self.can_splice);
        body.is_some_and(|body| lower_cap(&self.facts, body, "max_tokens", u64::MAX).is_some())
    }

    /// The body's bytes, when it was read whole.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        match &self.body {
            RequestBody::Whole(bytes) => Some(bytes),
            RequestBody::Passing(_) | RequestBody::Uploading(_) | RequestBody::Spooled(_) => None,
        }
    }
}
