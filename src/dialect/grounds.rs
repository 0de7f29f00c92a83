//! What an estimate rests on, and how far off each ground may be (docs/ESTIMATES.md says how that was found).

/// A rule by which tokens are counted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ground {
    /// Text, by the model's own vocabulary.
    Text,
    /// What frames messages and items.
    Chat,
    /// Definitions of tools, schemas, and calls in a history.
    Tools,
    /// Images of a known size.
    Image,
    /// Text of one run that was cut where no vocabulary cuts.
    Run,
    /// The rest of a text that is too long, at the rate of its beginning.
    Extrapolated,
    /// Text by another vocabulary than the model's, which is not public.
    OtherVocabulary,
    /// Bytes over four: nothing could be read, or nobody had time to count.
    Bytes,
    /// The most that it can be: hidden reasoning, a remote image, what was reserved.
    Ceiling,
    /// Parts that nothing here can count, and which stand for nothing: files, audio, what is new.
    Unseen,
}

impl Ground {
    /// All of them, the surest first.
    pub const ALL: [Self; 10] = [
        Self::Text,
        Self::Run,
        Self::Chat,
        Self::Tools,
        Self::Image,
        Self::Extrapolated,
        Self::OtherVocabulary,
        Self::Ceiling,
        Self::Bytes,
        Self::Unseen,
    ];

    /// The word on a row.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Chat => "chat",
            Self::Tools => "tools",
            Self::Image => "image",
            Self::Run => "run",
            Self::Extrapolated => "extrapolated",
            Self::OtherVocabulary => "other_vocabulary",
            Self::Bytes => "bytes",
            Self::Ceiling => "ceiling",
            Self::Unseen => "unseen",
        }
    }

    /// How far the true count may be from the estimate, in percent of the estimate.
    #[must_use]
    pub const fn error_percent(self) -> u32 {
        match self {
            Self::Text => 0,
            Self::Run => 1,
            Self::Chat => 5,
            Self::Tools => 25,
            Self::Image => 40,
            Self::Extrapolated => 80,
            Self::OtherVocabulary => 90,
            Self::Ceiling => 100,
            Self::Bytes => 300,
            Self::Unseen => 1_000,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// All that one estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Grounds(u16);

impl Grounds {
    /// One ground alone.
    #[must_use]
    pub const fn of(ground: Ground) -> Self {
        Self(ground.bit())
    }

    /// Whether this is one of them.
    #[must_use]
    pub const fn has(self, ground: Ground) -> bool {
        self.0 & ground.bit() != 0
    }

    /// Adds one.
    pub const fn add(&mut self, ground: Ground) {
        self.0 |= ground.bit();
    }

    /// Those of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing but the model's own vocabulary was needed.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        self.0 & !Ground::Text.bit() == 0
    }

    /// The words of a row, the least sure first; text alone stands there only if nothing else does.
    #[must_use]
    pub fn words(self) -> String {
        let mut words: Vec<&str> = self.all().map(Ground::word).collect();
        if words.len() > 1 {
            words.retain(|word| *word != Ground::Text.word());
        }
        words.reverse();
        words.join("+")
    }

    /// The bound of an estimate: that of its worst ground. Another vocabulary makes every other one worse.
    #[must_use]
    pub fn error_percent(self) -> u32 {
        let worst = |grounds: Self| grounds.all().map(Ground::error_percent).max().unwrap_or_default();
        if !self.has(Ground::OtherVocabulary) {
            return worst(self);
        }
        let (own, others) = (Ground::OtherVocabulary, Self(self.0 & !Ground::OtherVocabulary.bit()));
        ((100 + own.error_percent()) * (100 + worst(others))).div_ceil(100) - 100
    }

    fn all(self) -> impl Iterator<Item = Ground> {
        Ground::ALL.into_iter().filter(move |ground| self.has(*ground))
    }
}

impl From<Ground> for Grounds {
    fn from(ground: Ground) -> Self {
        Self::of(ground)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_ground_bounds_the_estimate() {
        let of = |grounds: &[Ground]| {
            let all = grounds.iter().fold(Grounds::default(), |all, ground| all.with((*ground).into()));
            (all.words(), all.error_percent(), all.is_exact())
        };
        for (grounds, words, percent, is_exact) in [
            (vec![], "", 0, true),
            (vec![Ground::Text], "text", 0, true),
            (vec![Ground::Text, Ground::Chat], "chat", 5, false),
            (vec![Ground::Image, Ground::Chat, Ground::Tools], "image+tools+chat", 40, false),
            (vec![Ground::OtherVocabulary], "other_vocabulary", 90, false),
            (vec![Ground::Chat, Ground::OtherVocabulary], "other_vocabulary+chat", 100, false),
            (vec![Ground::Bytes, Ground::Text], "bytes", 300, false),
        ] {
            assert_eq!(of(&grounds), (words.to_owned(), percent, is_exact), "{grounds:?}");
        }
    }

    #[test]
    fn grounds_stand_in_the_order_of_their_bounds() {
        assert!(Ground::ALL.is_sorted_by_key(|ground| ground.error_percent()));
        let bits = Ground::ALL.map(|ground| ground.bit().count_ones());
        assert_eq!(bits, [1; 10]);
        assert_eq!(Ground::ALL.iter().fold(0, |all, ground| all | ground.bit()).count_ones(), 10);
    }
}
