//! Floor 1, rules: which target serves a request, and what may be tried again. Pure.

pub mod retry;
pub mod router;
pub mod section;
