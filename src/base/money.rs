//! Money as integers: rates in pico-USD per unit, amounts in nano-USD. No floats anywhere.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

use super::digits::Digits;
use super::units::Decimal;

/// An amount in nano-USD (1e-9 USD). The range is about ±9.2 billion USD; arithmetic saturates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(i64);

impl NanoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From a count of nano-USD.
    #[must_use]
    pub const fn new(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole dollars.
    #[must_use]
    pub const fn from_usd(usd: i64) -> Self {
        Self(usd.saturating_mul(NANOS_PER_USD))
    }

    /// The count of nano-USD.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Reads USD written as a decimal, e.g. `0.25` or `1_500`. At most 9 fractional digits count.
    ///
    /// # Errors
    /// When the text is not a decimal number, is out of range, or is finer than a nano-USD.
    pub fn parse_usd(text: &str) -> Result<Self, String> {
        let nanos = Decimal::parse(text)?.scaled(9)?;
        i64::try_from(nanos).map(Self).map_err(|_| format!("{text} USD is out of range"))
    }

    /// As USD in `f64`, for gauges and JSON meant for people. Never computed with.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display only")]
    pub fn as_usd_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_USD as f64
    }

    /// USD with all 9 fractional digits less trailing zeros, at least 2: `0.25`, `0.000000125`.
    #[must_use]
    pub fn to_usd_string(self) -> String {
        let (size, per_usd) = (self.0.unsigned_abs(), NANOS_PER_USD.unsigned_abs());
        // a one in front keeps the zeros that a fraction begins with
        let fraction = Digits::of(per_usd + size % per_usd);
        let fraction = &fraction.as_str()[1..];
        let kept = fraction.trim_end_matches('0').len().max(2);
        let mut text = String::with_capacity(LONGEST_USD);
        text.push_str(if self.0 < 0 { "-" } else { "" });
        text.push_str(Digits::of(size / per_usd).as_str());
        text.push('.');
        text.push_str(&fraction[..kept]);
        text
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_usd_string())
    }
}

impl Add for NanoUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for NanoUsd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// A rate in pico-USD (1e-12 USD) per unit: 1 USD per million units is 1,000,000 pico-USD per unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PicoUsd(u64);

impl PicoUsd {
    /// From a count of pico-USD per unit.
    #[must_use]
    pub const fn new(picos: u64) -> Self {
        Self(picos)
    }

    /// The count of pico-USD per unit.
    #[must_use]
    pub const fn as_picos(self) -> u64 {
        self.0
    }

    /// Reads a rate written in USD per million units, e.g. `2.50`. At most 6 fractional digits count.
    ///
    /// # Errors
    /// When the text is not a decimal, is negative, out of range, or finer than a pico-USD per unit.
    pub fn parse_usd_per_million(text: &str) -> Result<Self, String> {
        let picos = Decimal::parse(text)?.scaled(6)?;
        u64::try_from(picos)
            .map(Self)
            .map_err(|_| format!("a rate of {text} USD per million is out of range"))
    }

    /// What `units` cost at this rate, in pico-USD. Cannot overflow.
    #[must_use]
    pub fn times(self, units: u64) -> u128 {
        u128::from(self.0) * u128::from(units)
    }
}

/// Rounds a sum of pico-USD half up to nano-USD: done once per request (DESIGN, decision 4).
#[must_use]
pub fn round_to_nanos(picos: u128) -> NanoUsd {
    NanoUsd(i64::try_from((picos + 500) / 1_000).unwrap_or(i64::MAX))
}

/// Rounds a sum of pico-USD up to nano-USD: for reservations, which must never be too small.
#[must_use]
pub fn ceil_to_nanos(picos: u128) -> NanoUsd {
    NanoUsd(i64::try_from(picos.div_ceil(1_000)).unwrap_or(i64::MAX))
}

const NANOS_PER_USD: i64 = 1_000_000_000;
/// `-9223372036.854775808`.
const LONGEST_USD: usize = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_and_written_exactly() {
        for (text, nanos) in [
            ("1", 1_000_000_000),
            ("0.25", 250_000_000),
            ("1_500", 1_500_000_000_000),
            ("-3", -3_000_000_000),
            ("1e-7", 100),
        ] {
            assert_eq!(NanoUsd::parse_usd(text), Ok(NanoUsd::new(nanos)), "{text}");
        }
        assert!(NanoUsd::parse_usd("0.0000000001").is_err());
        assert!(NanoUsd::parse_usd("1e300").is_err());
        assert_eq!(NanoUsd::new(125).to_usd_string(), "0.000000125");
        assert_eq!(NanoUsd::from_usd(500).to_usd_string(), "500.00");
        assert_eq!(NanoUsd::new(-1_050_000_000).to_usd_string(), "-1.05");
        assert_eq!(NanoUsd::new(i64::MIN).to_usd_string(), "-9223372036.854775808");
    }

    #[test]
    fn halves_round_up_once() {
        assert_eq!(round_to_nanos(1_499), NanoUsd::new(1));
        assert_eq!(round_to_nanos(1_500), NanoUsd::new(2));
        assert_eq!(ceil_to_nanos(1_001), NanoUsd::new(2));
    }

    #[test]
    fn a_rate_per_million_is_picos_per_unit() {
        let rate = PicoUsd::parse_usd_per_million("2.50").unwrap();
        assert_eq!(rate, PicoUsd::new(2_500_000));
        assert_eq!(rate.times(1_000_000), 2_500_000_000_000);
    }
}
