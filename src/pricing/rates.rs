//! Rates: what one unit of each kind costs, and how a rate that is absent falls back.

use serde::{Deserialize, Serialize};

use crate::base::digits::Digits;
use crate::base::money::PicoUsd;

/// A kind of unit that has a price of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A text token in.
    Input,
    /// A token in, read from the upstream's prompt cache.
    CachedInput,
    /// A token in, written to the upstream's prompt cache for the short lifetime.
    CacheWrite,
    /// A token in, written for the long lifetime.
    CacheWriteLong,
    /// A token of audio in.
    InputAudio,
    /// A token of an image in.
    InputImage,
    /// A text token out.
    Output,
    /// A token of reasoning.
    Reasoning,
    /// A token of audio out.
    OutputAudio,
    /// A token of an image out.
    OutputImage,
    /// A second of audio.
    Second,
    /// A character to speak.
    Character,
    /// An image made.
    Image,
    /// A web search by the upstream's tool.
    WebSearch,
    /// The request itself.
    Request,
}

impl Unit {
    /// Every unit, in the order of catalogue and reports.
    pub const ALL: [Self; 15] = [
        Self::Input,
        Self::CachedInput,
        Self::CacheWrite,
        Self::CacheWriteLong,
        Self::InputAudio,
        Self::InputImage,
        Self::Output,
        Self::Reasoning,
        Self::OutputAudio,
        Self::OutputImage,
        Self::Second,
        Self::Character,
        Self::Image,
        Self::WebSearch,
        Self::Request,
    ];

    /// The kinds of token that input is made of.
    pub const INPUT_TOKENS: [Self; 6] = [
        Self::Input,
        Self::CachedInput,
        Self::CacheWrite,
        Self::CacheWriteLong,
        Self::InputAudio,
        Self::InputImage,
    ];

    /// The kinds of token that output is made of.
    pub const OUTPUT_TOKENS: [Self; 4] =
        [Self::Output, Self::Reasoning, Self::OutputAudio, Self::OutputImage];

    /// The word in the catalogue, the ledger and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::CacheWrite => "cache_write",
            Self::CacheWriteLong => "cache_write_long",
            Self::InputAudio => "input_audio",
            Self::InputImage => "input_image",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::OutputAudio => "output_audio",
            Self::OutputImage => "output_image",
            Self::Second => "second",
            Self::Character => "character",
            Self::Image => "image",
            Self::WebSearch => "web_search",
            Self::Request => "request",
        }
    }

    /// Whether it is a token: shown per million, bounded as one.
    #[must_use]
    pub fn is_token(self) -> bool {
        Self::INPUT_TOKENS.contains(&self) || Self::OUTPUT_TOKENS.contains(&self)
    }

    /// The unit whose rate is used when this one has none: a special token costs what a plain one does.
    #[must_use]
    pub const fn fallback(self) -> Option<Self> {
        match self {
            Self::CacheWriteLong => Some(Self::CacheWrite),
            Self::CachedInput | Self::CacheWrite | Self::InputAudio | Self::InputImage => Some(Self::Input),
            Self::Reasoning | Self::OutputAudio | Self::OutputImage => Some(Self::Output),
            Self::Input
            | Self::Output
            | Self::Second
            | Self::Character
            | Self::Image
            | Self::WebSearch
            | Self::Request => None,
        }
    }
}

/// One rate per unit, where the unit has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates([Option<PicoUsd>; Unit::ALL.len()]);

impl Rates {
    /// The unit's own rate.
    #[must_use]
    pub const fn own(&self, unit: Unit) -> Option<PicoUsd> {
        self.0[unit as usize]
    }

    /// The rate that applies to the unit, its fall-backs included. `None`: unknown, which is not 0.
    #[must_use]
    pub fn of(&self, unit: Unit) -> Option<PicoUsd> {
        self.own(unit).or_else(|| self.of(unit.fallback()?))
    }

    /// These rates with one more.
    #[must_use]
    pub const fn with(mut self, unit: Unit, rate: PicoUsd) -> Self {
        self.0[unit as usize] = Some(rate);
        self
    }

    /// The units that have a rate of their own.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, PicoUsd)> + '_ {
        Unit::ALL.into_iter().filter_map(|unit| Some((unit, self.own(unit)?)))
    }

    /// The rates a ledger row keeps: `{"input":2500000,"output":10000000}`, pico-USD per unit.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(USUAL_JSON);
        json.push('{');
        for (unit, rate) in self.iter() {
            json.push_str(if json.len() > 1 { ",\"" } else { "\"" });
            json.push_str(unit.as_str());
            json.push_str("\":");
            json.push_str(Digits::of(rate.as_picos()).as_str());
        }
        json.push('}');
        json
    }
}

