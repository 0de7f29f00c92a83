use super::*;
use crate::base::units::Usd;

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
