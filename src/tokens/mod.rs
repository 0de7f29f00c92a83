//! Floor 3: counts tokens where an upstream reports none, off the async workers and bounded.

mod encoding;
mod pool;
mod tokenizer;

pub use encoding::Encoding;
pub use pool::{CountingPool, Job};
pub use tokenizer::{Count, Tokenizer, rough};
