//! Promises about cost and ceiling.

use proptest::prelude::*;

use super::*;
use crate::base::clock::Timestamp;
use crate::base::money::PicoUsd;
use crate::pricing::catalogue::Catalogue;
use crate::pricing::file::Day;
use crate::pricing::rates::Tariff;
use crate::pricing::section::PriceSection;

fn now() -> Timestamp {
    Day::parse("2026-11-20").unwrap().0
}

fn shipped(model: &str) -> Price {
    Catalogue::shipped().price(None, model, now()).unwrap().as_ref().clone()
}

fn rates(of: &[(Unit, u64)]) -> Rates {
    of.iter().fold(Rates::default(), |rates, (unit, picos)| rates.with(*unit, PicoUsd::new(*picos)))
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage { input_tokens: input, output_tokens: output, ..Usage::default() }
}

fn nanos(price: &Price, usage: &Usage) -> Option<i64> {
    cost(price, usage, &Terms::default()).amount.map(NanoUsd::as_nanos)
}

#[test]
fn cached_tokens_leave_the_input_before_it_is_priced() {
    let usage = Usage { cached_input_tokens: 400, ..tokens(1_000, 100) };
    // gpt-4o: 600 at 2.50, 400 at 1.25, 100 at 10 USD per million
    assert_eq!(nanos(&shipped("gpt-4o"), &usage), Some(1_500_000 + 500_000 + 1_000_000));
}

#[test]
fn wire_37_one_token_over_the_threshold_reprices_all_tokens() {
    let price = shipped("gpt-6-astra");
    assert_eq!(nanos(&price, &tokens(272_000, 1_000)), Some(272_000 * 10_000 + 1_000 * 50_000));
    assert_eq!(nanos(&price, &tokens(272_001, 1_000)), Some(272_001 * 20_000 + 1_000 * 75_000));
}

#[test]
fn cached_tokens_count_towards_the_threshold() {
    let usage = Usage { cached_input_tokens: 272_000, ..tokens(272_001, 0) };
    assert_eq!(nanos(&shipped("gpt-6-astra"), &usage), Some(272_000 * 2_000 + 20_000));
}

#[test]
fn wire_37_the_tier_is_the_one_the_answer_names() {
    let price = shipped("gpt-6-astra");
    let costs = |terms: Terms<'_>| cost(&price, &tokens(1_000, 0), &terms).amount.map(NanoUsd::as_nanos);
    let tier = |word| Terms { service_tier: Some(word), ..Terms::default() };
    let standard = Some(10_000_000);
    for word in ["default", "auto", "standard", "scale", "something-new"] {
        assert_eq!(costs(tier(word)), standard, "{word}");
    }
    assert_eq!(costs(tier("flex")), Some(5_000_000));
    assert_eq!(costs(tier("priority")), Some(20_000_000));
    assert_eq!(costs(tier("fast")), Some(20_000_000));
    assert_eq!(costs(tier("ultrafast")), Some(60_000_000));
    assert_eq!(costs(Terms { batch: true, ..Terms::default() }), Some(5_000_000));
}

#[test]
fn a_speed_has_its_own_price() {
    let fast = Tariff::flat(rates(&[(Unit::Input, 30), (Unit::Output, 150)]));
    let price = Price { tiers: vec![(Tier::Fast, fast)], ..plain() };
    let terms = Terms { service_tier: Some("standard"), speed: Some("fast"), batch: false, answers: 1 };
    assert_eq!(cost(&price, &tokens(1_000, 0), &terms).priced, NanoUsd::new(30));
    assert_eq!(cost(&price, &tokens(1_000, 0), &terms).tier, Tier::Fast);
}

#[test]
fn a_tier_without_rates_costs_the_standard_ones_and_says_so() {
    let terms = Terms { service_tier: Some("flex"), ..Terms::default() };
    let bill = cost(&plain(), &tokens(1_000, 0), &terms);
    assert_eq!((bill.tier, bill.priced), (Tier::Standard, NanoUsd::new(10)));
}

