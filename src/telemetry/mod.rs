//! Floor 1, rules: the names of metrics, spans and attributes, as one table. Pure.

pub mod catalogue;
pub mod metrics;
pub mod names;
pub mod sampling;
pub mod trace;
pub mod words;
