use super::*;
use crate::base::units::{Span, Usd};

fn section() -> BudgetSection {
    BudgetSection {
        limit_usd: Some(Usd(NanoUsd::from_usd(500))),
        every: Some(Every::Month),
        time_zone: "Europe/Berlin".into(),
        warn_at: vec![Percent(90), Percent(75), Percent(90)],
        ..BudgetSection::default()
    }
}

#[test]
fn budgets_are_named_by_scope_window_and_unit() {
    let tokens = BudgetSection { limit_usd: None, limit_tokens: Some(5), ..section() };
    let key = Scope::Key("search".into(), "prod".into());
    let specs = BudgetSpec::list(&key, &[section(), tokens, section()]).unwrap();
    let ids: Vec<_> = specs.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(
        ids,
        ["key:search/prod/month-usd", "key:search/prod/month-tokens", "key:search/prod/month-usd#2"]
    );
    assert_eq!(specs[0].warn_at, [Percent(75), Percent(90)]);
    assert_eq!(specs[0].counted.scope.to_string(), "key search/prod");
}

#[test]
fn what_is_not_a_budget_is_refused_with_its_place() {
    let cases = [
        (BudgetSection { limit_usd: None, ..section() }, BudgetFault::NoLimit),
        (BudgetSection { limit_tokens: Some(1), ..section() }, BudgetFault::TwoLimits),
        (BudgetSection { limit_usd: Some(Usd(NanoUsd::new(-1))), ..section() }, BudgetFault::Negative),
        (
            BudgetSection { time_zone: "Mars/Base".into(), ..section() },
            BudgetFault::TimeZone { name: "Mars/Base".into() },
        ),
    ];
    for (bad, fault) in cases {
        let listed = BudgetSpec::list(&Scope::Team("search".into()), &[section(), bad]);
        assert_eq!(listed, Err((1, fault)));
    }
}

#[test]
fn what_a_budget_counts_is_in_its_name_and_where_windows_begin_is_not() {
    let id = |section: BudgetSection| BudgetSpec::new(Scope::Everything, &section).unwrap().id;
    let user = || BudgetSection { per: Some(Per::User), ..section() };
    assert_eq!(id(user()), "everything/month-usd-per-user");
    assert_eq!(id(BudgetSection { reset_day: Some(15), time_zone: "UTC".into(), ..user() }), id(user()));
    let tag = BudgetSection { per: Some(Per::Tag("feature".into())), ..section() };
    assert_eq!(id(tag), "everything/month-usd-per-tag:feature");
    let rolling = Some(Span(std::time::Duration::from_hours(24)));
    assert_eq!(id(BudgetSection { every: None, rolling, ..section() }), "everything/rolling-1d-usd");
}

#[test]
fn a_window_that_cannot_be_is_refused() {
    let rolling = |secs| Some(Span(std::time::Duration::from_secs(secs)));
    let cases = [
        (BudgetSection { every: None, ..section() }, BudgetFault::NoWindow),
        (BudgetSection { rolling: rolling(3_600), ..section() }, BudgetFault::TwoWindows),
        (BudgetSection { every: None, rolling: rolling(59), ..section() }, BudgetFault::Rolling),
        (BudgetSection { every: None, rolling: rolling(367 * 86_400), ..section() }, BudgetFault::Rolling),
        (BudgetSection { reset_day: Some(0), ..section() }, BudgetFault::ResetDay),
        (BudgetSection { reset_day: Some(32), ..section() }, BudgetFault::ResetDay),
        (BudgetSection { first_day: Some(WeekDay::Sunday), ..section() }, BudgetFault::FirstDay),
        (BudgetSection { every: Some(Every::Day), reset_day: Some(1), ..section() }, BudgetFault::ResetDay),
    ];
    for (bad, fault) in cases {
        assert_eq!(BudgetSpec::new(Scope::Everything, &bad), Err(fault));
    }
}

#[test]
fn a_rolling_window_is_between_a_minute_and_a_year() {
    let rolling = |secs: u64| {
        let span = std::time::Duration::from_secs(secs);
        let section = BudgetSection { every: None, rolling: Some(Span(span)), ..section() };
        BudgetSpec::new(Scope::Everything, &section).map(|spec| spec.period)
    };
    let (shortest, longest) = (60, 366 * 86_400);
    for secs in [shortest, longest] {
        assert_eq!(rolling(secs), Ok(Period::Rolling(std::time::Duration::from_secs(secs))));
    }
    for secs in [shortest - 1, longest + 1] {
        assert_eq!(rolling(secs), Err(BudgetFault::Rolling));
    }
}

#[test]
fn words_of_the_config_are_read_as_they_are_shown() {
    for when in [WhenSpent::Refuse, WhenSpent::Cut, WhenSpent::Clamp, WhenSpent::Warn] {
        let word = format!("\"{}\"", when.as_str());
        assert_eq!(serde_json::from_str::<WhenSpent>(&word).unwrap(), when);
    }
    let per = |text: &str| serde_json::from_value::<Per>(text.into()).ok();
    assert_eq!(per("tag:env"), Some(Per::Tag("env".into())));
    assert_eq!((per("tag:"), per("tag"), per("day")), (None, None, None));
}
