//! Floor 3: how fast a caller may ask. Requests, tokens, concurrency.

pub mod section;
