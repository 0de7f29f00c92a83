//! Floor 4, the data door: THE REQUEST.
