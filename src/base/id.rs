//! Identifiers that Tollgate makes itself.

use std::fmt;
use std::str::FromStr;

use super::chance::Chance;
use super::clock::Timestamp;

/// A request's own id: a ULID (48 bits of milliseconds, 80 random bits), so that ids sort by time.
/// Written `req_` and 26 characters of Crockford's base 32. Never the upstream's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// A new id for a request that begins at `now`.
    #[must_use]
    pub fn new(now: Timestamp, chance: &Chance) -> Self {
        let millis = u128::try_from(now.as_millis().max(0)).unwrap_or(0) & ((1 << 48) - 1);
        Self((millis << 80) | (chance.next_u128() >> 48))
    }

    /// The id as 128 bits.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The id as it is written.
    #[must_use]
    pub fn text(self) -> IdText {
        let mut text = [0; PREFIX.len() + DIGITS];
        let (prefix, digits) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = CROCKFORD[usize::try_from(rest & 31).expect("5 bits fit")];
            rest >>= 5;
        }
        IdText(text)
    }

    /// The id from its 128 bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// A request id as it is written.
#[derive(Debug, Clone, Copy)]
pub struct IdText([u8; PREFIX.len() + DIGITS]);

impl IdText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("prefix and alphabet are ASCII")
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a request id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request id: expected `req_` and 26 characters of base 32")]
pub struct NotARequestId;

impl FromStr for RequestId {
    type Err = NotARequestId;

    fn from_str(text: &str) -> Result<Self, NotARequestId> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotARequestId)?.as_bytes();
        if digits.len() != DIGITS || digits[0] > b'7' {
            return Err(NotARequestId);
        }
        let mut bits = 0_u128;
        for digit in digits {
            let value = CROCKFORD.iter().position(|c| c == digit).ok_or(NotARequestId)?;
            bits = (bits << 5) | value as u128;
        }
        Ok(Self(bits))
    }
}

const PREFIX: &str = "req_";
/// 26 digits of 5 bits hold 128.
const DIGITS: usize = 26;
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let chance = Chance::seeded(3);
        let early = RequestId::new(Timestamp::from_secs(1_700_000_000), &chance);
        let late = RequestId::new(Timestamp::from_secs(1_700_000_001), &chance);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!("req_x".parse::<RequestId>(), Err(NotARequestId));
    }
}
