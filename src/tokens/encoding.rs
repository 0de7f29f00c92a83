//! Which vocabulary a model's text is cut by (WIRE 3.1).

use tiktoken_rs::CoreBPE;
use tiktoken_rs::tokenizer::{Tokenizer as Vocabulary, get_tokenizer};

/// A vocabulary. The harmony one has the same ordinary tokens as `o200k_base`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// GPT-4o and everything since.
    O200k,
    /// GPT-4, GPT-3.5 and the embedding models.
    Cl100k,
    /// Retired completion models.
    P50k,
    /// Retired base models.
    R50k,
}

impl Encoding {
    /// The encoding of a model, and whether it is known to be that model's. An unknown model is
    /// counted by the newest one.
    #[must_use]
    pub fn of(model: &str) -> (Self, bool) {
        // `openai/gpt-4o` is how aggregators spell it
        let bare = model.rsplit_once('/').map_or(model, |(_, name)| name);
        match get_tokenizer(bare) {
            Some(Vocabulary::O200kBase | Vocabulary::O200kHarmony) => (Self::O200k, true),
            Some(Vocabulary::Cl100kBase) => (Self::Cl100k, true),
            Some(Vocabulary::P50kBase | Vocabulary::P50kEdit) => (Self::P50k, true),
            Some(Vocabulary::R50kBase | Vocabulary::Gpt2) => (Self::R50k, true),
            None => (Self::O200k, false),
        }
    }

    /// The vocabulary, loaded at first use: about half a second and 60 MB for the largest.
    pub(super) fn load(self) -> &'static CoreBPE {
        match self {
            Self::O200k => tiktoken_rs::o200k_base_singleton(),
            Self::Cl100k => tiktoken_rs::cl100k_base_singleton(),
            Self::P50k => tiktoken_rs::p50k_base_singleton(),
            Self::R50k => tiktoken_rs::r50k_base_singleton(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_counted_by_their_own_vocabulary() {
        for (model, encoding, known) in [
            ("gpt-4o", Encoding::O200k, true),
            ("gpt-4o-mini-2024-07-18", Encoding::O200k, true),
            ("gpt-5.2", Encoding::O200k, true),
            ("o3", Encoding::O200k, true),
            ("gpt-oss-120b", Encoding::O200k, true),
            ("openai/gpt-4.1-mini", Encoding::O200k, true),
            ("gpt-4-turbo", Encoding::Cl100k, true),
            ("gpt-35-turbo", Encoding::Cl100k, true),
            ("text-embedding-3-small", Encoding::Cl100k, true),
            ("ft:gpt-4.1-2025-04-14:acme::x", Encoding::O200k, true),
            ("ft:gpt-3.5-turbo-0125:acme::x", Encoding::Cl100k, true),
            ("gpt-6", Encoding::O200k, false),
            ("llama3.1:8b", Encoding::O200k, false),
            ("claude-sonnet-4-5", Encoding::O200k, false),
            ("", Encoding::O200k, false),
        ] {
            assert_eq!(Encoding::of(model), (encoding, known), "{model}");
        }
    }
}
