//! Promises about the catalogue, and ten shipped prices as facts.

use proptest::prelude::*;

use super::*;
use crate::base::units::UsdPerMillion;
use crate::pricing::file::CatalogueFile;
use crate::pricing::file::Day;

fn at(day: &str) -> Timestamp {
    Day::parse(day).unwrap().0
}

fn shipped(host: Option<&str>, model: &str) -> Option<Arc<Price>> {
    Catalogue::shipped().price(host, model, at("2026-11-20"))
}

fn file(models: &str) -> String {
    format!(
        r#"{{"format":"{FORMAT}","version":"v1","sources":[{{"name":"own","version":"1","licence":"-","url":"-"}}],
        "providers":[
          {{"id":"acme","hosts":["api.acme.test"],"owner":true}},
          {{"id":"cloud","hosts":[".cloud.test"],"serves":["acme"]}},
          {{"id":"host","hosts":["api.host.test"]}}],
        "models":[{models}]}}"#
    )
}

fn parse(models: &str) -> Catalogue {
    Catalogue::parse(&file(models)).unwrap()
}

fn section(input: u64, output: u64) -> PriceSection {
    let rate = |picos| UsdPerMillion(PicoUsd::new(picos));
    PriceSection {
        input: rate(input),
        output: rate(output),
        cached_input: None,
        cache_write: None,
        cache_write_long: None,
        web_search: None,
        max_output_tokens: None,
    }
}

fn input_rate(price: Option<&Arc<Price>>) -> Option<u64> {
    price?.standard.rates(0).own(Unit::Input).map(PicoUsd::as_picos)
}

/// Facts of genai-prices 0.2.3 and, for the output limits, LiteLLM 1.109.1, both read on 2026-11-20:
/// input, cached input and output in USD per million, most output tokens.
#[test]
fn ten_well_known_models_cost_what_their_providers_ask() {
    let facts = [
        ("gpt-4o", "2.50", "1.25", "10", Some(16_384)),
        ("gpt-4o-mini", "0.15", "0.075", "0.60", Some(16_384)),
        ("gpt-4.1", "2", "0.50", "8", Some(32_768)),
        ("gpt-5", "1.25", "0.125", "10", Some(128_000)),
        ("gpt-5.6-sol", "4", "0.40", "20", Some(128_000)),
        ("gpt-6-astra", "10", "1", "50", Some(128_000)),
        ("claude-sonnet-4-5", "3", "0.30", "15", Some(64_000)),
        ("claude-opus-4-6", "5", "0.50", "25", Some(128_000)),
        ("gemini-2.5-pro", "1.25", "0.125", "10", Some(65_536)),
        ("gemini-2.5-flash", "0.30", "0.03", "2.50", Some(65_536)),
    ];
    for (model, input, cached, output, limit) in facts {
        let price = shipped(None, model).unwrap();
        let rates = price.standard.rates(0);
        let usd = |text| PicoUsd::parse_usd_per_million(text).unwrap();
        let expected = [(Unit::Input, input), (Unit::CachedInput, cached), (Unit::Output, output)];
        for (unit, text) in expected {
            assert_eq!(rates.own(unit), Some(usd(text)), "{model} {}", unit.as_str());
        }
        assert_eq!(price.max_output_tokens, limit, "{model}");
    }
}

#[test]
fn a_price_that_changed_is_that_of_the_day() {
    let rate = |day| input_rate(Catalogue::shipped().price(None, "gpt-5.6-sol", at(day)).as_ref());
    assert_eq!(rate("2026-08-20"), Some(5_000_000));
    assert_eq!(rate("2026-08-21"), Some(4_000_000));
    let before = Catalogue::shipped().price(None, "gpt-5.6-sol", at("2026-08-20")).unwrap();
    assert_eq!(before.valid_until, Some(at("2026-08-21")));
}