#[test]
fn a_batch_costs_half() {
    for model in ["gpt-4o", "claude-opus-4-6", "gpt-6-astra"] {
        let price = shipped(model);
        let whole = cost(&price, &tokens(10_000, 1_000), &Terms::default()).priced.as_nanos();
        let batch = Terms { batch: true, ..Terms::default() };
        assert_eq!(cost(&price, &tokens(10_000, 1_000), &batch).priced.as_nanos() * 2, whole, "{model}");
    }
}

#[test]
fn cache_writes_cost_by_their_lifetime() {
    let price = shipped("claude-opus-4-6");
    let short = Usage { cache_write_tokens: 1_000, ..tokens(1_000, 0) };
    let long = Usage { cache_write_long_tokens: 1_000, ..tokens(1_000, 0) };
    let read = Usage { cached_input_tokens: 1_000, ..tokens(1_000, 0) };
    // 5 USD per million plain: 1.25 times for 5 minutes, twice for an hour, a tenth to read
    assert_eq!(nanos(&price, &short), Some(6_250_000));
    assert_eq!(nanos(&price, &long), Some(10_000_000));
    assert_eq!(nanos(&price, &read), Some(500_000));
}

#[test]
fn parts_larger_than_their_total_are_cut_down_and_flagged() {
    let usage = Usage { cached_input_tokens: 1_500, cache_write_tokens: 9, ..tokens(1_000, 0) };
    let bill = cost(&shipped("gpt-4o"), &usage, &Terms::default());
    assert_eq!((bill.priced, bill.clamped), (NanoUsd::new(1_250_000), true));
    let honest = cost(&shipped("gpt-4o"), &tokens(1_000, 0), &Terms::default());
    assert!(!honest.clamped);
}

#[test]
fn only_parts_that_cannot_be_are_flagged() {
    let price = plain();
    let is_cut = |usage: Usage| cost(&price, &usage, &Terms::default()).clamped;
    let audio =
        |audio, image| Usage { input_audio_tokens: audio, input_image_tokens: image, ..tokens(10, 10) };
    assert_eq!([is_cut(audio(4, 5)), is_cut(audio(5, 5)), is_cut(audio(5, 6))], [false, false, true]);
    let made =
        |audio, image| Usage { output_audio_tokens: audio, output_image_tokens: image, ..tokens(10, 10) };
    assert_eq!([is_cut(made(4, 5)), is_cut(made(5, 5)), is_cut(made(5, 6))], [false, false, true]);
    let thought = |reasoning| Usage { reasoning_tokens: reasoning, ..tokens(10, 10) };
    assert_eq!([is_cut(thought(9)), is_cut(thought(10)), is_cut(thought(11))], [false, false, true]);
    // cached audio is cached and audio
    assert!(!is_cut(Usage { cached_input_tokens: 10, ..audio(10, 0) }));
}

#[test]
fn a_ceiling_needs_a_rate_of_something_that_carries_the_answer() {
    let only = |unit: Unit| Price::flat("only", rates(&[(unit, 1_000_000)]));
    assert_eq!(ceiling_at(&only(Unit::Input), Tier::Standard, 3, 7), Some(NanoUsd::new(3_000)));
    assert_eq!(ceiling_at(&only(Unit::Output), Tier::Standard, 3, 7), Some(NanoUsd::new(7_000)));
    let most = |seconds, searches| Usage { seconds, web_searches: searches, ..tokens(3, 7) };
    let second = only(Unit::Second);
    assert_eq!(ceiling_of(&second, Tier::Standard, &most(0, 0)), None, "nothing of it is bounded by seconds");
    assert_eq!(ceiling_of(&second, Tier::Standard, &most(2, 0)), Some(NanoUsd::new(2_000)));
    assert_eq!(
        ceiling_of(&only(Unit::WebSearch), Tier::Standard, &most(0, 2)),
        None,
        "a search is no answer"
    );
    let both = Price::flat("both", rates(&[(Unit::Input, 1_000_000), (Unit::WebSearch, 5_000_000)]));
    assert_eq!(ceiling_of(&both, Tier::Standard, &most(0, 2)), Some(NanoUsd::new(13_000)));
}

