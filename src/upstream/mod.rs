//! Floor 2, edge to upstreams: the HTTP client, addressing and auth per upstream kind.

pub mod address;
pub mod answer;
pub mod body;
pub mod client;
mod connect;
pub mod endpoint;
mod fault;
pub mod learned;
mod line;
mod marked;
mod origin;
mod pool;
pub mod section;
mod wait;
