//! Floor 3: answers that may be served again, and waiting for the one in flight.

pub mod section;
