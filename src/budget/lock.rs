//! The kinds of lock under budgets, in one place so that a model checker can take its own.

#[cfg(not(loom))]
use std::sync as kind;
use std::sync::PoisonError;

#[cfg(loom)]
use loom::sync as kind;

/// Held for a few additions.
pub(super) type Lock<T> = kind::Mutex<T>;
pub(super) type Guard<'a, T> = kind::MutexGuard<'a, T>;
/// Read by every request, written when names or terms change.
pub(super) type Shared<T> = kind::RwLock<T>;

/// What is under these locks is changed by plain additions and whole values that cannot panic halfway: a
/// poisoned lock is whole.
pub(super) fn locked<T>(lock: &Lock<T>) -> Guard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn read<T>(lock: &Shared<T>) -> kind::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write<T>(lock: &Shared<T>) -> kind::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
