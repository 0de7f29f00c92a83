//! A value that is replaced whole while others read it: the config snapshot.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// A hot-swappable value. Readers take a snapshot and keep it; a swap never waits for them.
#[derive(Debug)]
pub struct Live<T> {
    current: ArcSwap<T>,
}

impl<T> Live<T> {
    /// A live value that starts as `first`.
    #[must_use]
    pub fn new(first: T) -> Self {
        Self { current: ArcSwap::from_pointee(first) }
    }

    /// The value as it is now; stays as it is for whoever holds it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Replaces the value for all later snapshots.
    pub fn swap(&self, next: T) {
        self.current.store(Arc::new(next));
    }
}
