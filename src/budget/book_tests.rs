//! The book itself: which budgets are in force, and what each says of itself.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::super::section::{BudgetSection, Every, Per};
use super::super::{BudgetSpec, Need, Scope, Spender, reserve, watch};
use super::*;
use crate::base::money::NanoUsd;

const NOON: Timestamp = Timestamp::from_secs(1_700_049_600);

fn section(every: Every, per: Option<Per>) -> BudgetSection {
    BudgetSection { limit_tokens: Some(10), every: Some(every), per, ..BudgetSection::default() }
}

fn spec(scope: Scope, every: Every, per: Option<Per>) -> BudgetSpec {
    BudgetSpec::new(scope, &section(every, per)).unwrap()
}

fn team() -> Scope {
    Scope::Team("search".into())
}

#[test]
fn what_the_config_names_no_more_is_out_of_force_until_it_comes_back() {
    let book = Book::new();
    let [hour, day] = [Every::Hour, Every::Day].map(|every| book.open(spec(team(), every, None)));
    assert_eq!(ids(&book), [day.id(), hour.id()]);
    book.keep_only(&HashSet::from([hour.id().to_owned()]));
    assert_eq!(ids(&book), [hour.id()]);
    assert!(!book.is_whole(&day.spec()) && book.is_whole(&hour.spec()));
    assert!(Arc::ptr_eq(&day, &book.open(spec(team(), Every::Day, None))));
    assert_eq!(ids(&book), [day.id(), hour.id()]);
}

fn ids(book: &Book) -> Vec<String> {
    book.all().iter().map(|budget| budget.id().to_owned()).collect()
}

#[test]
fn a_standing_says_which_budget_it_is_of_and_what_has_the_account() {
    let book = Book::new();
    let key = Scope::Key("search".into(), "prod".into());
    let tags = BTreeMap::from([("env".into(), "test".into())]);
    let spender =
        Spender { team: "search", key: "prod", user: "alice", run: "r1", model: "gpt-4o", tags: &tags };
    let per = |per: Per| spec(team(), Every::Day, Some(per));
    for (spec, word) in [
        (spec(Scope::Everything, Every::Day, None), "everything"),
        (spec(team(), Every::Day, None), "team"),
        (spec(key, Every::Day, None), "key"),
        (per(Per::User), "user"),
        (per(Per::Model), "model"),
        (per(Per::Run), "run"),
        (per(Per::Tag("env".into())), "tag"),
    ] {
        let budget = book.open(spec);
        let need = Need { tokens: 1, ..Need::default() };
        reserve(&[Arc::clone(&budget)], &spender, need, NOON).unwrap().settle(need);
        let watched = watch(std::slice::from_ref(&budget), &spender);
        let (looked_at, seen) = (budget.standings(NOON, 10).0, watched.standings(NOON).collect::<Vec<_>>());
        for standing in looked_at.iter().chain(&seen) {
            assert_eq!((standing.id(), standing.scope_word()), (budget.id(), word));
            assert_eq!(standing.state.spent.count, 1);
        }
        assert_eq!((looked_at.len(), seen.len(), budget.scope_word()), (1, 1, word));
    }
}

#[test]
fn a_budget_counts_the_spending_of_its_holder_and_of_nobody_else() {
    let tags = BTreeMap::new();
    let spends = |team, key| Spender { team, key, user: "", run: "", model: "gpt-4o", tags: &tags };
    let (prod, ci, other) = (spends("search", "prod"), spends("search", "ci"), spends("support", "prod"));
    for (scope, covered) in [
        (Scope::Everything, [true, true, true]),
        (team(), [true, true, false]),
        (Scope::Key("search".into(), "prod".into()), [true, false, false]),
    ] {
        let budget = Book::new().open(spec(scope, Every::Day, None));
        assert_eq!([prod, ci, other].map(|spender| budget.counted().covers(&spender)), covered);
    }
}

#[test]
fn a_budget_that_is_behind_says_so_until_it_is_not() {
    let budget = Book::new().open(spec(team(), Every::Day, None));
    assert!(!budget.is_catching_up());
    budget.catch_up(true);
    assert!(budget.is_catching_up());
    budget.catch_up(false);
    assert!(!budget.is_catching_up());
}

#[test]
fn needs_add_up_unit_by_unit_and_the_smaller_is_taken_in_each() {
    let need = |nanos, tokens, requests| Need { cost: NanoUsd::new(nanos), tokens, requests };
    let (one, other) = (need(5, 20, 3), need(7, 10, 4));
    assert_eq!(one.plus(other), need(12, 30, 7));
    assert_eq!(one.min(other), need(5, 10, 3));
    assert_eq!(need(0, u64::MAX, 1).plus(other).tokens, u64::MAX);
}
