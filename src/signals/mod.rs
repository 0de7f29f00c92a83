//! Floor 3: traces, metrics and logs, from one record per request.

pub mod section;