#[test]
fn a_price_of_the_config_is_what_it_says() {
    use crate::pricing::price::{Match, from_section};
    let section: PriceSection =
        serde_json::from_str(r#"{"input":"1","output":"2","cached_input":"0.5","max_output_tokens":900}"#)
            .unwrap();
    let price = from_section("mine", &section);
    assert_eq!((price.max_output_tokens, price.matched), (Some(900), Match::Override));
    assert_eq!(nanos(&price, &Usage { cached_input_tokens: 2, ..tokens(4, 1) }), Some(5_000));
    let words = [Match::Override, Match::Name, Match::Alias, Match::Snapshot].map(Match::as_str);
    let said =
        ["the config's own price", "its name", "another name of the entry", "a snapshot of the entry's name"];
    assert_eq!(words, said);
}

#[test]
fn reasoning_is_output_and_counted_once() {
    let usage = Usage { reasoning_tokens: 80, ..tokens(0, 100) };
    assert_eq!(nanos(&shipped("gpt-4o"), &usage), Some(1_000_000));
}

#[test]
fn halves_of_a_nano_dollar_round_up_once_over_the_whole_request() {
    let price = Price::flat("x", rates(&[(Unit::Input, 250), (Unit::Output, 250)]));
    assert_eq!(nanos(&price, &tokens(1, 0)), Some(0));
    assert_eq!(nanos(&price, &tokens(1, 1)), Some(1));
    assert_eq!(nanos(&price, &tokens(2, 3)), Some(1));
}

#[test]
fn what_has_no_rate_is_unknown_and_never_free() {
    let searched = Usage { web_searches: 1, ..tokens(1_000, 0) };
    let bill = cost(&plain(), &searched, &Terms::default());
    assert_eq!((bill.amount, bill.unpriced), (None, Some(Unit::WebSearch)));
    assert_eq!(bill.priced, NanoUsd::new(10));
    let seconds_only = Price::flat("ears", rates(&[(Unit::Second, 1_000)]));
    assert_eq!(cost(&seconds_only, &tokens(10, 0), &Terms::default()).amount, None);
    assert_eq!(cost(&plain(), &Usage { seconds: 3, ..Usage::default() }, &Terms::default()).amount, None);
}

#[test]
fn tokens_and_measures_of_one_answer_need_one_price() {
    let ears = Price::flat("ears", rates(&[(Unit::Second, 100_000_000)]));
    assert_eq!(nanos(&ears, &Usage { seconds: 9, ..tokens(50, 20) }), Some(900_000));
    let painter = Price::flat("painter", rates(&[(Unit::Input, 1_000), (Unit::Output, 2_000)]));
    assert_eq!(nanos(&painter, &Usage { images: 1, ..tokens(1, 1) }), Some(3));
}

#[test]
fn the_row_keeps_only_the_rates_that_applied() {
    let usage = Usage { cached_input_tokens: 10, ..tokens(100, 5) };
    let bill = cost(&shipped("gpt-4o"), &usage, &Terms::default());
    assert_eq!(bill.rates.to_json(), r#"{"input":2500000,"cached_input":1250000,"output":10000000}"#);
}

#[test]
fn a_ceiling_thinks_of_the_dearest_token_within_reach() {
    let price = shipped("gpt-6-astra");
    // long cache writes; the step lies beyond 272,000
    assert_eq!(ceiling(&price, 272_000, 0), Some(NanoUsd::new(272_000 * 25_000)));
    assert_eq!(ceiling(&price, 272_001, 1), Some(NanoUsd::new(272_001 * 50_000 + 75_000)));
    assert_eq!(ceiling(&shipped("whisper-1"), 10, 10), None);
    assert_eq!(ceiling_at(&price, Tier::Flex, 10, 0), Some(NanoUsd::new(10 * 12_500)));
}

fn plain() -> Price {
    Price::flat("plain", rates(&[(Unit::Input, 10), (Unit::Output, 50)]))
}

fn any_rates() -> impl Strategy<Value = Rates> {
    let units = [Unit::INPUT_TOKENS.as_slice(), Unit::OUTPUT_TOKENS.as_slice()].concat();
    let some = proptest::collection::vec(proptest::option::of(0..1_000_000_000_u64), units.len());
    (some, 0..1_000_000_000_u64, 0..1_000_000_000_u64).prop_map(move |(own, input, output)| {
        let own = units.iter().zip(own).filter_map(|(unit, rate)| Some((*unit, rate?)));
        let all: Vec<_> = own.chain([(Unit::Input, input), (Unit::Output, output)]).collect();
        rates(&all)
    })
}

/// Prices whose rates do not fall as the input grows, as those of all providers.
fn any_price() -> impl Strategy<Value = Price> {
    (any_rates(), 1..500_000_u64, 1..4_u64).prop_map(|(base, above, times)| {
        let dearer = base.iter().fold(Rates::default(), |all, (unit, rate)| {
            all.with(unit, PicoUsd::new(rate.as_picos() * times))
        });
        let standard = Tariff::flat(base).with_step(above, dearer);
        Price { standard, ..Price::flat("any", base) }
    })
}

prop_compose! {
    fn any_usage()(
        input_tokens in 0..1_000_000_u64, cached in 0..1_000_000_u64, write in 0..1_000_000_u64,
        long in 0..1_000_000_u64, in_audio in 0..1_000_000_u64, in_image in 0..1_000_000_u64,
        output_tokens in 0..1_000_000_u64, reasoning in 0..1_000_000_u64, out_audio in 0..1_000_000_u64,
        out_image in 0..1_000_000_u64,
    ) -> Usage {
        Usage {
            input_tokens,
            cached_input_tokens: cached,
            cache_write_tokens: write,
            cache_write_long_tokens: long,
            input_audio_tokens: in_audio,
            input_image_tokens: in_image,
            output_tokens,
            reasoning_tokens: reasoning,
            output_audio_tokens: out_audio,
            output_image_tokens: out_image,
            ..Usage::default()
        }
    }
}

proptest! {
    #[test]
    fn no_usage_within_its_bounds_costs_more_than_the_ceiling(
        price in any_price(), usage in any_usage(), more_in in 0..1_000_u64, more_out in 0..1_000_u64,
    ) {
        let most = ceiling(&price, usage.input_tokens + more_in, usage.output_tokens + more_out);
        prop_assert!(Some(cost(&price, &usage, &Terms::default()).priced) <= most);
    }

    #[test]
    fn more_tokens_never_cost_less(
        price in any_price(), usage in any_usage(), more_in in 0..300_000_u64, more_out in 0..300_000_u64,
    ) {
        let larger = Usage {
            input_tokens: usage.input_tokens + more_in,
            output_tokens: usage.output_tokens + more_out,
            ..usage
        };
        let price_of = |usage: &Usage| cost(&price, usage, &Terms::default()).priced;
        prop_assert!(price_of(&usage) <= price_of(&larger));
    }

    #[test]
    fn each_token_is_priced_exactly_once(usage in any_usage()) {
        let (counts, _) = split(&usage);
        let sum = |units: &[Unit]| -> u64 {
            counts.iter().filter(|(unit, _)| units.contains(unit)).map(|(_, count)| count).sum()
        };
        prop_assert_eq!(sum(&Unit::INPUT_TOKENS), usage.input_tokens);
        prop_assert_eq!(sum(&Unit::OUTPUT_TOKENS), usage.output_tokens);
    }
}
