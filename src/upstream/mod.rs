//! Floor 2, edge to upstreams: the HTTP client, addressing and auth per upstream kind.

pub mod section;
