//! Floor 1, rules: the names of metrics, spans and attributes, as one table. Pure.
