//! The cost of one answer, exactly; and the most that a request can cost, for its reservation.

use std::fmt::Write as _;

use super::price::{Price, Tier};
use super::rates::{Rates, Tariff, Unit};
use crate::base::money::{NanoUsd, PicoUsd, ceil_to_nanos, round_to_nanos};
use crate::base::usage::Usage;

/// On what terms the upstream answered, by its own words in the RESPONSE: a request's `auto` says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms<'a> {
    /// `service_tier` of the answer.
    pub service_tier: Option<&'a str>,
    /// `speed` of the answer (Anthropic).
    pub speed: Option<&'a str>,
    /// Whether it was part of a batch.
    pub batch: bool,
    /// Over how many answers the usage is summed up; 0 stands for one. A step of long context is that of
    /// their mean.
    pub answers: u64,
}

impl Terms<'_> {
    /// The tier these terms name.
    #[must_use]
    pub fn tier(&self) -> Tier {
        if self.batch {
            return Tier::Batch;
        }
        let by_speed = self.speed.map(Tier::from_word).unwrap_or_default();
        if by_speed == Tier::Standard {
            self.service_tier.map(Tier::from_word).unwrap_or_default()
        } else {
            by_speed
        }
    }
}

/// What an answer cost, and how that came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// The cost. `None` when something was used that has no rate: unknown is never 0.
    pub amount: Option<NanoUsd>,
    /// What the units with a rate come to: the amount, or a lower bound of it.
    pub priced: NanoUsd,
    /// The same in pico-USD, not rounded: several parts of one answer are added before they are rounded.
    pub picos: u128,
    /// The first kind of unit used that has no rate.
    pub unpriced: Option<Unit>,
    /// The rates that were applied, only those.
    pub rates: Rates,
    /// The tier whose rates they are.
    pub tier: Tier,
    /// Whether parts were larger than their total and were cut down to it.
    pub clamped: bool,
}

impl Cost {
    /// The rates as a ledger row keeps them: a unit that was used and has none is `null`.
    #[must_use]
    pub fn rates_told(&self) -> String {
        let mut json = self.rates.to_json();
        if let Some(unit) = self.unpriced {
            let comma = if json.len() > "{}".len() { "," } else { "" };
            json.pop();
            // writing to a String cannot fail
            let _ = write!(json, "{comma}\"{}\":null}}", unit.as_str());
        }
        json
    }
}

/// Prices a usage. Each unit is counted once: parts leave their total before it is priced
/// (WIRE 4.1), one rounding half up at the end.
#[must_use]
pub fn cost(price: &Price, usage: &Usage, terms: &Terms<'_>) -> Cost {
    let (tier, tariff) = price.tariff(terms.tier());
    let answers = terms.answers.max(1);
    let rates = tariff.rates(usage.input_tokens.div_ceil(answers));
    let (counts, clamped) = split(usage);
    let mut bill = Bill::default();
    for (unit, count) in counts {
        bill.add(rates, unit, count);
    }
    if rates.own(Unit::Request).is_some() {
        bill.add(rates, Unit::Request, answers);
    }
    let picos = bill.picos();
    let priced = round_to_nanos(picos);
    let unpriced = bill.unpriced();
    let amount = unpriced.is_none().then_some(priced);
    Cost { amount, priced, picos, unpriced, rates: bill.applied, tier, clamped }
}

/// The most that an answer of at most these tokens can cost at the standard tier. `None` when the
/// price has no rate per token. Units per call (seconds, images, searches) are not in it.
///
/// Every kind of token and every long-context step within reach is thought of, so for every usage
/// within the bounds `cost <= ceiling`.
#[must_use]
pub fn ceiling(price: &Price, input_tokens: u64, output_tokens: u64) -> Option<NanoUsd> {
    ceiling_at(price, Tier::Standard, input_tokens, output_tokens)
}

