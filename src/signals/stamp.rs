//! Instants as RFC 3339, UTC, written into a buffer. The second is kept as text: the next instant is mostly in it.

use crate::base::clock::Timestamp;

/// Writes instants.
#[derive(Debug)]
pub(super) struct Stamp {
    second: i64,
    /// `2026-01-31T23:59:59`
    text: String,
}

impl Stamp {
    pub(super) fn new() -> Self {
        let mut stamp = Self { second: 0, text: String::new() };
        stamp.turn_to(0);
        stamp
    }

    /// To the microsecond, always with six digits of it.
    pub(super) fn push_micros(&mut self, to: &mut Vec<u8>, at: Timestamp) {
        self.turn_to(at.as_secs());
        to.extend_from_slice(self.text.as_bytes());
        to.push(b'.');
        push_digits::<6>(to, subsecond_nanos(at) / 1_000);
        to.push(b'Z');
    }

    /// To the nanosecond, without zeros at the end.
    pub(super) fn push_shortest(&mut self, to: &mut Vec<u8>, at: Timestamp) {
        self.turn_to(at.as_secs());
        to.extend_from_slice(self.text.as_bytes());
        let nanos = subsecond_nanos(at);
        if nanos > 0 {
            to.push(b'.');
            push_digits::<9>(to, nanos);
            while to.last() == Some(&b'0') {
                to.pop();
            }
        }
        to.push(b'Z');
    }

    fn turn_to(&mut self, second: i64) {
        if second == self.second && !self.text.is_empty() {
            return;
        }
        let at = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.text = at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        self.second = second;
    }
}

fn subsecond_nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanos().rem_euclid(1_000_000_000)).expect("a remainder is not negative")
}

/// The lowest `N` decimal digits, zeros in front with them.
fn push_digits<const N: usize>(to: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; N];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).expect("a digit fits");
        rest /= 10;
    }
    to.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn instants_are_written_as_the_time_library_does(nanos: i64, within in 0..2_000_000_000_i64) {
            let mut stamp = Stamp::new();
            for nanos in [nanos, nanos.saturating_add(within), nanos / 1_000_000_000 * 1_000_000_000] {
                let (mut short, mut long) = (Vec::new(), Vec::new());
                stamp.push_shortest(&mut short, Timestamp::from_nanos(nanos));
                stamp.push_micros(&mut long, Timestamp::from_nanos(nanos));
                let theirs = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap();
                proptest::prop_assert_eq!(String::from_utf8(short).unwrap(), theirs.to_string());
                let theirs = theirs.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
                proptest::prop_assert_eq!(String::from_utf8(long).unwrap(), theirs);
            }
        }
    }
}
