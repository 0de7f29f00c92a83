//! How a key of ours is made and spelt: `tg-`, 43 random characters (256 bits), 6 of checksum. The
//! checksum tells a typo from an attack and lets secret scanners be sure (FAULTS 4.1).

use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// A new key, to be shown once.
///
/// # Errors
/// When the operating system has no randomness.
pub fn new_key() -> Result<Secret, NoEntropy> {
    let mut key = String::with_capacity(LENGTH);
    key.push_str(PREFIX);
    while key.len() < PREFIX.len() + RANDOM {
        let mut bytes = Zeroizing::new([0_u8; 64]);
        getrandom::fill(bytes.as_mut()).map_err(|_| NoEntropy)?;
        let wanted = PREFIX.len() + RANDOM - key.len();
        // bytes from 248 on would make the first letters likelier
        key.extend(bytes.iter().filter(|b| **b < 248).map(|b| letter(u32::from(*b))).take(wanted));
    }
    let sum = checksum(&key);
    key.push_str(&sum);
    Ok(Secret::new(key))
}

/// The operating system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system has no randomness to give")]
pub struct NoEntropy;

/// What a key that nobody knows looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Made by a Tollgate: revoked, or another gateway's.
    Whole,
    /// Begins like ours, but its checksum does not fit: a typo, or cut when copied.
    Damaged,
    /// Not ours: a provider's key, or a guess.
    Foreign,
}

/// How a presented key is spelt, for the message of a 401. Says nothing about whether it is valid.
#[must_use]
pub fn spelling(key: &str) -> Spelling {
    if !key.starts_with(PREFIX) {
        return Spelling::Foreign;
    }
    match key.split_at_checked(LENGTH - CHECK) {
        Some((body, sum)) if checksum(body) == sum => Spelling::Whole,
        _ => Spelling::Damaged,
    }
}

/// CRC-32 of what stands before, in base 62.
fn checksum(of: &str) -> String {
    let sum = crc32fast::hash(of.as_bytes());
    (0..CHECK_DIGITS).rev().map(|place| letter(sum / 62_u32.pow(place) % 62)).collect()
}

fn letter(number: u32) -> char {
    char::from(ALPHABET[(number % 62) as usize])
}

const PREFIX: &str = "tg-";
/// 43 characters of 62 are just over 256 bits.
const RANDOM: usize = 43;
/// 62^6 is more than 2^32.
const CHECK: usize = 6;
const CHECK_DIGITS: u32 = 6;
const LENGTH: usize = PREFIX.len() + RANDOM + CHECK;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_new_each_time_and_spelt_whole() {
        let (one, two) = (new_key().unwrap(), new_key().unwrap());
        assert_ne!(one.expose(), two.expose());
        for key in [&one, &two] {
            assert_eq!(key.expose().len(), LENGTH);
            assert_eq!(spelling(key.expose()), Spelling::Whole);
        }
    }

    #[test]
    fn any_single_wrong_letter_is_seen() {
        let key = new_key().unwrap();
        for place in PREFIX.len()..LENGTH {
            let mut typo = key.expose().as_bytes().to_vec();
            typo[place] = if typo[place] == b'x' { b'y' } else { b'x' };
            assert_eq!(spelling(std::str::from_utf8(&typo).unwrap()), Spelling::Damaged, "at {place}");
        }
        assert_eq!(spelling(&key.expose()[..LENGTH - 1]), Spelling::Damaged);
        assert_eq!(spelling(&format!("{}x", key.expose())), Spelling::Damaged);
        assert_eq!(spelling("tg-ä\u{20ac}"), Spelling::Damaged);
        assert_eq!(spelling("sk-proj-1234"), Spelling::Foreign);
    }
}
