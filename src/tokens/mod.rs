//! Floor 3: counts tokens where an upstream reports none, off the async workers and bounded.
