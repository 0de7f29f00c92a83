//! Quantiles of durations: exact up to a bound, then within 1 % in fixed memory.

use std::collections::BTreeMap;

/// Samples of one figure.
#[derive(Debug)]
pub(super) enum Quantiles {
    /// Every sample.
    Exact(Vec<u64>),
    /// How many samples fell into each bucket.
    Buckets(BTreeMap<u64, u64>),
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Quantiles {
    pub(super) fn add(&mut self, sample: u64) {
        match self {
            Self::Exact(samples) if samples.len() < MOST_EXACT => samples.push(sample),
            Self::Exact(samples) => {
                let mut buckets = BTreeMap::new();
                for sample in samples.iter().chain([&sample]) {
                    *buckets.entry(bucket(*sample)).or_default() += 1;
                }
                *self = Self::Buckets(buckets);
            }
            Self::Buckets(buckets) => *buckets.entry(bucket(sample)).or_default() += 1,
        }
    }

    /// The smallest sample that at least `percent` of all do not pass (nearest rank); `None` without
    /// samples.
    pub(super) fn at(&mut self, percent: u64) -> Option<u64> {
        let rank = |count: u64| (u128::from(count) * u128::from(percent)).div_ceil(100).max(1);
        match self {
            Self::Exact(samples) => {
                let rank = rank(samples.len() as u64);
                samples.sort_unstable();
                samples.get(usize::try_from(rank - 1).ok()?).copied()
            }
            Self::Buckets(buckets) => {
                let rank = rank(buckets.values().sum());
                let mut passed = 0_u128;
                let found = buckets.iter().find(|(_, count)| {
                    passed += u128::from(**count);
                    passed >= rank
                });
                found.map(|(bucket, _)| *bucket)
            }
        }
    }
}

/// 800 KB per row and figure at most.
const MOST_EXACT: usize = 100_000;

/// The sample with all but its 8 highest bits cleared: at most 1/128 too small.
const fn bucket(sample: u64) -> u64 {
    let spare = 64_u32.saturating_sub(sample.leading_zeros()).saturating_sub(8);
    (sample >> spare) << spare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_nearest_ranks() {
        let mut few = Quantiles::default();
        assert_eq!(few.at(50), None);
        (1..=100).rev().for_each(|sample| few.add(sample));
        assert_eq!((few.at(50), few.at(95), few.at(100)), (Some(50), Some(95), Some(100)));
    }

    #[test]
    fn very_many_samples_stay_within_one_percent() {
        let mut many = Quantiles::default();
        let count = MOST_EXACT as u64 * 2;
        (1..=count).for_each(|sample| many.add(sample * 1_000));
        for percent in [50, 95] {
            let (exact, found) = (count * 1_000 * percent / 100, many.at(percent).unwrap());
            assert!(found <= exact && exact - found <= exact / 100, "p{percent}: {found} for {exact}");
        }
        assert!(matches!(many, Quantiles::Buckets(buckets) if buckets.len() < 3_000));
        assert_eq!((bucket(0), bucket(255), bucket(u64::MAX)), (0, 255, 0xff << 56));
    }
}