/// As [`ceiling`], at a tier that the request asks for.
#[must_use]
pub fn ceiling_at(price: &Price, tier: Tier, input_tokens: u64, output_tokens: u64) -> Option<NanoUsd> {
    let (_, tariff) = price.tariff(tier);
    Ceiling::of(tariff, input_tokens).map(|ceiling| ceiling.with_output(output_tokens))
}

/// The most that answers to one input can cost at one tariff: it is known before their length is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// The input and the request itself, pico-USD.
    before_output: u128,
    output: PicoUsd,
}

impl Ceiling {
    /// For input of up to this many tokens. `None` when the tariff has no rate per token.
    #[must_use]
    pub fn of(tariff: &Tariff, input_tokens: u64) -> Option<Self> {
        let rate = |units| dearest(tariff, input_tokens, units);
        let (input, output) = (rate(&Unit::INPUT_TOKENS), rate(&Unit::OUTPUT_TOKENS));
        if input.is_none() && output.is_none() {
            return None;
        }
        let request = rate(&[Unit::Request]).map_or(0, |rate| rate.times(1));
        let before_output = input.map_or(0, |rate| rate.times(input_tokens)).saturating_add(request);
        Some(Self { before_output, output: output.unwrap_or_default() })
    }

    /// With so much output.
    #[must_use]
    pub fn with_output(&self, tokens: u64) -> NanoUsd {
        ceil_to_nanos(self.before_output.saturating_add(self.output.times(tokens)))
    }
}

/// The most that an answer can cost at a tier if none of its totals and measures is above those of `most`:
/// tokens of any kind, seconds, characters, images, searches. `None` when nothing that carries the answer
/// has a rate.
#[must_use]
pub fn ceiling_of(price: &Price, tier: Tier, most: &Usage) -> Option<NanoUsd> {
    let (_, tariff) = price.tariff(tier);
    let by_tokens = ceiling_at(price, tier, most.input_tokens, most.output_tokens);
    let measured = [
        (Unit::Second, most.seconds),
        (Unit::Character, most.characters),
        (Unit::Image, most.images),
        (Unit::WebSearch, most.web_searches),
    ];
    let rate = |unit| dearest(tariff, most.input_tokens, &[unit]);
    let by_measure = measured.iter().filter(|(unit, count)| *count > 0 && *unit != Unit::WebSearch);
    let is_priced = by_tokens.is_some() || by_measure.filter_map(|(unit, _)| rate(*unit)).next().is_some();
    let sum = measured.iter().filter_map(|(unit, count)| Some(rate(*unit)?.times(*count)));
    let sum = sum.fold(0_u128, u128::saturating_add);
    let request = if by_tokens.is_some() { 0 } else { rate(Unit::Request).map_or(0, |rate| rate.times(1)) };
    is_priced.then(|| by_tokens.unwrap_or_default() + ceil_to_nanos(sum.saturating_add(request)))
}

/// The dearest rate that any of `units` can have for an input of up to this many tokens.
fn dearest(tariff: &Tariff, input_tokens: u64, units: &[Unit]) -> Option<PicoUsd> {
    // units that a rate may fall back to stand in the list themselves
    tariff.reachable(input_tokens).flat_map(|rates| units.iter().filter_map(|unit| rates.own(*unit))).max()
}

/// The sum so far by what it is for, and what it could not price.
#[derive(Default)]
struct Bill {
    sums: [u128; CLASSES],
    applied: Rates,
    missing: [Option<Unit>; CLASSES],
    priced: [bool; CLASSES],
}

impl Bill {
    fn add(&mut self, rates: &Rates, unit: Unit, count: u64) {
        if count == 0 {
            return;
        }
        let class = Class::of(unit) as usize;
        let Some(rate) = rates.of(unit) else {
            self.missing[class].get_or_insert(unit);
            return;
        };
        self.sums[class] = self.sums[class].saturating_add(rate.times(count));
        self.priced[class] = true;
        self.applied = self.applied.with(unit, rate);
    }

