//! Accounts per name, windows that roll, shadows, refusals and terms, as a caller or an operator sees them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::section::{BudgetSection, Every, Per, Unpriced, WhenSpent};
use super::*;
use crate::base::clock::Timestamp;
use crate::base::money::NanoUsd;
use crate::base::units::{Span, Usd};

const NOON: Timestamp = Timestamp::from_secs(1_700_049_600);
const TOMORROW: Timestamp = Timestamp::from_secs(1_700_049_600 + 86_400);

fn tokens(limit: u64) -> BudgetSection {
    BudgetSection { limit_tokens: Some(limit), every: Some(Every::Day), ..BudgetSection::default() }
}

fn spec(section: &BudgetSection) -> BudgetSpec {
    BudgetSpec::new(Scope::Team("search".into()), section).unwrap()
}

fn need(units: u64) -> Need {
    Need { cost: NanoUsd::new(i64::try_from(units).unwrap()), tokens: units, requests: 1 }
}

static NO_TAGS: BTreeMap<String, String> = BTreeMap::new();

fn user(name: &str) -> Spender<'_> {
    Spender { team: "search", key: "prod", user: name, run: "", model: "gpt-4o", tags: &NO_TAGS }
}

fn spend(budget: &Arc<Budget>, spender: &Spender<'_>, units: u64, now: Timestamp) -> Settled {
    reserve(&[Arc::clone(budget)], spender, need(units), now).unwrap().settle(need(units))
}

fn refused(budget: &Arc<Budget>, spender: &Spender<'_>, units: u64, now: Timestamp) -> Box<Refusal> {
    reserve(&[Arc::clone(budget)], spender, need(units), now).unwrap_err()
}

fn scopes(budget: &Budget, now: Timestamp) -> Vec<(String, i64)> {
    let (standings, _) = budget.standings(now, 100);
    standings.into_iter().map(|standing| (standing.scope(), standing.state.spent.count)).collect()
}

