//! What a caller wishes of the cache for one request: `x-tollgate-cache: no-store | refresh | ttl=60s`.

use std::time::Duration;

use crate::base::units::{Span, Written};

/// A caller's wish. It can make the cache stricter for one request, never looser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    no_store: bool,
    refresh: bool,
    ttl: Option<Duration>,
}

impl Wish {
    /// Reads the header's value; several words are separated by commas.
    ///
    /// # Errors
    /// When a word is unknown or a duration is not one.
    pub fn parse(value: &str) -> Result<Self, NotAWish> {
        let mut wish = Self::default();
        for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                None if word.eq_ignore_ascii_case("no-store") => wish.no_store = true,
                None if word.eq_ignore_ascii_case("refresh") => wish.refresh = true,
                Some((name, span)) if name.trim().eq_ignore_ascii_case("ttl") => {
                    let span = Span::read(span).map_err(|_| NotAWish::new(word))?;
                    wish.ttl = Some(span.0);
                }
                _ => return Err(NotAWish::new(word)),
            }
        }
        Ok(wish)
    }

    /// Whether a stored answer, or one in flight, may be served.
    #[must_use]
    pub const fn reads(&self) -> bool {
        !self.no_store && !self.refresh
    }

    /// Whether the answer may be stored.
    #[must_use]
    pub const fn stores(&self) -> bool {
        !self.no_store
    }

    /// How old a served answer may be and how long this one may be served: the rule's ttl, or the wished
    /// one if that is shorter.
    #[must_use]
    pub fn ttl(&self, rule: Duration) -> Duration {
        self.ttl.map_or(rule, |wished| wished.min(rule))
    }
}

/// The header says something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` in x-tollgate-cache is none of `no-store`, `refresh`, `ttl=60s`")]
pub struct NotAWish {
    /// The word at fault, at most 64 characters of it, escaped.
    pub word: String,
}

impl NotAWish {
    fn new(word: &str) -> Self {
        Self { word: word.chars().take(64).flat_map(char::escape_default).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn each_wish_does_what_it_says() {
        for (text, reads, stores, ttl) in [
            ("", true, true, HOUR),
            ("no-store", false, false, HOUR),
            ("Refresh", false, true, HOUR),
            ("ttl=60s", true, true, Duration::from_secs(60)),
            ("refresh, ttl=5m", false, true, Duration::from_secs(300)),
            ("ttl=7d", true, true, HOUR),
            ("ttl=0s", true, true, Duration::ZERO),
        ] {
            let wish = Wish::parse(text).unwrap();
            assert_eq!((wish.reads(), wish.stores(), wish.ttl(HOUR)), (reads, stores, ttl), "{text}");
        }
    }

    #[test]
    fn an_unknown_word_is_named() {
        for (text, word) in
            [("nostore", "nostore"), ("refresh, ttl=60", "ttl=60"), ("ttl", "ttl"), ("a=b", "a=b")]
        {
            assert_eq!(Wish::parse(text), Err(NotAWish { word: word.into() }));
        }
    }
}