#[test]
fn prices_by_the_hour_follow_the_clock_and_say_how_long_they_hold() {
    let models = r#"{"provider":"acme","name":"owl","rates":{"input":1},
        "dated":[{"hours":["22:00","06:00"],"rates":{"input":9}}]}"#;
    let catalogue = parse(models);
    let midnight = at("2026-11-20").as_secs();
    let price =
        |hour: i64| catalogue.price(None, "owl", Timestamp::from_secs(midnight + hour * 3_600)).unwrap();
    let rates = [0, 5, 6, 21, 22, 23].map(|hour| input_rate(Some(&price(hour))).unwrap());
    assert_eq!(rates, [9, 9, 1, 1, 9, 9]);
    assert_eq!(price(7).valid_until, Some(Timestamp::from_secs(midnight + 22 * 3_600)));
    assert_eq!(price(23).valid_until, Some(Timestamp::from_secs(midnight + 30 * 3_600)));
}

#[test]
fn hours_within_a_day_begin_at_their_first_minute_and_end_before_their_last() {
    let catalogue = parse(
        r#"{"provider":"acme","name":"m","rates":{"input":1},"dated":[{"hours":["06:00","22:00"],"rates":{"input":9}}]}"#,
    );
    let rate = |minute: i64| {
        let moment = Timestamp::from_secs(at("2026-11-20").as_secs() + minute * 60);
        input_rate(catalogue.price(None, "m", moment).as_ref()).unwrap()
    };
    let minutes = [0, 6 * 60 - 1, 6 * 60, 12 * 60, 22 * 60 - 1, 22 * 60, 24 * 60 - 1];
    assert_eq!(minutes.map(rate), [1, 1, 9, 9, 9, 1, 1]);
}

#[test]
fn a_price_holds_until_the_next_one_begins_and_that_one_from_then_on() {
    let catalogue = parse(
        r#"{"provider":"acme","name":"m","rates":{"input":1},"dated":[{"from":"2026-11-20","rates":{"input":9}}]}"#,
    );
    let before = Timestamp::from_nanos(at("2026-11-20").as_nanos() - 1);
    let price = |moment| catalogue.price(None, "m", moment).unwrap();
    assert_eq!(
        (input_rate(Some(&price(before))), price(before).valid_until),
        (Some(1), Some(at("2026-11-20")))
    );
    let from = price(at("2026-11-20"));
    assert_eq!((input_rate(Some(&from)), from.valid_until), (Some(9), None));
}

