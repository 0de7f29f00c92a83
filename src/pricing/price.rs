//! The price of one model at one moment: what the catalogue answers.

use serde::{Deserialize, Serialize};

use super::rates::{Rates, Tariff, Unit};
use super::section::PriceSection;
use crate::base::clock::Timestamp;

/// A way of serving that has rates of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// As asked without any choice.
    #[default]
    Standard,
    /// Answered within a day.
    Batch,
    /// Slower and cheaper.
    Flex,
    /// Faster and dearer.
    Priority,
    /// As `priority` at `OpenAI`; a speed of its own at Anthropic.
    Fast,
    /// The fastest.
    Ultrafast,
}

impl Tier {
    /// Every tier that can have rates of its own beside the standard one.
    pub const SPECIAL: [Self; 5] = [Self::Batch, Self::Flex, Self::Priority, Self::Fast, Self::Ultrafast];

    /// The word in answers, the catalogue and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
            Self::Fast => "fast",
            Self::Ultrafast => "ultrafast",
        }
    }

    /// The tier an answer's word names; a word without rates of its own is the standard tier.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::SPECIAL.into_iter().find(|tier| tier.as_str() == word).unwrap_or_default()
    }
}

/// How a name led to its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// By the `prices:` section of the config.
    Override,
    /// By its name.
    Name,
    /// By one of the entry's other names.
    Alias,
    /// As the snapshot or `-latest` of a name: no entry of its own, so what its base costs.
    Snapshot,
}

impl Match {
    /// Said to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Override => "the config's own price",
            Self::Name => "its name",
            Self::Alias => "another name of the entry",
            Self::Snapshot => "a snapshot of the entry's name",
        }
    }
}

/// What a model costs at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// `provider/model` of the entry; the bare name for an override.
    pub name: String,
    /// How the asked name led here.
    pub matched: Match,
    /// Rates without a special tier.
    pub standard: Tariff,
    /// Rates of the tiers that have their own, in full.
    pub tiers: Vec<(Tier, Tariff)>,
    /// The most output tokens of one answer.
    pub max_output_tokens: Option<u64>,
    /// The most tokens the model takes in.
    pub context_window: Option<u64>,
    /// Where the entry came from.
    pub source: String,
    /// When another price begins: a cached price is good until then.
    pub valid_until: Option<Timestamp>,
}

impl Price {
    /// A price with one set of rates: overrides and tests.
    #[must_use]
    pub fn flat(name: &str, rates: Rates) -> Self {
        Self {
            name: name.to_owned(),
            matched: Match::Override,
            standard: Tariff::flat(rates),
            tiers: Vec::new(),
            max_output_tokens: None,
            context_window: None,
            source: "config".to_owned(),
            valid_until: None,
        }
    }

    /// The tariff of a tier and the tier that it really is: one without rates costs the standard rates.
    #[must_use]
    pub fn tariff(&self, tier: Tier) -> (Tier, &Tariff) {
        let own = |tier| self.tiers.iter().find(|(has, _)| *has == tier).map(|(_, tariff)| (tier, tariff));
        let same_under_another_word = match tier {
            // `OpenAI`'s two words for one tier. Not the other way round: at Anthropic `priority` is capacity
            // that was bought beforehand, and `fast` is a speed with a price of its own
            Tier::Fast => own(Tier::Priority),
            Tier::Standard | Tier::Priority | Tier::Batch | Tier::Flex | Tier::Ultrafast => None,
        };
        own(tier).or(same_under_another_word).unwrap_or((Tier::Standard, &self.standard))
    }
}

/// The price that a `prices:` entry of the config states.
#[must_use]
pub fn from_section(name: &str, section: &PriceSection) -> Price {
    let mut rates = Rates::default().with(Unit::Input, section.input.0).with(Unit::Output, section.output.0);
    let optional = [
        (Unit::CachedInput, section.cached_input),
        (Unit::CacheWrite, section.cache_write),
        (Unit::CacheWriteLong, section.cache_write_long),
        (Unit::WebSearch, section.web_search),
    ];
    for (unit, rate) in optional {
        if let Some(rate) = rate {
            rates = rates.with(unit, rate.0);
        }
    }
    Price { max_output_tokens: section.max_output_tokens, ..Price::flat(name, rates) }
}
