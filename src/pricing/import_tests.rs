//! Promises about imports, on small files of our own in both formats.

use proptest::prelude::*;

use super::*;
use crate::base::clock::Timestamp;
use crate::pricing::file::Day;
use crate::pricing::price::{Match, Price, Tier};
use crate::pricing::rates::Rates;

const GENAI: &str = include_str!("../../tests/fixtures/prices/genai.json");
const LITELLM: &str = include_str!("../../tests/fixtures/prices/litellm.json");

fn source(text: &str) -> Source<'_> {
    Source { text, version: "1.2.3" }
}

fn plan<'a>(base: &'a str, merge: Option<&'a str>) -> Plan<'a> {
    Plan { base: source(base), merge: merge.map(source), version: "test", providers: &[] }
}

fn imported(base: &str, merge: Option<&str>) -> (Catalogue, Report) {
    let imported = import(&plan(base, merge)).unwrap();
    (Catalogue::parse(&imported.file.render()).unwrap(), imported.report)
}

fn price(catalogue: &Catalogue, model: &str, day: &str) -> Price {
    let at: Timestamp = Day::parse(day).unwrap().0;
    catalogue.price(None, model, at).unwrap_or_else(|| panic!("{model} has a price")).as_ref().clone()
}

fn own(rates: &Rates) -> Vec<(Unit, u64)> {
    rates.iter().map(|(unit, rate)| (unit, rate.as_picos())).collect()
}

#[test]
fn genai_prices_come_over_with_steps_dates_and_tiers() {
    let (catalogue, _) = imported(GENAI, None);
    let before = price(&catalogue, "acme/acme-large", "2026-08-20");
    let rates = before.standard.rates(272_000);
    assert_eq!(
        own(rates),
        [
            (Unit::Input, 4_000_000),
            (Unit::CachedInput, 400_000),
            (Unit::Output, 20_500_000),
            (Unit::WebSearch, 10_000_000_000),
        ]
    );
    assert_eq!(own(before.standard.rates(272_001))[0], (Unit::Input, 8_000_000));
    let after = price(&catalogue, "acme/acme-large", "2026-10-14");
    assert_eq!(own(after.standard.rates(900_000)), [(Unit::Input, 3_000_000), (Unit::Output, 15_000_000)]);
    let tiers: Vec<_> = after.tiers.iter().map(|(tier, tariff)| (*tier, own(tariff.rates(0))[0].1)).collect();
    assert_eq!(tiers, [(Tier::Batch, 1_500_000), (Tier::Fast, 9_000_000)]);
    assert!(
        price(&catalogue, "acme/acme-large", "2026-10-13").tiers.iter().all(|(tier, _)| *tier == Tier::Fast)
    );
}

#[test]
fn hours_and_characters_become_rates_per_second_and_character() {
    let (catalogue, _) = imported(GENAI, None);
    let ear = price(&catalogue, "acme/acme-ear", "2026-11-20");
    assert_eq!(own(ear.standard.rates(0)), [(Unit::Second, 100_000_000)]);
    let voice = price(&catalogue, "acme/acme-voice", "2026-11-20");
    assert_eq!(own(voice.standard.rates(0)), [(Unit::Character, 15_000_000)]);
}

#[test]
fn only_names_are_taken_out_of_matching_rules() {
    let (catalogue, _) = imported(GENAI, None);
    let at = Day::parse("2026-11-20").unwrap().0;
    let matched = |model: &str| catalogue.price(None, model, at).map(|price| price.matched);
    assert_eq!(matched("acme/acme-large-0613"), Some(Match::Alias));
    assert_eq!(matched("acme/acme-big-20260101"), Some(Match::Snapshot));
    assert_eq!(matched("acme/acme-large.v2-20260101"), Some(Match::Snapshot));
    assert_eq!(matched("acme/acme-big-brother"), None);
    assert_eq!(matched("acme/extra-large"), None);
    assert_eq!(
        catalogue.price(Some("api.acme.test"), "acme-large", at).map(|price| price.matched),
        Some(Match::Name)
    );
}

