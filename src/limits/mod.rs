//! Floor 3: how fast a caller may ask. Requests, tokens, concurrency.

mod admission;
mod bucket;
mod limiter;
mod models;
mod rate;
pub mod section;
mod standing;

pub use admission::{Admission, TokenAsk, admit, admit_part};
pub use limiter::{LimitHit, LimitKind, Limiter, LimiterBook};
pub use models::ModelLimiter;
pub use standing::{Meter, Standing, reset_text};
