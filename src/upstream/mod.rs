//! Floor 2, edge to upstreams: the HTTP client, addressing and auth per upstream kind.

pub mod address;
pub mod body;
pub mod client;
pub mod endpoint;
pub mod learned;
mod marked;
pub mod section;