#[test]
fn what_cannot_be_used_is_left_out_and_counted_never_free() {
    let (catalogue, report) = imported(GENAI, None);
    let at = Day::parse("2026-11-20").unwrap().0;
    for model in ["acme-paper", "acme-secret", "acme-slip", "acme-refund"] {
        assert_eq!(catalogue.price(Some("api.acme.test"), model, at), None, "{model}");
    }
    assert_eq!(report.taken, 5);
    assert_eq!(
        report.left_out,
        BTreeMap::from([
            ("a price of unknown shape", 1),
            ("a rate beyond belief", 1),
            ("no price in a unit that is counted here", 2),
        ])
    );
    assert_eq!(report.unknown_units.get("storage_searches_kcount"), Some(&1));
    assert_eq!(report.rounded, 1);
}

#[test]
fn litellm_names_are_composed_of_unit_threshold_and_tier() {
    let (catalogue, report) = imported(LITELLM, None);
    let long = price(&catalogue, "acme/acme-long", "2026-11-20");
    assert_eq!(own(long.standard.rates(272_000)), [(Unit::Input, 1_000_000), (Unit::Output, 10_000_000)]);
    assert_eq!(own(long.standard.rates(272_001)), [(Unit::Input, 2_000_000), (Unit::Output, 15_000_000)]);
    let (_, priority) = long.tariff(Tier::Priority);
    assert_eq!(own(priority.rates(272_001))[0], (Unit::Input, 4_000_000));
    let large = price(&catalogue, "acme/acme-large", "2026-11-20");
    assert_eq!(
        own(large.standard.rates(0)),
        [
            (Unit::Input, 3_000_000),
            (Unit::CachedInput, 300_000),
            (Unit::CacheWrite, 3_750_000),
            (Unit::CacheWriteLong, 6_000_000),
            (Unit::Output, 15_000_000),
            (Unit::WebSearch, 20_000_000_000),
        ]
    );
    assert_eq!((large.max_output_tokens, large.context_window), (Some(64_000), Some(400_000)));
    assert_eq!(report.unknown_units, BTreeMap::from([("a step without a base".to_owned(), 1)]));
    assert_eq!(report.rounded, 1);
}

#[test]
fn litellm_measures_are_taken_where_they_are_the_price() {
    let (catalogue, report) = imported(LITELLM, None);
    let rates = |model: &str| own(price(&catalogue, model, "2026-11-20").standard.rates(0));
    assert_eq!(rates("acme/acme-hear"), [(Unit::Second, 100_000_000)]);
    assert_eq!(rates("acme/acme-transcribe"), [(Unit::Input, 2_500_000), (Unit::Output, 10_000_000)]);
    assert_eq!(rates("acme/acme-paint"), [(Unit::Image, 40_000_000_000)]);
    assert_eq!(rates("acme/acme-judge"), [(Unit::Input, 0)]);
    assert_eq!(rates("grok-test"), [(Unit::Input, 2_000_000)]);
    let at = Day::parse("2026-11-20").unwrap().0;
    for model in ["acme/acme-zero", "acme/acme-film", "orphan", "sample_spec"] {
        assert_eq!(catalogue.price(None, model, at), None, "{model}");
    }
    assert_eq!(report.left_out.values().sum::<usize>(), 3);
}

#[test]
fn a_merge_fills_gaps_and_replaces_nothing() {
    let (catalogue, report) = imported(GENAI, Some(LITELLM));
    let large = price(&catalogue, "acme/acme-large", "2026-11-20");
    assert_eq!(large.max_output_tokens, Some(64_000));
    assert_eq!(
        own(large.standard.rates(0)),
        [
            (Unit::Input, 3_000_000),
            (Unit::CachedInput, 300_000),
            (Unit::CacheWrite, 3_750_000),
            (Unit::CacheWriteLong, 6_000_000),
            (Unit::Output, 15_000_000),
            (Unit::WebSearch, 20_000_000_000),
        ]
    );
    let (tier, batch) = large.tariff(Tier::Batch);
    assert_eq!(
        (tier, batch.rates(0).own(Unit::CachedInput).map(|rate| rate.as_picos())),
        (Tier::Batch, Some(150_000))
    );
    assert_eq!(large.tariff(Tier::Flex).0, Tier::Flex);
    assert_eq!((report.taken, report.filled), (5, 2));
    let before = price(&catalogue, "acme/acme-large", "2026-08-20");
    assert_eq!(own(before.standard.rates(0))[1], (Unit::CachedInput, 400_000));
}

