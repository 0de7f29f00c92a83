//! Floor 1, rules: what a token costs. Catalogue, rates, cost of a usage. Pure.

pub mod section;
