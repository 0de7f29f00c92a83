//! Numbers as text where every request writes them: letters on the stack, without what `format!` does.

/// The decimal digits of a number.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    letters: [u8; LONGEST],
    start: usize,
}

impl Digits {
    /// Of any number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        let (mut letters, mut start, mut rest) = ([b'0'; LONGEST], LONGEST, number);
        loop {
            start -= 1;
            letters[start] += u8::try_from(rest % 10).expect("a digit fits");
            rest /= 10;
            if rest == 0 {
                return Self { letters, start };
            }
        }
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.letters[self.start..]).expect("digits are ASCII")
    }
}

/// The lower-case hex digits of a number of 128 bits, zeros in front included.
#[derive(Debug, Clone, Copy)]
pub struct Hex([u8; HEX_DIGITS]);

impl Hex {
    /// Of any number.
    #[must_use]
    pub fn of(number: u128) -> Self {
        let mut letters = [b'0'; HEX_DIGITS];
        for (place, byte) in number.to_be_bytes().iter().enumerate() {
            letters[2 * place] = HEX[usize::from(byte >> 4)];
            letters[2 * place + 1] = HEX[usize::from(byte & 15)];
        }
        Self(letters)
    }

    /// All 32 of them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.last(HEX_DIGITS)
    }

    /// The last of them, as many as are asked for, at most 32.
    #[must_use]
    pub fn last(&self, digits: usize) -> &str {
        let skipped = HEX_DIGITS.saturating_sub(digits);
        std::str::from_utf8(&self.0[skipped..]).expect("digits are ASCII")
    }
}

/// `u64::MAX` has 20 digits.
const LONGEST: usize = 20;
const HEX_DIGITS: usize = 32;
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_format_writes_them() {
        for number in [0, 7, 10, 99, 100, 1_000_000_007, u64::MAX - 1, u64::MAX] {
            assert_eq!(Digits::of(number).as_str(), number.to_string());
        }
        for number in [0, 0xab, 0x00ab_cdef_0102_03ff, u128::MAX] {
            assert_eq!(Hex::of(number).as_str(), format!("{number:032x}"));
        }
        assert_eq!(Hex::of(0xfedc_ba98).last(16), "00000000fedcba98");
        assert_eq!(Hex::of(1).last(99).len(), 32);
    }
}