#[test]
fn where_the_sources_disagree_only_limits_are_filled() {
    let (catalogue, _) = imported(GENAI, Some(LITELLM));
    let owl = price(&catalogue, "acme/acme-owl", "2026-11-20");
    assert_eq!(own(owl.standard.rates(0)), [(Unit::Input, 135_000)]);
    assert_eq!(owl.max_output_tokens, Some(900));
}

#[test]
fn a_snapshot_or_a_served_model_at_its_base_price_gets_no_line() {
    let (catalogue, report) = imported(GENAI, Some(LITELLM));
    let has =
        |provider, name| catalogue.entries().any(|entry| entry.provider == provider && entry.name == name);
    assert!(!has("acme", "acme-large-20260101") && !has("cloud", "acme-large"));
    assert!(has("acme", "acme-long") && has("x-ai", "grok-test"));
    assert_eq!(report.left_out.get("as its base or its maker's model"), Some(&2));
}

#[test]
fn only_the_providers_asked_for_come_over() {
    let only = ["cloud".to_owned()];
    let imported = import(&Plan { providers: &only, ..plan(GENAI, Some(LITELLM)) }).unwrap();
    assert!(imported.file.models.iter().all(|entry| entry.provider == "cloud"));
    assert_eq!(imported.file.sources[1].version, "1.2.3");
    let none = ["nobody".to_owned()];
    assert_eq!(import(&Plan { providers: &none, ..plan(GENAI, None) }).unwrap_err(), ImportFault::Empty);
}

#[test]
fn what_is_no_public_catalogue_is_refused() {
    for text in ["", "tea", "3", "[1]", "[{}]", "{\"a\":", "{\"a\":1}"] {
        assert!(import(&plan(text, None)).is_err(), "{text}");
    }
}

#[test]
fn a_tenfold_jump_is_noticed() {
    let known = imported(LITELLM, None).0;
    let slipped = LITELLM.replace("\"input_cost_per_token\":7e-06", "\"input_cost_per_token\":7.1e-05");
    let new = import(&plan(&slipped, None)).unwrap().file;
    assert_eq!(jumps(&known, &new), ["acme/acme-owl"]);
    assert!(jumps(&known, &import(&plan(LITELLM, None)).unwrap().file).is_empty());
}

#[test]
fn numbers_are_read_from_their_text_to_the_pico_dollar() {
    for (text, exponent, divisor, rate) in [
        ("2.5e-06", 0, 1, (2_500_000, false)),
        ("0.0000025", 0, 1, (2_500_000, false)),
        ("2.50", 6, 1, (2_500_000, false)),
        ("10", 3, 1, (10_000_000_000, false)),
        ("0.36", 0, 3_600, (100_000_000, false)),
        ("1.0000000000000001e-07", 0, 1, (100_000, true)),
        ("3.2857142857142855e-08", 0, 1, (32_857, true)),
        ("0", 0, 1, (0, false)),
    ] {
        assert_eq!(picos(text, exponent, divisor), Ok(rate), "{text}");
    }
    for text in ["-1e-06", "-1e-20", "1e40", "1.70141183460469231731687e10", "NaN", "\"3\"", ""] {
        assert!(picos(text, 0, 1).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_importer_panic(text in "[\\[{]\\PC{0,80}") {
        prop_assert!(import(&plan(&text, None)).is_err());
    }

    #[test]
    fn a_rate_in_whole_picos_comes_over_exactly(rate in 0..10_000_000_000_u64) {
        prop_assert_eq!(picos(&format!("{rate}e-12"), 0, 1), Ok((rate, false)));
        let per_million = format!("{}.{:06}", rate / 1_000_000, rate % 1_000_000);
        prop_assert_eq!(picos(&per_million, 6, 1), Ok((rate, false)));
    }
}
