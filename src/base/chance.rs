//! Chance: a seeded generator, so that a run can be repeated. Not for secrets (those come from the
//! operating system, see `identity`).

use std::sync::atomic::{AtomicU64, Ordering};

/// A lock-free `SplitMix64` generator that threads may share.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Debug)]
pub struct Chance {
    state: AtomicU64,
}

impl Chance {
    /// A generator that yields the same numbers for the same seed (in one thread).
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// A generator seeded by the operating system; falls back to the address space's own
    /// randomness when the system has none to give.
    #[must_use]
    pub fn from_system() -> Self {
        let seed = getrandom::u64().unwrap_or_else(|_| {
            let place = Box::new(0_u8);
            std::ptr::from_ref::<u8>(&place) as u64
        });
        Self::seeded(seed)
    }

    /// The next 64 random bits.
    pub fn next_u64(&self) -> u64 {
        let mut z = self.state.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed).wrapping_add(GOLDEN_GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 128 random bits.
    pub fn next_u128(&self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias is below `bound / 2^64`.
    pub fn below(&self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the high half of a 64x64 product fits 64 bits")
    }
}

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let (a, b) = (Chance::seeded(7), Chance::seeded(7));
        let from = |c: &Chance| (0..5).map(|_| c.next_u64()).collect::<Vec<_>>();
        assert_eq!(from(&a), from(&b));
    }

    #[test]
    fn below_stays_below() {
        let chance = Chance::seeded(1);
        assert!((0..1000).all(|_| chance.below(3) < 3));
        assert_eq!(chance.below(0), 0);
    }
}
