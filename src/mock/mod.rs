//! Floor 4: a scriptable fake upstream, for tests and for trying a config.
