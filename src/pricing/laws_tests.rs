//! Laws of price: they hold for every rate there can be, and for every entry of the shipped catalogue.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::base::clock::Timestamp;
use crate::pricing::catalogue::{Catalogue, resolve};
use crate::pricing::file::Day;
use crate::pricing::price::Match;

fn day(text: &str) -> Timestamp {
    Day::parse(text).unwrap().0
}

/// Every price of the shipped catalogue, as of a day when all of it is in force.
static PRICES: LazyLock<Vec<Price>> = LazyLock::new(|| {
    let catalogue = Catalogue::shipped();
    catalogue.entries().map(|entry| resolve(&entry, Match::Name, day("2026-11-20"))).collect()
});

fn shipped() -> impl Strategy<Value = &'static Price> {
    (0..PRICES.len()).prop_map(|at| &PRICES[at])
}

const TIERS: [Tier; 6] =
    [Tier::Standard, Tier::Batch, Tier::Flex, Tier::Priority, Tier::Fast, Tier::Ultrafast];

fn tier() -> impl Strategy<Value = Tier> {
    proptest::sample::select(TIERS.to_vec())
}

/// The answer's own words for a tier.
fn terms(tier: Tier) -> Terms<'static> {
    match tier {
        Tier::Batch => Terms { batch: true, ..Terms::default() },
        Tier::Fast => Terms { speed: Some("fast"), ..Terms::default() },
        other => Terms { service_tier: Some(other.as_str()), ..Terms::default() },
    }
}

/// How many of a unit: none, few, as many as there are near the thresholds of catalogues, or very many.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => Just(0),
        3 => 0..5_000_u64,
        3 => proptest::sample::select(vec![32_000, 127_999, 128_000, 128_001, 200_000, 200_001, 272_000, 272_001]),
        1 => 0..2_000_000_u64,
        1 => Just(1_000_000_000),
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    proptest::array::uniform14(count()).prop_map(|counts| {
        let usage = Usage::from_counts(counts);
        Usage { images: usage.images % 100, web_searches: usage.web_searches % 100, ..usage }
    })
}

/// Only what bounds know: totals and measures, not how the totals are made up.
fn totals(usage: &Usage) -> Usage {
    Usage {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        seconds: usage.seconds,
        characters: usage.characters,
        images: usage.images,
        web_searches: usage.web_searches,
        ..Usage::default()
    }
}

