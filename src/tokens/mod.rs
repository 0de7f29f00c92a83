//! Floor 3: counts tokens where an upstream reports none, off the async workers and bounded.

mod boundary;
mod encoding;
mod output;
mod pool;
mod stream;
mod tokenizer;

pub use encoding::Encoding;
pub use output::OutputCount;
pub use pool::{CountingPool, Job};
pub use stream::StreamCount;
pub use tokenizer::{Count, Tokenizer, rough};

#[cfg(test)]
mod vectors_tests;
