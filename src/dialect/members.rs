//! The members of a JSON object that requests are read by, as raw text in place. One pass; unknown
//! members are skipped without being kept; of duplicates the last wins, and it is noted that there are some.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::request::MAX_STOPS;

macro_rules! fields {
    ($($name:ident),* $(,)?) => {
        /// Raw values by name, at whatever level of a request they are read.
        #[derive(Debug, Default)]
        pub(super) struct Fields<'a> {
            $(pub(super) $name: Option<&'a str>,)*
            /// Whether the object has no members at all.
            pub(super) is_empty: bool,
            /// A member of [`DECISIVE`] that stands twice, or in other letters that some parsers take for it.
            pub(super) ambiguous: Option<&'static str>,
        }

        impl<'a> Fields<'a> {
            fn slot(&mut self, key: &[u8]) -> Option<&mut Option<&'a str>> {
                $(if key == const { spelt(stringify!($name)) } { return Some(&mut self.$name); })*
                None
            }
        }
    };
}

fields! {
    model, stream, stream_options, include_usage, max_tokens, max_completion_tokens, max_output_tokens,
    n, best_of, prompt, speed, user, safety_identifier, metadata, user_id, background, service_tier, temperature,
    top_p, top_k, frequency_penalty, presence_penalty, seed, stop, stop_sequences, reasoning_effort,
    reasoning, effort, thinking, budget_tokens, r#type, modalities, prediction, tools, web_search_options,
    max_uses,
}

/// The name as it stands in a body: that of a field may have to be a raw identifier.
const fn spelt(name: &str) -> &[u8] {
    match name.as_bytes() {
        [b'r', b'#', plain @ ..] => plain,
        plain => plain,
    }
}

/// What decides which model works, and how much. Parsers differ on which of two counts, and those of Go take
/// `MODEL` for `model`: an upstream must not read another request than the one that was admitted (FAULTS B8).
const DECISIVE: [&str; 11] = [
    "model",
    "stream",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "prompt",
    "background",
    "service_tier",
    "speed",
];

/// The decisive member that a parser without regard to case takes `key` for. The long s and the sign for
/// kelvin fold to ASCII letters, too.
fn decisive(key: &[u8]) -> Option<&'static str> {
    if !key.iter().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        return DECISIVE.into_iter().find(|name| key == name.as_bytes());
    }
    let key = std::str::from_utf8(key).ok().filter(|key| key.len() <= LONGEST_DECISIVE)?;
    let folded = |name: &str| {
        let upper = name.chars().flat_map(char::to_uppercase);
        upper.flat_map(char::to_lowercase).collect::<String>()
    };
    let key = folded(key);
    DECISIVE.into_iter().find(|name| key == *name)
}

/// Of the longest name, with every letter in three bytes.
const LONGEST_DECISIVE: usize = 63;

impl<'a> Fields<'a> {
    /// The place of a member's value; it is noted where that may not be the only one that counts.
    pub(super) fn slot_once(&mut self, key: &[u8]) -> Option<&mut Option<&'a str>> {
        let is_first = self.slot(key).is_some_and(|slot| slot.is_none());
        if !is_first && let Some(name) = decisive(key) {
            self.ambiguous = Some(name);
        }
        self.slot(key)
    }

    /// Reads one JSON object, with nothing behind it. A byte order mark before it is passed over.
    pub(super) fn read(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut reader = serde_json::Deserializer::from_slice(text);
        let fields = reader.deserialize_map(FieldsVisitor)?;
        reader.end()?;
        Ok(fields)
    }

    /// A string.
    pub(super) fn text(raw: &str) -> Option<String> {
        let plain = raw.strip_prefix('"')?.strip_suffix('"')?;
        if plain.contains('\\') { serde_json::from_str(raw).ok() } else { Some(plain.to_owned()) }
    }

    /// A string, or a list of strings of which the first few are kept.
    pub(super) fn texts(raw: &str) -> Vec<String> {
        if let Some(one) = Self::text(raw) {
            return vec![one];
        }
        let mut many: Vec<String> = serde_json::from_str(raw).unwrap_or_default();
        many.truncate(MAX_STOPS);
        many
    }

    /// A number.
    pub(super) fn number(raw: &str) -> Option<f64> {
        raw.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// A count. `100`, `100.0` and `"100"` are one to the lenient parsers of Python servers.
    pub(super) fn count(raw: &str) -> Option<u64> {
        let text = raw.trim_matches('"').trim();
        if let Ok(count) = text.parse() {
            return Some(count);
        }
        let number: f64 = text.parse().ok()?;
        let whole = number >= 0.0 && number.fract() == 0.0 && number < MAX_EXACT;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative and below 2^53, all checked above"
        )]
        whole.then_some(number as u64)
    }

    /// How many prompts a legacy completion asks for: a string or a list of token ids is one.
    pub(super) fn prompts(raw: &str) -> u64 {
        serde_json::Deserializer::from_str(raw).deserialize_any(PromptsVisitor).unwrap_or(1)
    }
}

/// 2^53: above it not every whole number has an `f64`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields { is_empty: true, ..Fields::default() };
        // the key's seed picks the slot while the unescaped key is at hand: no copy of any key
        while let Some(slot) = members.next_key_seed(SlotOf(&mut fields))? {
            match slot {
                Some(slot) => *slot = Some(members.next_value::<&RawValue>()?.get()),
                None => drop(members.next_value::<IgnoredAny>()?),
            }
            fields.is_empty = false;
        }
        Ok(fields)
    }
}

/// Reads a key and answers with the place its value goes to.
struct SlotOf<'f, 'a>(&'f mut Fields<'a>);

impl<'de, 'f, 'a> DeserializeSeed<'de> for SlotOf<'f, 'a> {
    type Value = Option<&'f mut Option<&'a str>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        // as bytes: a key with a lone surrogate is legal for some upstreams and none of ours
        key.deserialize_bytes(self)
    }
}

impl<'f, 'a> Visitor<'_> for SlotOf<'f, 'a> {
    type Value = Option<&'f mut Option<&'a str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(self.0.slot_once(key))
    }
}

struct PromptsVisitor;

impl<'de> Visitor<'de> for PromptsVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of prompts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u64, A::Error> {
        let mut prompts: u64 = 0;
        while let Some(item) = items.next_element::<&RawValue>()? {
            let is_token = item.get().starts_with(|first: char| first.is_ascii_digit() || first == '-');
            if is_token {
                return Err(A::Error::custom("one prompt of token ids"));
            }
            prompts += 1;
        }
        Ok(prompts.max(1))
    }
}

/// A text that others are parts of, for finding their places.
pub(super) struct Outer<'a>(&'a [u8]);

impl<'a> Outer<'a> {
    pub(super) const fn new(whole: &'a [u8]) -> Self {
        Self(whole)
    }

    /// Where `part`, borrowed from this text, stands in it.
    pub(super) fn range(&self, part: &str) -> Range<usize> {
        let start = part.as_ptr().addr() - self.0.as_ptr().addr();
        start..start + part.len()
    }
}