const COUNTS: [fn(&mut Usage) -> &mut u64; 14] = [
    |usage| &mut usage.input_tokens,
    |usage| &mut usage.cached_input_tokens,
    |usage| &mut usage.cache_write_tokens,
    |usage| &mut usage.cache_write_long_tokens,
    |usage| &mut usage.input_audio_tokens,
    |usage| &mut usage.input_image_tokens,
    |usage| &mut usage.output_tokens,
    |usage| &mut usage.reasoning_tokens,
    |usage| &mut usage.output_audio_tokens,
    |usage| &mut usage.output_image_tokens,
    |usage| &mut usage.seconds,
    |usage| &mut usage.characters,
    |usage| &mut usage.images,
    |usage| &mut usage.web_searches,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 8))]

    /// The base of invariant I4: whatever an answer within its bounds turns out to be made of - cache writes
    /// that cost more than input, audio, images, reasoning, searches - it does not cost more than the ceiling.
    #[test]
    fn no_answer_within_its_bounds_costs_more_than_its_ceiling(
        price in shipped(), tier in tier(), usage in usage(), slack in proptest::collection::vec(0..1_000_u64, 2),
    ) {
        let mut most = totals(&usage);
        most.input_tokens += slack[0];
        most.output_tokens += slack[1];
        let bill = cost(price, &usage, &terms(tier));
        if bill.priced > NanoUsd::ZERO {
            let ceiling = ceiling_of(price, tier, &most);
            prop_assert!(ceiling.is_some_and(|most| bill.priced <= most), "{} {:?}: {:?}", price.name, bill, ceiling);
        }
        if let Some(by_tokens) = ceiling_at(price, tier, most.input_tokens, most.output_tokens) {
            let only_tokens = Usage { seconds: 0, characters: 0, images: 0, web_searches: 0, ..usage };
            prop_assert!(cost(price, &only_tokens, &terms(tier)).priced <= by_tokens);
        }
    }

    /// More of anything never costs less, and neither does saying of what kind a token was when that kind is
    /// dearer. (A kind that is cheaper than what it replaces - a cached token - makes the answer cheaper.)
    #[test]
    fn more_of_a_total_or_a_measure_never_costs_less(
        price in shipped(), tier in tier(), usage in usage(), which in 0..COUNTS.len(), more in 1..300_000_u64,
    ) {
        let mut larger = usage;
        *COUNTS[which](&mut larger) += more;
        let is_total = !(1..=5).contains(&which) && !(7..=9).contains(&which);
        if is_total {
            let cost_of = |usage: &Usage| cost(price, usage, &terms(tier)).picos;
            prop_assert!(cost_of(&usage) <= cost_of(&larger), "{}", price.name);
        }
    }

    /// The whole is the sum of its parts, where no cliff lies between them: to the pico-USD.
    #[test]
    fn two_answers_cost_what_they_would_cost_as_one(
        price in shipped(), tier in tier(), first in usage(), second in usage(),
    ) {
        let (_, tariff) = price.tariff(tier);
        let both = first.plus(&second);
        let is_flat = std::ptr::eq(tariff.rates(first.input_tokens), tariff.rates(both.input_tokens))
            && std::ptr::eq(tariff.rates(second.input_tokens), tariff.rates(both.input_tokens));
        let is_whole = |usage: &Usage| !cost(price, usage, &terms(tier)).clamped;
        // a measure beside tokens is charged only where it is dearer, and a fee per call is charged per call
        let plain = |usage: Usage| Usage { seconds: 0, characters: 0, images: 0, ..usage };
        let (first, second, both) = (plain(first), plain(second), plain(both));
        let overlaps = |usage: &Usage| {
            usage.cached_input_tokens + usage.cache_write_tokens + usage.cache_write_long_tokens
                + usage.input_audio_tokens + usage.input_image_tokens > usage.input_tokens
                || usage.reasoning_tokens + usage.output_audio_tokens + usage.output_image_tokens
                    > usage.output_tokens
        };
        let fee = tariff.rates(both.input_tokens).own(Unit::Request).map_or(0, |rate| rate.times(1));
        if is_flat && [&first, &second].into_iter().all(|usage| is_whole(usage) && !overlaps(usage)) {
            let cost_of = |usage: &Usage| cost(price, usage, &terms(tier)).picos;
            prop_assert_eq!(cost_of(&first) + cost_of(&second), cost_of(&both) + fee);
        }
    }

    /// A cost is its units times their rates, each token once, rounded half up once.
    #[test]
    fn a_cost_is_the_sum_of_its_units_rounded_once(price in shipped(), tier in tier(), usage in usage()) {
        let usage = Usage { seconds: 0, characters: 0, images: 0, ..usage };
        let bill = cost(price, &usage, &terms(tier));
        let (_, tariff) = price.tariff(tier);
        let rates = tariff.rates(usage.input_tokens);
        let rate = |unit: Unit| rates.of(unit).map_or(0, |rate| u128::from(rate.as_picos()));
        let in_turn = |mut left: u64, parts: &[(Unit, u64)], rest: Unit| {
            let mut sum = 0;
            for (unit, count) in parts {
                let taken = left.min(*count);
                left -= taken;
                sum += rate(*unit) * u128::from(taken);
            }
            sum + rate(rest) * u128::from(left)
        };
        let input = [
            (Unit::CachedInput, usage.cached_input_tokens),
            (Unit::CacheWriteLong, usage.cache_write_long_tokens),
            (Unit::CacheWrite, usage.cache_write_tokens),
            (Unit::InputAudio, usage.input_audio_tokens),
            (Unit::InputImage, usage.input_image_tokens),
        ];
        let output = [
            (Unit::OutputAudio, usage.output_audio_tokens),
            (Unit::OutputImage, usage.output_image_tokens),
            (Unit::Reasoning, usage.reasoning_tokens),
        ];
        let searches = rate(Unit::WebSearch) * u128::from(usage.web_searches);
        let request = rates.own(Unit::Request).map_or(0, |rate| u128::from(rate.as_picos()));
        let picos = in_turn(usage.input_tokens, &input, Unit::Input)
            + in_turn(usage.output_tokens, &output, Unit::Output) + searches + request;
        prop_assert_eq!(bill.picos, picos);
        let half_up = i64::try_from(picos / 1_000 + u128::from(picos % 1_000 >= 500)).unwrap();
        prop_assert_eq!(bill.priced, NanoUsd::new(half_up));
    }

    /// At each threshold of each price: exactly the threshold costs the lower rates, one token more re-prices
    /// every token, whatever part of the input was cached.
    #[test]
    fn the_cliff_lies_exactly_above_its_threshold(price in shipped(), tier in tier(), cached in 0..40_000_u64) {
        let (_, tariff) = price.tariff(tier);
        for (below, (above, rates)) in tariff.steps().iter().enumerate() {
            let under = below.checked_sub(1).map_or_else(|| tariff.rates(0), |place| &tariff.steps()[place].1);
            let usage = |input| Usage { input_tokens: input, cached_input_tokens: cached.min(input), ..Usage::default() };
            let by = |rates: &Rates, usage: &Usage| {
                let of = |unit| rates.of(unit).map_or(0, |rate| u128::from(rate.as_picos()));
                of(Unit::Input) * u128::from(usage.input_tokens - usage.cached_input_tokens)
                    + of(Unit::CachedInput) * u128::from(usage.cached_input_tokens)
                    + rates.own(Unit::Request).map_or(0, |rate| u128::from(rate.as_picos()))
            };
            for (input, rates) in [(*above, under), (above + 1, rates)] {
                let usage = usage(input);
                prop_assert_eq!(cost(price, &usage, &terms(tier)).picos, by(rates, &usage), "{}", price.name);
            }
        }
    }
}

