//! Floor 3: whose key this is. Keyed hashes, never keys.

pub mod section;