// FAULTS B10
#[test]
fn first_requests_of_an_unknown_user_at_once_share_one_account() {
    let budget = Book::new().open(spec(&BudgetSection { per: Some(Per::User), ..tokens(3) }));
    let (start, admitted) = (Barrier::new(8), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                if let Ok(held) = reserve(&[Arc::clone(&budget)], &user("alice"), need(1), NOON) {
                    held.settle(need(1));
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 3);
    assert_eq!(scopes(&budget, NOON), [("user alice of team search".to_owned(), 3)]);
}

// FAULTS B12
#[test]
fn who_always_leaves_after_the_first_token_pays_for_it_every_time() {
    let budget = Book::new().open(spec(&tokens(1_000)));
    let mut admitted = 0;
    while let Ok(held) = reserve(&[Arc::clone(&budget)], &user(""), need(300), NOON) {
        held.settle(need(7));
        admitted += 1;
    }
    // 101 times 7 leave 293
    assert_eq!((admitted, budget.state(NOON).spent.count), (101, 707));
}

// FAULTS B18
#[test]
fn a_changed_limit_applies_to_the_next_admission_and_resets_nothing() {
    let book = Book::new();
    let budget = book.open(spec(&tokens(5_000)));
    let held: Vec<_> =
        (0..500).map(|_| reserve(&[Arc::clone(&budget)], &user(""), need(10), NOON).unwrap()).collect();
    book.open(spec(&tokens(1_000)));
    let refusal = refused(&budget, &user(""), 1, NOON);
    assert_eq!((refusal.limit.count, refusal.reserved.count, refusal.left.count), (1_000, 5_000, -4_000));
    assert_eq!(held[0].remaining(), None, "tokens are no USD");
    for held in held {
        held.settle(need(5));
    }
    let state = budget.state(NOON);
    assert_eq!((state.spent.count, state.reserved.count, state.left.count), (2_500, 0, -1_500));
    book.open(spec(&tokens(2_600)));
    assert!(reserve(&[Arc::clone(&budget)], &user(""), need(100), NOON).is_ok());
    assert!(reserve(&[budget], &user(""), need(101), NOON).is_err());
}

#[test]
fn each_name_has_the_whole_limit_and_none_is_a_name_too() {
    let budget = Book::new().open(spec(&BudgetSection { per: Some(Per::User), ..tokens(10) }));
    for name in ["alice", "bob", ""] {
        spend(&budget, &user(name), 10, NOON);
        assert!(reserve(&[Arc::clone(&budget)], &user(name), need(1), NOON).is_err(), "{name}");
    }
    let refusal = refused(&budget, &user(""), 1, NOON);
    assert_eq!(refusal.scope, "requests without a user of team search");
    assert!(
        refusal.to_string().starts_with("The day budget of requests without a user of team search is spent")
    );
}

#[test]
fn names_are_names_within_a_team_whoever_holds_the_budget() {
    let section = BudgetSection { per: Some(Per::User), ..tokens(10) };
    let budget = Book::new().open(BudgetSpec::new(Scope::Everything, &section).unwrap());
    spend(&budget, &user("alice"), 10, NOON);
    spend(&budget, &Spender { team: "support", ..user("alice") }, 10, NOON);
    let scopes: Vec<_> = scopes(&budget, NOON).into_iter().map(|(scope, _)| scope).collect();
    assert_eq!(scopes, ["user alice of team search", "user alice of team support"]);
}

#[test]
fn a_request_without_a_run_is_in_no_budget_per_run() {
    let section = BudgetSection { per: Some(Per::Run), ..BudgetSection::default() };
    let spec = spec(&section);
    assert_eq!((spec.limit, spec.period), (Limit::Usd(NanoUsd::new(500_000_000)), Period::Total));
    let budget = Book::new().open(spec);
    let free = reserve(&[Arc::clone(&budget)], &user("alice"), need(1 << 40), NOON).unwrap();
    assert!(free.is_empty());
    let run = Spender { run: "r1", ..user("alice") };
    let refusal = refused(&budget, &run, 500_000_001, NOON);
    assert_eq!(refusal.scope, "run r1 of team search");
    assert_eq!(scopes(&budget, NOON), [("each run of team search".to_owned(), 0)]);
}

#[test]
fn a_budget_counts_only_what_fits_it() {
    let tags = BTreeMap::from([("feature".to_owned(), "search".to_owned())]);
    let section = BudgetSection { models: Some(vec!["gpt-4*".into()]), tags: tags.clone(), ..tokens(10) };
    let spec = spec(&section);
    assert_eq!(spec.id, "team:search/day-tokens[gpt-4*]{feature=search}");
    let budget = Book::new().open(spec);
    let tagged = Spender { tags: &tags, ..user("") };
    for passing in [user(""), Spender { model: "o3", ..tagged }] {
        assert!(reserve(&[Arc::clone(&budget)], &passing, need(11), NOON).unwrap().is_empty());
    }
    let refusal = refused(&budget, &tagged, 11, NOON);
    assert_eq!(refusal.scope, "team search, models gpt-4*, tags feature=search");
}

#[test]
fn the_case_of_a_models_name_is_no_way_around_a_budget() {
    let section = BudgetSection { models: Some(vec!["GPT-4*".into(), "o3".into()]), ..tokens(10) };
    let budget = Book::new().open(spec(&section));
    for model in ["GPT-4o", "gpt-4O", "O3"] {
        refused(&budget, &Spender { model, ..user("") }, 11, NOON);
    }
    let each = Book::new().open(spec(&BudgetSection { per: Some(Per::Model), ..tokens(10) }));
    spend(&each, &user(""), 6, NOON);
    spend(&each, &Spender { model: "GPT-4o", ..user("") }, 4, NOON);
    assert_eq!(scopes(&each, NOON), [("model gpt-4o of team search".to_owned(), 10)]);
    let mut sums = Recount::new(&[Arc::clone(&each)], NOON);
    sums.add(&Spender { model: "Gpt-4o", ..user("") }, NOON, need(3));
    sums.add(&user(""), NOON, need(7));
    assert!(sums.suspects(10).is_empty(), "rows go the same way");
}

#[test]
fn when_no_account_is_left_new_names_share_one() {
    let book = Book::new();
    let budget = book.open_bounded(spec(&BudgetSection { per: Some(Per::User), ..tokens(10) }), 2);
    for name in ["alice", "bob", "carol", "dave"] {
        spend(&budget, &user(name), 4, NOON);
    }
    let shared = ("user (others) of team search".to_owned(), 8);
    assert_eq!(scopes(&budget, NOON)[0], shared);
    assert_eq!(refused(&budget, &user("erin"), 3, NOON).scope, shared.0);
    spend(&budget, &user("alice"), 4, NOON);
    // once the day is over all are let go, and everyone has an account again
    let held = reserve(&[Arc::clone(&budget)], &user("carol"), need(10), TOMORROW).unwrap();
    assert_eq!(held.settle(need(10)).crossings[0].scope, "user carol of team search");
}

#[test]
fn an_account_that_holds_something_is_never_let_go() {
    let budget = Book::new().open_bounded(spec(&BudgetSection { per: Some(Per::User), ..tokens(10) }), 1);
    let held = reserve(&[Arc::clone(&budget)], &user("alice"), need(3), NOON).unwrap();
    spend(&budget, &user("bob"), 1, TOMORROW);
    held.settle(need(3));
    assert_eq!(scopes(&budget, TOMORROW), [("user (others) of team search".to_owned(), 1)]);
    assert_eq!(refused(&budget, &user("carol"), 10, TOMORROW).spent.count, 1, "where bob is counted");
}

#[test]
fn a_new_run_is_never_locked_out_however_many_there_were() {
    let section = BudgetSection { per: Some(Per::Run), every: Some(Every::Total), ..tokens(10) };
    let budget = Book::new().open_bounded(spec(&section), 100);
    let run = |run: &'static str| Spender { run, ..user("") };
    let at = |n: u64| NOON.plus(Duration::from_secs(n));
    let long = reserve(&[Arc::clone(&budget)], &run("at work since long ago"), need(1), at(0)).unwrap();
    for n in 1..1_000 {
        let name = n.to_string();
        let new = Spender { run: &name, ..user("") };
        let held =
            reserve(&[Arc::clone(&budget)], &new, need(10), at(n)).expect("the whole limit is its own");
        held.settle(need(10));
        assert!(reserve(&[Arc::clone(&budget)], &new, need(1), at(n)).is_err(), "{n} is spent");
        assert!(budget.standings(at(n), 1_000).0.len() <= 100);
    }
    assert_eq!(refused(&budget, &run("950"), 1, at(1_000)).spent.count, 10, "the latest are remembered");
    let known = budget.standings(at(1_000), 1_000).0.len();
    assert!((90..=100).contains(&known), "a tenth is forgotten at once, and no more: {known}");
    long.settle(need(10));
    assert_eq!(refused(&budget, &run("at work since long ago"), 1, at(1_000)).spent.count, 10);
}

#[test]
fn names_that_one_team_makes_up_take_no_place_of_another() {
    let section = BudgetSection { per: Some(Per::User), ..tokens(10) };
    let budget = Book::new().open_bounded(BudgetSpec::new(Scope::Everything, &section).unwrap(), 20);
    for n in 0..30 {
        let _ =
            reserve(&[Arc::clone(&budget)], &user(&n.to_string()), need(4), NOON).map(|r| r.settle(need(4)));
    }
    let of_support = |name| Spender { team: "support", ..user(name) };
    for name in ["alice", "bob"] {
        spend(&budget, &of_support(name), 10, NOON);
        assert_eq!(
            refused(&budget, &of_support(name), 1, NOON).scope,
            format!("user {name} of team support")
        );
    }
    assert_eq!(refused(&budget, &user("new"), 10, NOON).scope, "user (others) of team search");
    spend(&budget, &of_support("one too many"), 10, NOON);
    assert_eq!(refused(&budget, &of_support("carol"), 1, NOON).scope, "user (others) of team support");
}

/// What the ledger says of `names`, each with `units` in the order given.
fn recount(budget: &Arc<Budget>, names: &[String], units: u64, now: Timestamp) -> Recount {
    let mut sums = Recount::new(&[Arc::clone(budget)], now);
    for (name, second) in names.iter().zip(0..) {
        sums.add(&user(name), NOON.plus(Duration::from_secs(second)), need(units));
    }
    sums
}

#[test]
fn counting_more_names_than_there_are_places_forgets_none() {
    let section = BudgetSection { per: Some(Per::User), ..tokens(1_000) };
    let open = || Book::new().open_bounded(spec(&section), 10);
    let names: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    let (later, live) = (NOON.plus(Duration::from_secs(100)), open());
    for (name, second) in names.iter().zip(0..) {
        spend(&live, &user(name), 7, NOON.plus(Duration::from_secs(second)));
    }
    assert_eq!(live.state(later).spent.count, 50 * 7);
    // a pass finds nothing wrong, by whatever clock
    for now in [later, NOON.plus(Duration::from_secs(60))] {
        assert!(recount(&live, &names, 7, now).suspects(10).is_empty());
    }
    // a start has the same
    let book = Book::new();
    let fresh = book.open_bounded(spec(&section), 10);
    recount(&fresh, &names, 7, later).assign(&book);
    let mut both = [&live, &fresh].map(|budget| scopes(budget, later));
    both.iter_mut().for_each(|scopes| scopes.sort_unstable());
    assert_eq!(both[0], both[1]);
    assert!(recount(&fresh, &names, 7, later).suspects(10).is_empty());
}

#[test]
fn after_a_start_the_latest_runs_have_their_places() {
    let section = BudgetSection { per: Some(Per::Run), every: Some(Every::Total), ..tokens(10) };
    let book = Book::new();
    let budget = book.open_bounded(spec(&section), 10);
    let later = NOON.plus(Duration::from_secs(100));
    let count = || {
        let mut sums = Recount::new(&[Arc::clone(&budget)], later);
        for n in 0..90 {
            let name = n.to_string();
            sums.add(&Spender { run: &name, ..user("") }, NOON.plus(Duration::from_secs(n)), need(7));
        }
        sums
    };
    count().assign(&book);
    let mut runs: Vec<_> = scopes(&budget, later).into_iter().map(|(scope, _)| scope).collect();
    runs.sort_unstable();
    let expected: Vec<_> = (80..90).map(|n| format!("run {n} of team search")).collect();
    assert_eq!(runs, expected);
    assert!(count().suspects(10).is_empty(), "those that are forgotten are not brought back");
    // one that comes back gets back what it spent, and nobody takes it for a fault
    let _ = reserve(&[Arc::clone(&budget)], &Spender { run: "70", ..user("") }, need(1), later).unwrap();
    let mut found = count().suspects(10);
    found[0].read(later, || Some(())).unwrap();
    let drifts = found.remove(0).repair();
    assert_eq!(drifts.iter().map(|d| (d.recorded.count, d.is_expected)).collect::<Vec<_>>(), [(7, true)]);
    assert!(reserve(&[budget], &Spender { run: "70", ..user("") }, need(4), later).is_err());
}

#[test]
fn a_flood_of_names_opens_no_more_accounts_than_there_may_be() {
    let budget = Book::new().open_bounded(spec(&BudgetSection { per: Some(Per::User), ..tokens(10) }), 100);
    let held: Vec<_> = (0..1_000)
        .filter_map(|n| reserve(&[Arc::clone(&budget)], &user(&n.to_string()), need(1), NOON).ok())
        .collect();
    assert_eq!(held.len(), 110, "100 names, and what the others share");
    assert_eq!(budget.standings(NOON, 1_000).0.len(), 101);
}

#[test]
fn what_was_spent_ages_out_of_a_rolling_window() {
    let section = BudgetSection { every: None, rolling: Some(Span(Duration::from_hours(1))), ..tokens(100) };
    let budget = Book::new().open(spec(&section));
    let minutes = |n| NOON.plus(Duration::from_mins(n));
    spend(&budget, &user(""), 60, minutes(0));
    spend(&budget, &user(""), 40, minutes(30));
    // the whole hour counts, and a minute at most besides
    let refusal = refused(&budget, &user(""), 50, minutes(60));
    assert_eq!(refusal.resets_at, Some(minutes(61)));
    assert!(refusal.to_string().contains("What was spent ages out of it, next at 2023-11-15T13:01:00Z."));
    assert_eq!(refused(&budget, &user(""), 70, minutes(60)).resets_at, Some(minutes(91)));
    assert!(reserve(&[Arc::clone(&budget)], &user(""), need(60), minutes(61)).is_ok());
    assert_eq!(budget.state(minutes(90)).spent.count, 40);
    assert_eq!(budget.state(minutes(91)).spent.count, 0);
    // charged to when it was admitted, however late it settles
    let late = reserve(&[Arc::clone(&budget)], &user(""), need(10), minutes(91)).unwrap();
    assert_eq!(budget.state(minutes(160)).reserved.count, 10);
    late.settle(need(10));
    assert_eq!(budget.state(minutes(160)).spent.count, 0);
}

#[test]
fn a_rolling_window_warns_again_when_it_fills_again() {
    let section = BudgetSection { every: None, rolling: Some(Span(Duration::from_hours(1))), ..tokens(100) };
    let budget = Book::new().open(spec(&section));
    let later = NOON.plus(Duration::from_hours(2));
    let told = [NOON, NOON, later].map(|now| spend(&budget, &user(""), 40, now).crossings.len());
    assert_eq!(told, [0, 1, 0]);
    assert_eq!(spend(&budget, &user(""), 40, later).crossings.len(), 1);
}

#[test]
fn a_shadow_refuses_nothing_and_tells_what_it_would_have() {
    let budget = Book::new().open(spec(&BudgetSection { shadow: true, ..tokens(10) }));
    assert!(spend(&budget, &user(""), 8, NOON).shadowed.is_empty());
    let mut cut = reserve(&[Arc::clone(&budget)], &user(""), need(1), NOON).unwrap();
    cut.top_up(need(5)).unwrap();
    cut.top_up(need(5)).unwrap();
    let shadowed = cut.settle(need(9)).shadowed;
    assert_eq!((shadowed[0].used.count, shadowed[0].refused), (9, 1), "once per request");
    assert_eq!(spend(&budget, &user(""), 4, NOON).shadowed[0].refused, 2);
    let state = budget.state(NOON);
    assert_eq!((state.would_have_refused, state.would_have_saved.count), (2, 13));
    let list = [budget];
    assert!(watch(&list, &user("")).standings(NOON).next().is_none(), "callers do not see it");
    assert!(!terms(&list, &user("")).is_held);
}

#[test]
fn requests_are_counted_as_requests() {
    let section = BudgetSection { limit_requests: Some(2), limit_tokens: None, ..tokens(0) };
    let budget = Book::new().open(spec(&section));
    let mut first = reserve(&[Arc::clone(&budget)], &user(""), need(1 << 40), NOON).unwrap();
    spend(&budget, &user(""), 1, NOON);
    first.top_up(Need { tokens: 1 << 40, ..Need::default() }).expect("no further request");
    let refusal = refused(&budget, &user(""), 0, NOON);
    assert!(refusal.to_string().contains("of 2 requests, 1 requests are spent and 1 requests are reserved"));
    assert!(!refusal.to_string().contains("max_tokens"), "a lower cap would not help");
}

#[test]
fn all_budgets_charge_one_instant_even_when_the_clock_went_back() {
    let book = Book::new();
    let day = book.open(spec(&tokens(100)));
    let total = book.open(spec(&BudgetSection { every: Some(Every::Total), ..tokens(100) }));
    spend(&day, &user(""), 1, TOMORROW);
    let midnight = day.state(TOMORROW).window.start;
    let held = reserve(&[Arc::clone(&total), Arc::clone(&day)], &user(""), need(1), NOON).unwrap();
    assert_eq!(held.charged_at(), midnight, "the earliest instant that the day's window has");
    held.settle(need(1));
    assert_eq!((day.state(NOON).spent.count, total.state(NOON).spent.count), (2, 1));
}

#[test]
fn near_the_limit_a_refusal_names_what_a_clamped_request_may_need() {
    let book = Book::new();
    let clamp = book.open(spec(&BudgetSection { when_spent: WhenSpent::Clamp, ..tokens(100) }));
    let hard = book.open(BudgetSpec::new(Scope::Everything, &tokens(50)).unwrap());
    let both = [clamp, hard];
    let refusal = reserve(&both, &user(""), need(120), NOON).unwrap_err();
    assert_eq!(refusal.when_spent, WhenSpent::Refuse, "clamping would not help");
    let refusal = reserve(&both[..1], &user(""), need(120), NOON).unwrap_err();
    assert_eq!((refusal.when_spent, refusal.left.count), (WhenSpent::Clamp, 100));
    assert!(reserve(&both[..1], &user(""), need(100), NOON).is_ok());
}

#[test]
fn the_terms_are_the_strictest_of_all_budgets() {
    let book = Book::new();
    let usd = BudgetSection { limit_usd: Some(Usd(NanoUsd::from_usd(1))), limit_tokens: None, ..tokens(0) };
    let open = |when_spent, unpriced: Unpriced| {
        // each in a list of its own, so that all have the same terms but these
        Book::new().open(spec(&BudgetSection { when_spent, unpriced, ..usd.clone() }))
    };
    let price_as = || Unpriced::PriceAs("gpt-4o".into());
    let warns = open(WhenSpent::Warn, Unpriced::Refuse);
    let allows = open(WhenSpent::Cut, Unpriced::Allow);
    let prices = open(WhenSpent::Clamp, price_as());
    let refuses = open(WhenSpent::Refuse, Unpriced::Refuse);
    let of = |budgets: &[&Arc<Budget>]| {
        terms(&budgets.iter().map(|budget| Arc::clone(budget)).collect::<Vec<_>>(), &user(""))
    };
    assert_eq!(of(&[&warns]), Terms::default());
    let cuts = Terms { is_held: true, cuts: true, ..Terms::default() };
    assert_eq!(of(&[&allows, &warns]), cuts);
    let priced = Terms { clamps: true, unpriced: UnpricedRule::PriceAs("gpt-4o".into()), ..cuts };
    assert_eq!(of(&[&allows, &prices]), priced);
    assert_eq!(of(&[&prices, &refuses, &allows]).unpriced, UnpricedRule::Refuse);
    let unfit = book.open(spec(&BudgetSection { models: Some(vec!["o3".into()]), ..usd.clone() }));
    assert_eq!(of(&[&unfit]), Terms::default());
}

#[test]
fn a_budget_whose_windows_move_is_to_be_counted_anew() {
    let book = Book::new();
    let week = |first_day| BudgetSection { every: Some(Every::Week), first_day, ..tokens(10) };
    let open = spec(&week(None));
    assert!(!book.is_whole(&open));
    book.open(open.clone());
    assert!(book.is_whole(&open));
    let moved = spec(&week(Some(section::WeekDay::Sunday)));
    assert_eq!(moved.id, open.id);
    assert!(!book.is_whole(&moved));
}
