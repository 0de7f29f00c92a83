//! Words that rows have in common: each set of them is said once, in a table of its own, and rows name its
//! number.

use std::collections::HashMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use super::columns::without_nul;

/// One table of words, and the numbers of the sets that were used last.
#[derive(Debug)]
pub(super) struct Words {
    find: &'static str,
    add: &'static str,
    known: HashMap<Box<[u8]>, i64>,
    /// The set at hand: its words, each behind its length.
    said: Vec<u8>,
    /// The set before, which is most often the same.
    last: (Vec<u8>, i64),
}

impl Words {
    /// Who spends.
    pub(super) fn of_spenders() -> Self {
        Self::new(
            "SELECT spender FROM spenders WHERE digest = ?1",
            "INSERT INTO spenders (digest, team, key, user, model, tags) VALUES (?, ?, ?, ?, ?, ?)",
        )
    }

    /// What kind of request it was.
    pub(super) fn of_kinds() -> Self {
        Self::new(
            "SELECT kind FROM kinds WHERE digest = ?1",
            "INSERT INTO kinds (digest, outcome, error, operation, upstream_model, response_model, upstream, cache, \
             usage_source, catalogue, rates, disconnect, service_tier, price_name, price_source, billing, status, \
             attempts, stream) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
    }

    fn new(find: &'static str, add: &'static str) -> Self {
        Self { find, add, known: HashMap::new(), said: Vec::new(), last: (Vec::new(), 0) }
    }

    /// The number of the set of these words and counts.
    pub(super) fn number(
        &mut self,
        connection: &Connection,
        words: &[&str],
        counts: &[u32],
    ) -> rusqlite::Result<i64> {
        self.said.clear();
        for word in words {
            self.said.extend_from_slice(&word.len().to_le_bytes());
            self.said.extend_from_slice(word.as_bytes());
        }
        for count in counts {
            self.said.extend_from_slice(&count.to_le_bytes());
        }
        if self.said == self.last.0 {
            return Ok(self.last.1);
        }
        let number = match self.known.get(self.said.as_slice()) {
            Some(number) => *number,
            None => self.look_up(connection, words, counts)?,
        };
        std::mem::swap(&mut self.last.0, &mut self.said);
        self.last.1 = number;
        Ok(number)
    }

    fn look_up(&mut self, connection: &Connection, words: &[&str], counts: &[u32]) -> rusqlite::Result<i64> {
        let digest = blake3::hash(&self.said);
        let digest = &digest.as_bytes()[..DIGEST];
        let found = connection.prepare_cached(self.find)?.query_row([digest], |row| row.get(0)).optional()?;
        let number = match found {
            Some(number) => number,
            None => {
                let words = words.iter().map(|word| Value::Text(without_nul(word).into_owned()));
                let counts = counts.iter().map(|count| Value::Integer(i64::from(*count)));
                let values = std::iter::once(Value::Blob(digest.to_owned())).chain(words).chain(counts);
                connection.prepare_cached(self.add)?.insert(params_from_iter(values))?
            }
        };
        if self.known.len() >= MOST_KNOWN {
            self.known.clear();
        }
        self.known.insert(self.said.as_slice().into(), number);
        Ok(number)
    }
}

/// Of a digest: no two sets in a ledger have the same.
const DIGEST: usize = 16;
/// Some 4 MB at most. With more callers at work than this, each is looked up now and then.
const MOST_KNOWN: usize = 10_000;
