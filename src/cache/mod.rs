//! Floor 3: answers that may be served again, and waiting for the one in flight.

mod answer;
mod flight;
mod key;
pub mod section;
mod store;
mod wish;

pub use answer::{Answer, Filling};
pub use flight::{Follower, Leader};
pub use key::{CacheKey, KeyParts, Tenant};
pub use store::{Cache, CacheStats, Lookup};
pub use wish::{NotAWish, Wish};