    /// A measure describes what its tokens describe, in other units: the dearer of the two is charged, not
    /// both. (Some models have rates for both, and report images without saying which tokens they were.)
    fn picos(&self) -> u128 {
        let sum = |class: Class| self.sums[class as usize];
        let input = sum(Class::Input).max(sum(Class::InputMeasure));
        let output = sum(Class::Output).max(sum(Class::OutputMeasure));
        input.saturating_add(output).saturating_add(sum(Class::Call))
    }

    /// Tokens and measures describe the same answer twice: a price for one of them is enough. Nothing
    /// describes a web search but itself.
    fn unpriced(&self) -> Option<Unit> {
        let is_priced = |classes: [Class; 2]| classes.into_iter().any(|class| self.priced[class as usize]);
        let missing =
            |classes: [Class; 2]| classes.into_iter().find_map(|class| self.missing[class as usize]);
        let (tokens, measures) = ([Class::Input, Class::Output], [Class::InputMeasure, Class::OutputMeasure]);
        let of_tokens = missing(tokens).filter(|_| !is_priced(measures));
        let of_measures = missing(measures).filter(|_| !is_priced(tokens));
        of_tokens.or(of_measures).or(self.missing[Class::Call as usize])
    }
}

/// What a unit counts.
#[derive(Clone, Copy)]
enum Class {
    Input,
    InputMeasure,
    Output,
    OutputMeasure,
    Call,
}

const CLASSES: usize = 5;

impl Class {
    const fn of(unit: Unit) -> Self {
        match unit {
            Unit::Input
            | Unit::CachedInput
            | Unit::CacheWrite
            | Unit::CacheWriteLong
            | Unit::InputAudio
            | Unit::InputImage => Self::Input,
            Unit::Second | Unit::Character => Self::InputMeasure,
            Unit::Output | Unit::Reasoning | Unit::OutputAudio | Unit::OutputImage => Self::Output,
            Unit::Image => Self::OutputMeasure,
            Unit::WebSearch | Unit::Request => Self::Call,
        }
    }
}

/// Each unit once, and whether the parts had to be cut down to their total.
fn split(usage: &Usage) -> ([(Unit, u64); 14], bool) {
    // audio and images may be cached, too: such an overlap is no fault
    let short = usage.input_audio_tokens.saturating_add(usage.input_image_tokens) > usage.input_tokens
        || usage.output_audio_tokens.saturating_add(usage.output_image_tokens) > usage.output_tokens;
    let mut input = Total::new(usage.input_tokens);
    let cached = input.take(usage.cached_input_tokens);
    let write_long = input.take(usage.cache_write_long_tokens);
    let write = input.take(usage.cache_write_tokens);
    let short = short || input.short || usage.reasoning_tokens > usage.output_tokens;
    let input_audio = input.take(usage.input_audio_tokens);
    let input_image = input.take(usage.input_image_tokens);
    let mut output = Total::new(usage.output_tokens);
    let output_audio = output.take(usage.output_audio_tokens);
    let output_image = output.take(usage.output_image_tokens);
    let reasoning = output.take(usage.reasoning_tokens);
    let counts = [
        (Unit::Input, input.left),
        (Unit::CachedInput, cached),
        (Unit::CacheWrite, write),
        (Unit::CacheWriteLong, write_long),
        (Unit::InputAudio, input_audio),
        (Unit::InputImage, input_image),
        (Unit::Output, output.left),
        (Unit::Reasoning, reasoning),
        (Unit::OutputAudio, output_audio),
        (Unit::OutputImage, output_image),
        (Unit::Second, usage.seconds),
        (Unit::Character, usage.characters),
        (Unit::Image, usage.images),
        (Unit::WebSearch, usage.web_searches),
    ];
    (counts, short)
}

/// A total that parts are taken out of.
struct Total {
    left: u64,
    short: bool,
}

impl Total {
    const fn new(left: u64) -> Self {
        Self { left, short: false }
    }

    fn take(&mut self, part: u64) -> u64 {
        let taken = part.min(self.left);
        self.left -= taken;
        self.short |= taken < part;
        taken
    }
}

#[cfg(test)]
#[path = "cost_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "laws_tests.rs"]
mod laws;