/// Three rates take no more.
const USUAL_JSON: usize = 80;

/// Rates by the size of the input. Crossing a threshold re-prices all tokens of the request: a cliff.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tariff {
    base: Rates,
    /// By rising threshold; each step holds every rate that applies above it.
    steps: Vec<(u64, Rates)>,
}

impl Tariff {
    /// A tariff whose rates do not depend on the input.
    #[must_use]
    pub const fn flat(base: Rates) -> Self {
        Self { base, steps: Vec::new() }
    }

    /// This tariff with other rates for inputs of strictly more than `above` tokens.
    #[must_use]
    pub fn with_step(mut self, above: u64, rates: Rates) -> Self {
        let at = self.steps.partition_point(|(threshold, _)| *threshold < above);
        self.steps.insert(at, (above, rates));
        self
    }

    /// The rates for an input of this many tokens, cached ones included.
    #[must_use]
    pub fn rates(&self, input_tokens: u64) -> &Rates {
        let passed = self.steps.partition_point(|(above, _)| input_tokens > *above);
        passed.checked_sub(1).map_or(&self.base, |last| &self.steps[last].1)
    }

    /// Every set of rates that an input of up to this many tokens can meet.
    pub fn reachable(&self, input_tokens: u64) -> impl Iterator<Item = &Rates> {
        let steps = self.steps.iter().filter(move |(above, _)| input_tokens > *above);
        std::iter::once(&self.base).chain(steps.map(|(_, rates)| rates))
    }

    /// The thresholds and the rates above each.
    #[must_use]
    pub fn steps(&self) -> &[(u64, Rates)] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_its_place_and_its_catalogue_word() {
        for (at, unit) in Unit::ALL.into_iter().enumerate() {
            assert_eq!(unit as usize, at);
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.as_str());
        }
    }

    #[test]
    fn an_absent_rate_falls_back_and_an_unknown_one_is_not_zero() {
        let rates =
            Rates::default().with(Unit::Input, PicoUsd::new(3)).with(Unit::CacheWrite, PicoUsd::new(4));
        assert_eq!(rates.of(Unit::CachedInput), Some(PicoUsd::new(3)));
        assert_eq!(rates.of(Unit::CacheWriteLong), Some(PicoUsd::new(4)));
        assert_eq!(rates.of(Unit::Reasoning), None);
        assert_eq!(rates.of(Unit::Second), None);
        assert_eq!(rates.to_json(), r#"{"input":3,"cache_write":4}"#);
    }

    #[test]
    fn a_kind_of_token_falls_back_to_the_same_kind() {
        for units in [&Unit::INPUT_TOKENS[..], &Unit::OUTPUT_TOKENS] {
            let falls = |unit: &Unit| unit.fallback().is_none_or(|other| units.contains(&other));
            assert!(units.iter().all(falls), "or a ceiling would miss a rate");
        }
    }

    #[test]
    fn the_cliff_lies_strictly_above_its_threshold() {
        let (low, high) = (PicoUsd::new(1), PicoUsd::new(2));
        let tariff = Tariff::flat(Rates::default().with(Unit::Input, low))
            .with_step(272_000, Rates::default().with(Unit::Input, high));
        assert_eq!(tariff.rates(272_000).own(Unit::Input), Some(low));
        assert_eq!(tariff.rates(272_001).own(Unit::Input), Some(high));
        assert_eq!(tariff.reachable(272_000).count(), 1);
        assert_eq!(tariff.reachable(272_001).count(), 2);
    }

    #[test]
    fn steps_rise_in_whatever_order_they_are_given() {
        let above = |tokens| Rates::default().with(Unit::Input, PicoUsd::new(tokens));
        let tariff = [200, 300, 100]
            .iter()
            .fold(Tariff::flat(Rates::default()), |tariff, &tokens| tariff.with_step(tokens, above(tokens)));
        assert_eq!(tariff.steps(), [(100, above(100)), (200, above(200)), (300, above(300))]);
        // of two at one threshold, the first that was given
        let twice = Tariff::flat(Rates::default()).with_step(100, above(1)).with_step(100, above(2));
        assert_eq!(twice.rates(101).own(Unit::Input), Some(PicoUsd::new(1)));
    }
}
