//! Floor 3: how much a caller may spend. Reserve, settle, release.

pub mod section;