#[test]
fn a_rate_may_be_as_high_as_its_bound_and_no_higher() {
    let entry = |rate: u64| {
        Catalogue::parse(&file(&format!(r#"{{"provider":"acme","name":"m","rates":{{"input":{rate}}}}}"#)))
    };
    assert!(entry(bound(Unit::Input)).is_ok());
    assert!(matches!(entry(bound(Unit::Input) + 1), Err(CatalogueFault::OutOfBounds { .. })));
    assert_eq!((bound(Unit::Output), bound(Unit::Image)), (10_000_000_000, 1_000_000_000_000_000));
}

#[test]
fn a_tier_of_two_words_takes_from_the_other_what_it_lacks() {
    let catalogue = parse(
        r#"{"provider":"acme","name":"m","rates":{"input":10,"output":20,"cached_input":5},"tiers":[
            {"tier":"fast","rates":{"input":30}},{"tier":"priority","rates":{"input":18,"output":36}},
            {"tier":"flex","rates":{"input":6}}]}"#,
    );
    let price = catalogue.price(None, "m", at("2026-11-20")).unwrap();
    let rates = |tier| {
        let rates = price.tariff(tier).1.rates(0);
        [Unit::Input, Unit::Output, Unit::CachedInput].map(|unit| rates.of(unit).unwrap().as_picos())
    };
    assert_eq!(rates(Tier::Fast), [30, 36, 5]);
    assert_eq!(rates(Tier::Priority), [18, 36, 5]);
    assert_eq!(rates(Tier::Flex), [6, 20, 5], "nobody else takes from another tier");
}

#[test]
fn a_name_may_be_as_long_as_any_catalogue_has_them() {
    let longest = "m".repeat(LONGEST_NAME);
    let catalogue = parse(&format!(r#"{{"provider":"acme","name":"{longest}","rates":{{"input":1}}}}"#));
    assert!(catalogue.price(None, &longest, at("2026-11-20")).is_some());
    let longer = parse(&format!(r#"{{"provider":"acme","name":"{longest}m","rates":{{"input":1}}}}"#));
    assert!(longer.price(None, &format!("{longest}m"), at("2026-11-20")).is_none());
    assert!(catalogue.price(None, "m", at("2026-11-20")).is_none());
}

#[test]
fn a_catalogue_tells_its_sources_and_its_overrides() {
    let catalogue = parse(r#"{"provider":"acme","name":"m","rates":{"input":1}}"#);
    assert_eq!(catalogue.sources()[0].name, "own");
    assert_eq!(catalogue.overridden().count(), 0);
    let sections = IndexMap::from([("mine".to_owned(), section(1, 2))]);
    let with = catalogue.with_overrides(&sections);
    assert_eq!(with.overridden().map(|price| price.name.as_str()).collect::<Vec<_>>(), ["mine"]);
}

#[test]
fn an_unknown_name_has_no_price() {
    for model in ["", "gpt", "gpt-4o-mega", "gpt-99", "openai", "openai/", "/gpt-4o", "ft:", "no such model"]
    {
        assert_eq!(shipped(None, model), None, "{model}");
    }
    assert_eq!(shipped(None, &"x".repeat(10_000)), None);
}

#[test]
fn a_snapshot_costs_what_its_base_does_unless_it_is_listed() {
    let listed = shipped(None, "gpt-4o-2024-05-13").unwrap();
    assert_eq!((listed.matched, listed.name.as_str()), (Match::Name, "openai/gpt-4o-2024-05-13"));
    let snapshot = shipped(None, "claude-sonnet-4-5-20250929").unwrap();
    assert_eq!((snapshot.matched, snapshot.name.as_str()), (Match::Snapshot, "anthropic/claude-sonnet-4-5"));
}

#[test]
fn a_known_host_is_asked_for_its_own_models_and_those_it_serves() {
    let models = r#"{"provider":"acme","name":"fox","rates":{"input":1}},
        {"provider":"host","name":"fox","rates":{"input":2}},
        {"provider":"host","name":"owl","rates":{"input":3}}"#;
    let catalogue = parse(models);
    let price = |host, model| catalogue.price(host, model, at("2026-11-20"));
    let rate = |host, model| input_rate(price(host, model).as_ref());
    assert_eq!(rate(Some("api.acme.test"), "fox"), Some(1));
    assert_eq!(rate(Some("eu.cloud.test"), "fox"), Some(1));
    assert_eq!(rate(Some("api.host.test"), "fox"), Some(2));
    assert_eq!(rate(Some("API.HOST.TEST"), "FOX"), Some(2));
    assert_eq!(rate(Some("api.acme.test"), "owl"), None);
    assert_eq!(rate(Some("notcloud.test"), "owl"), None);
}

#[test]
fn at_an_unknown_host_a_bare_name_belongs_to_its_owner_only() {
    let models = r#"{"provider":"acme","name":"fox","rates":{"input":1}},
        {"provider":"host","name":"fox","rates":{"input":2}},
        {"provider":"host","name":"owl","rates":{"input":3}}"#;
    let catalogue = parse(models);
    let rate = |model| input_rate(catalogue.price(Some("127.0.0.1"), model, at("2026-11-20")).as_ref());
    assert_eq!(rate("fox"), Some(1));
    assert_eq!(rate("owl"), None);
    assert_eq!(rate("host/owl"), Some(3));
    assert_eq!(rate("acme/owl"), None);
}

#[test]
fn azure_prices_the_makers_models_at_the_makers_price() {
    let price = shipped(Some("my-resource.openai.azure.com"), "gpt-4o-2024-08-06").unwrap();
    assert_eq!(input_rate(Some(&price)), Some(2_500_000));
}

#[test]
fn an_override_wins_over_its_exact_name_and_shows_in_the_version() {
    let sections = IndexMap::from([("gpt-4o".to_owned(), section(1, 2))]);
    let own = Catalogue::shipped().with_overrides(&sections);
    let day = at("2026-11-20");
    let price = own.price(Some("api.openai.com"), "gpt-4o", day);
    assert_eq!(input_rate(price.as_ref()), Some(1));
    assert_eq!(input_rate(own.price(None, "GPT-4o", day).as_ref()), Some(1), "case is no way around it");
    assert_eq!(input_rate(own.price(None, "gpt-4o-mini", day).as_ref()), Some(150_000));
    let (base, suffix) = own.version().split_once("+config-").unwrap();
    assert_eq!((base, suffix.len()), (Catalogue::shipped().version(), 8));
    let dearer = IndexMap::from([("gpt-4o".to_owned(), section(1, 3))]);
    assert_ne!(own.version(), Catalogue::shipped().with_overrides(&dearer).version());
    assert_eq!(Catalogue::shipped().with_overrides(&IndexMap::new()).version(), base);
}

#[test]
fn a_catalogue_that_contradicts_itself_is_refused() {
    let fault = |models: &str| Catalogue::parse(&file(models)).unwrap_err();
    let fox = r#"{"provider":"acme","name":"fox","rates":{"input":1}}"#;
    assert!(matches!(
        fault(r#"{"provider":"who","name":"a","rates":{"input":1}}"#),
        CatalogueFault::NoProvider { .. }
    ));
    assert!(matches!(fault(r#"{"provider":"acme","name":"a","rates":{}}"#), CatalogueFault::NoRates(_)));
    assert!(matches!(fault(&format!("{fox},{fox}")), CatalogueFault::Twice(_)));
    let slip = r#"{"provider":"acme","name":"a","rates":{"input":[1,9,99000000000]}}"#;
    assert!(matches!(fault(slip), CatalogueFault::OutOfBounds { .. }));
    assert!(matches!(fault(r#"{"provider":"acme","name":"a","ratez":{}}"#), CatalogueFault::Shape(_)));
    assert!(matches!(Catalogue::parse("[]"), Err(CatalogueFault::Shape(_))));
    let newer = file(fox).replace(FORMAT, "tollgate-prices/9");
    assert!(matches!(Catalogue::parse(&newer), Err(CatalogueFault::Format(_))));
}

#[test]
fn the_shipped_file_is_as_the_importer_writes_it_and_small() {
    let text = include_str!("../../config/prices.json");
    let read: CatalogueFile = serde_json::from_str(text).unwrap();
    assert_eq!(read.render(), text);
    assert!(text.len() < 600_000, "{}", text.len());
    let sources: Vec<_> =
        read.sources.iter().map(|note| (note.name.as_str(), note.licence.as_str())).collect();
    assert_eq!(sources, [("genai-prices", "MIT"), ("litellm", "MIT")]);
}

proptest! {
    #[test]
    fn an_override_is_the_price_of_its_name_at_every_host(
        name in "[a-zA-Z0-9:/._@-]{1,40}", input in 0..1_000_000_u64, host in proptest::option::of("[a-z.]{1,20}"),
    ) {
        let sections = IndexMap::from([(name.clone(), section(input, 7))]);
        let price = Catalogue::shipped().with_overrides(&sections).price(host.as_deref(), &name, at("2026-11-20"));
        prop_assert_eq!(input_rate(price.as_ref()), Some(input));
    }

    #[test]
    fn no_name_makes_the_catalogue_panic(name in "\\PC{0,60}", host in "\\PC{0,30}") {
        let price = Catalogue::shipped().price(Some(&host), &name, at("2026-11-20"));
        prop_assert!(price.is_none_or(|price| !price.name.is_empty()));
    }
}
