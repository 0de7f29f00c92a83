//! The keys a gateway knows. Built whole from the config, then only read.

use std::collections::HashMap;

use super::pepper::{KeyHash, Pepper};
use super::rules::Rules;

/// All keys, with what the gateway keeps for each (`T`). A look-up is one HMAC and one probe.
#[derive(Debug)]
pub struct Directory<T> {
    pepper: Pepper,
    /// Keyed by the MAC, which compares in constant time; its own hash function is randomly seeded.
    entries: HashMap<KeyHash, Entry<T>>,
}

/// One known key.
#[derive(Debug)]
pub struct Entry<T> {
    /// What it may do.
    pub rules: Rules,
    /// What the gateway keeps for it.
    pub value: T,
}

impl<T> Directory<T> {
    /// A directory of these keys.
    ///
    /// # Errors
    /// When the same key is listed twice: it would belong to two callers.
    pub fn new(pepper: Pepper, listed: Vec<(KeyHash, Rules, T)>) -> Result<Self, ListedTwice> {
        let mut places: HashMap<KeyHash, usize> = HashMap::with_capacity(listed.len());
        let mut entries = HashMap::with_capacity(listed.len());
        for (place, (hash, rules, value)) in listed.into_iter().enumerate() {
            if let Some(first) = places.insert(hash, place) {
                return Err(ListedTwice { first, second: place });
            }
            entries.insert(hash, Entry { rules, value });
        }
        Ok(Self { pepper, entries })
    }

    /// Whose key this is, if it is known. Says nothing of expiry: ask the entry's rules.
    #[must_use]
    pub fn find(&self, presented: &str) -> Option<&Entry<T>> {
        self.entries.get(&self.pepper.hash(presented))
    }

    /// What belongs to each key, in no order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.values().map(|entry| &entry.value)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The same key stands in two places of the list, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the same key is listed twice")]
pub struct ListedTwice {
    /// Its first place.
    pub first: usize,
    /// Its second place.
    pub second: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(keys: &[&str]) -> Result<Directory<usize>, ListedTwice> {
        let pepper = Pepper::from_bytes(&[1; 32]);
        let listed =
            keys.iter().enumerate().map(|(n, key)| (pepper.hash(key), Rules::default(), n)).collect();
        Directory::new(pepper, listed)
    }

    #[test]
    fn each_key_finds_its_own_entry_and_no_other() {
        let directory = directory(&["tg-aaaaaaaaaaaaaaaaaaaaa1", "tg-aaaaaaaaaaaaaaaaaaaaa2"]).unwrap();
        let found = |key| directory.find(key).map(|entry| entry.value);
        assert_eq!(found("tg-aaaaaaaaaaaaaaaaaaaaa1"), Some(0));
        assert_eq!(found("tg-aaaaaaaaaaaaaaaaaaaaa2"), Some(1));
        for unknown in
            ["", "tg-aaaaaaaaaaaaaaaaaaaaa", "tg-aaaaaaaaaaaaaaaaaaaaa3", " tg-aaaaaaaaaaaaaaaaaaaaa1"]
        {
            assert_eq!(found(unknown), None, "{unknown:?}");
        }
        assert_eq!(found(&"x".repeat(1 << 20)), None);
    }

    #[test]
    fn one_key_cannot_belong_to_two() {
        assert_eq!(directory(&["a", "b", "a"]).unwrap_err(), ListedTwice { first: 0, second: 2 });
    }
}
