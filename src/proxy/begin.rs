//! First step: an id, the time, the dialect of the path, the trace. Nothing can fail here.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Request};
use hyper::body::Incoming;

use super::drain::Leaving;
use super::exchange::{Exchange, Opening};
use super::headers;
use super::policy::Station;
use super::socket;
use crate::base::id::RequestId;
use crate::dialect::path::{classify, classify_socket};
use crate::store::record::Record;
use crate::telemetry::trace::TraceContext;

/// What the client asked, not yet read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) parts: Parts,
    pub(super) body: Incoming,
}

impl Asked {
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }
}

/// Opens the exchange: from here on exactly one record will be left.
pub(super) fn begin(
    station: &Station,
    request: Request<Incoming>,
    leaving: Arc<Leaving>,
) -> (Exchange, Asked) {
    let door = &station.door;
    let (mut parts, body) = request.into_parts();
    let began = door.clock.tick();
    let now = door.clock.now();
    let id = RequestId::new(now, &door.chance);
    let upgrade = socket::upgrade_of(&mut parts);
    let endpoint = match upgrade {
        Some(_) => classify_socket(parts.uri.path()),
        None => classify(&parts.method, parts.uri.path()),
    };
    let trace = headers::trace(&parts.headers).unwrap_or_else(|| TraceContext::start(&door.chance));
    let labels = headers::labels(&parts.headers);
    let record = Record {
        id: id.as_u128(),
        started_at: now.as_nanos(),
        operation: endpoint.operation.as_str().into(),
        trace_id: trace.trace_id_hex(),
        user: labels.user,
        run: labels.run,
        session: labels.session,
        tags: labels.tags,
        ..Record::default()
    };
    let head = headers::head(&parts, station.scheme);
    let opening = Opening { began, id, endpoint, trace, record, head, leaving, upgrade };
    (Exchange::open(door.clone(), opening), Asked { parts, body })
}
