//! Where connections lead: what two upstreams must have in common to share them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};

/// A scheme, a host and a port, and how long connecting there may take.
#[derive(Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    pub(super) connect_timeout: Duration,
    /// What HTTP/1.1 requests say in `host`.
    pub(super) host: HeaderValue,
    /// Of all that is compared, so that a look-up among many compares a number.
    hash: u64,
}

impl Origin {
    /// `None` where the authority's host cannot be said in a header.
    pub(super) fn new(scheme: Scheme, authority: Authority, connect_timeout: Duration) -> Option<Self> {
        let mut hasher = DefaultHasher::new();
        (&scheme, &authority, connect_timeout).hash(&mut hasher);
        let default_port = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = match authority.port_u16().filter(|port| *port != default_port) {
            Some(port) => HeaderValue::from_str(&format!("{}:{port}", authority.host())),
            None => HeaderValue::from_str(authority.host()),
        };
        Some(Self { scheme, authority, connect_timeout, host: host.ok()?, hash: hasher.finish() })
    }

    /// What a connector is told.
    pub(super) fn uri(&self) -> Uri {
        self.absolute("/".parse().expect("a slash is a path"))
    }

    /// `target` here, as HTTP/2 writes it.
    pub(super) fn absolute(&self, target: http::uri::PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        (parts.scheme, parts.authority) = (Some(self.scheme.clone()), Some(self.authority.clone()));
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).expect("a URI with all its parts")
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.scheme == other.scheme
            && self.authority == other.authority
            && self.connect_timeout == other.connect_timeout
    }
}
