//! The cost of one answer, exactly; and the most that a request can cost, for its reservation.

use super::price::{Price, Tier};
use super::rates::{Rates, Unit};
use crate::base::money::{NanoUsd, ceil_to_nanos, round_to_nanos};
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
    /// The first kind of unit used that has no rate.
    pub unpriced: Option<Unit>,
    /// The rates that were applied, only those.
    pub rates: Rates,
    /// The tier whose rates they are.
    pub tier: Tier,
    /// Whether parts were larger than their total and were cut down to it.
    pub clamped: bool,
}

/// Prices a usage. Each unit is counted once: parts leave their total before it is priced
/// (WIRE 4.1), one rounding half up at the end.
#[must_use]
pub fn cost(price: &Price, usage: &Usage, terms: &Terms<'_>) -> Cost {
    let (tier, tariff) = price.tariff(terms.tier());
    let rates = tariff.rates(usage.input_tokens);
    let (counts, clamped) = split(usage);
    let mut bill = Bill::default();
    for (unit, count) in counts {
        bill.add(rates, unit, count);
    }
    if rates.own(Unit::Request).is_some() {
        bill.add(rates, Unit::Request, 1);
    }
    let priced = round_to_nanos(bill.picos);
    let unpriced = bill.unpriced();
    let amount = unpriced.is_none().then_some(priced);
    Cost { amount, priced, unpriced, rates: bill.applied, tier, clamped }
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
    let dearest = |units: &[Unit]| {
        let rates = tariff.reachable(input_tokens);
        rates.flat_map(|rates| units.iter().filter_map(|unit| rates.of(*unit))).max()
    };
    let (input, output) = (dearest(&Unit::INPUT_TOKENS), dearest(&Unit::OUTPUT_TOKENS));
    if input.is_none() && output.is_none() {
        return None;
    }
    let request = dearest(&[Unit::Request]).map_or(0, |rate| rate.times(1));
    let sum = input
        .map_or(0, |rate| rate.times(input_tokens))
        .saturating_add(output.map_or(0, |rate| rate.times(output_tokens)))
        .saturating_add(request);
    Some(ceil_to_nanos(sum))
}

/// The sum so far, and what it could not price.
#[derive(Default)]
struct Bill {
    picos: u128,
    applied: Rates,
    /// Whether units that carry the answer itself were priced, as tokens or otherwise.
    tokens_priced: bool,
    others_priced: bool,
    missing: [Option<Unit>; 3],
}

impl Bill {
    fn add(&mut self, rates: &Rates, unit: Unit, count: u64) {
        if count == 0 {
            return;
        }
        let Some(rate) = rates.of(unit) else {
            self.missing[Self::class(unit)].get_or_insert(unit);
            return;
        };
        self.picos = self.picos.saturating_add(rate.times(count));
        self.applied = self.applied.with(unit, rate);
        match Self::class(unit) {
            TOKENS => self.tokens_priced = true,
            MEASURES => self.others_priced = true,
            _ => {}
        }
    }

    /// Tokens and measures describe the same answer twice: a price for one of them is enough. Nothing
    /// describes a web search but itself.
    fn unpriced(&self) -> Option<Unit> {
        let [tokens, measures, calls] = self.missing;
        let tokens = tokens.filter(|_| !self.others_priced);
        let measures = measures.filter(|_| !self.tokens_priced);
        tokens.or(measures).or(calls)
    }

    fn class(unit: Unit) -> usize {
        match unit {
            Unit::Second | Unit::Character | Unit::Image => MEASURES,
            Unit::WebSearch | Unit::Request => CALLS,
            _ => TOKENS,
        }
    }
}

const TOKENS: usize = 0;
const MEASURES: usize = 1;
const CALLS: usize = 2;

/// Each unit once, and whether the parts had to be cut down to their total.
fn split(usage: &Usage) -> ([(Unit, u64); 14], bool) {
    let mut input = Total::new(usage.input_tokens);
    let cached = input.take(usage.cached_input_tokens);
    let write_long = input.take(usage.cache_write_long_tokens);
    let write = input.take(usage.cache_write_tokens);
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
    (counts, input.short || output.short)
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
