//! Series that are found once: an instrument bound to its labels. The SDK's interface for that is experimental,
//! and is used here and nowhere else.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use foldhash::fast::RandomState;
use indexmap::{Equivalent, IndexMap};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    BoundCounter, BoundHistogram, BoundUpDownCounter, Counter, Histogram, UpDownCounter,
};

/// An instrument whose series can be found once and kept.
pub(super) trait Instrument {
    /// What is counted or spread.
    type Value;
    /// One of its series.
    type Bound;
    fn bound(&self, labels: &[KeyValue]) -> Self::Bound;
    fn record(bound: &Self::Bound, value: Self::Value);
}

/// One series: found at its first record, not before, because a series that exists is shown.
#[derive(Debug)]
pub(super) struct Series<I: Instrument>(OnceLock<I::Bound>);

impl<I: Instrument> Default for Series<I> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<I: Instrument> Series<I> {
    /// Records `value`; `labels` are asked for once.
    pub(super) fn record<L: AsRef<[KeyValue]>>(&self, of: &I, value: I::Value, labels: impl FnOnce() -> L) {
        I::record(self.bound(of, labels), value);
    }

    pub(super) fn bound<L: AsRef<[KeyValue]>>(&self, of: &I, labels: impl FnOnce() -> L) -> &I::Bound {
        self.0.get_or_init(|| of.bound(labels().as_ref()))
    }
}

/// The values of a label set, in the order of its shelf; a label that is not there is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Labels<S, const N: usize> {
    pub(super) words: [S; N],
    /// A status or a port; 0 if there is none.
    pub(super) number: u16,
}

impl<const N: usize> Equivalent<Labels<Box<str>, N>> for Labels<&str, N> {
    fn equivalent(&self, kept: &Labels<Box<str>, N>) -> bool {
        let mut words = self.words.iter().zip(&kept.words);
        self.number == kept.number && words.all(|(ours, theirs)| *ours == &**theirs)
    }
}

/// The series of label sets, `T` for each. Holds a bounded number: what comes beyond is found anew at each use.
#[derive(Debug)]
pub(super) struct Shelf<T, const N: usize> {
    kept: RwLock<IndexMap<Labels<Box<str>, N>, Arc<T>, RandomState>>,
    most: usize,
}

impl<T: Default, const N: usize> Shelf<T, N> {
    /// Room for `most` label sets.
    pub(super) fn of(most: usize) -> Self {
        Self { kept: RwLock::default(), most }
    }

    /// The series of these labels.
    pub(super) fn find(&self, words: [&str; N], number: u16) -> Arc<T> {
        let labels = Labels { words, number };
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(&labels) {
            return Arc::clone(found);
        }
        let has_room = kept.len() < self.most;
        drop(kept);
        if has_room { self.keep(labels) } else { Arc::default() }
    }

    fn keep(&self, labels: Labels<&str, N>) -> Arc<T> {
        let labels = Labels { words: labels.words.map(Box::from), number: labels.number };
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(labels).or_default())
    }
}

impl Instrument for Histogram<f64> {
    type Value = f64;
    type Bound = BoundHistogram<f64>;
    fn bound(&self, labels: &[KeyValue]) -> Self::Bound {
        self.bind(labels)
    }
    fn record(bound: &Self::Bound, value: f64) {
        bound.record(value);
    }
}

impl Instrument for Histogram<u64> {
    type Value = u64;
    type Bound = BoundHistogram<u64>;
    fn bound(&self, labels: &[KeyValue]) -> Self::Bound {
        self.bind(labels)
    }
    fn record(bound: &Self::Bound, value: u64) {
        bound.record(value);
    }
}

impl Instrument for Counter<u64> {
    type Value = u64;
    type Bound = BoundCounter<u64>;
    fn bound(&self, labels: &[KeyValue]) -> Self::Bound {
        self.bind(labels)
    }
    fn record(bound: &Self::Bound, value: u64) {
        bound.add(value);
    }
}

impl Instrument for Counter<f64> {
    type Value = f64;
    type Bound = BoundCounter<f64>;
    fn bound(&self, labels: &[KeyValue]) -> Self::Bound {
        self.bind(labels)
    }
    fn record(bound: &Self::Bound, value: f64) {
        bound.add(value);
    }
}

impl Instrument for UpDownCounter<i64> {
    type Value = i64;
    type Bound = BoundUpDownCounter<i64>;
    fn bound(&self, labels: &[KeyValue]) -> Self::Bound {
        self.bind(labels)
    }
    fn record(bound: &Self::Bound, value: i64) {
        bound.add(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_set_has_one_entry_and_another_has_another() {
        let shelf = Shelf::<Series<Counter<u64>>, 2>::of(8);
        let first = shelf.find(["a", "b"], 1);
        assert!(Arc::ptr_eq(&first, &shelf.find(["a", "b"], 1)));
        for (words, number) in [(["a", "b"], 2), (["ab", ""], 1), (["", "ab"], 1), (["b", "a"], 1)] {
            assert!(!Arc::ptr_eq(&first, &shelf.find(words, number)), "{words:?} {number}");
        }
    }

    #[test]
    fn a_full_shelf_keeps_what_it_has_and_takes_no_more() {
        let shelf = Shelf::<Series<Counter<u64>>, 1>::of(1);
        let kept = shelf.find(["kept"], 0);
        assert!(!Arc::ptr_eq(&shelf.find(["more"], 0), &shelf.find(["more"], 0)));
        assert!(Arc::ptr_eq(&kept, &shelf.find(["kept"], 0)));
    }
}