#[test]
fn slower_tiers_never_cost_more_and_faster_ones_never_less() {
    let usage =
        Usage { input_tokens: 10_000, cached_input_tokens: 2_000, output_tokens: 3_000, ..Usage::default() };
    let mut compared = 0;
    for price in PRICES.iter() {
        let cost_at = |tier| {
            let bill = cost(price, &usage, &terms(tier));
            (bill.tier != Tier::Standard).then_some(bill.picos)
        };
        let standard = cost(price, &usage, &Terms::default()).picos;
        for slower in [Tier::Batch, Tier::Flex].into_iter().filter_map(cost_at) {
            compared += 1;
            assert!(slower <= standard, "{}", price.name);
        }
        for faster in [Tier::Priority, Tier::Fast, Tier::Ultrafast].into_iter().filter_map(cost_at) {
            compared += 1;
            assert!(faster >= standard, "{}", price.name);
        }
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn priority_is_bought_capacity_where_only_a_speed_has_a_price() {
    let price = PRICES.iter().find(|price| price.name == "anthropic/claude-opus-5").unwrap();
    let usage = Usage { input_tokens: 1_000, ..Usage::default() };
    let at = |terms: Terms<'_>| cost(price, &usage, &terms);
    let standard = at(Terms::default());
    let priority = at(Terms { service_tier: Some("priority"), ..Terms::default() });
    assert_eq!((priority.tier, priority.priced), (Tier::Standard, standard.priced));
    let fast = at(Terms { service_tier: Some("standard"), speed: Some("fast"), batch: false, answers: 1 });
    assert_eq!((fast.tier, fast.picos), (Tier::Fast, standard.picos * 2));
    let batch = at(Terms { service_tier: Some("batch"), ..Terms::default() });
    assert_eq!((batch.tier, batch.picos * 2), (Tier::Batch, standard.picos));
}

#[test]
fn an_image_told_in_tokens_and_by_count_is_charged_once() {
    let price = PRICES.iter().find(|price| price.name == "google/gemini-2.5-flash-image").unwrap();
    let told = Usage {
        input_tokens: 100,
        output_tokens: 1_290,
        output_image_tokens: 1_290,
        images: 1,
        ..Usage::default()
    };
    // 39,000,000 nano-USD by count, 38,700,000 by tokens; and 100 tokens of text at 0.30 per million
    assert_eq!(cost(price, &told, &Terms::default()).priced, NanoUsd::new(39_000_000 + 30_000));
    let kind_not_told = Usage { output_image_tokens: 0, ..told };
    assert_eq!(cost(price, &kind_not_told, &Terms::default()).priced, NanoUsd::new(39_000_000 + 30_000));
    let two = Usage { output_tokens: 2_700, output_image_tokens: 2_700, images: 2, ..told };
    assert_eq!(cost(price, &two, &Terms::default()).priced, NanoUsd::new(2_700 * 30_000 + 30_000));
}
