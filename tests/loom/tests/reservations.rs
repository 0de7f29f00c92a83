//! What must hold in every interleaving.
#![cfg(loom)]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use tollgate_loom::base::clock::Timestamp;
use tollgate_loom::base::money::NanoUsd;
use tollgate_loom::budget::section::{BudgetSection, Every, Per};
use tollgate_loom::budget::{Book, Budget, BudgetSpec, Need, Recount, Scope, Spender, reserve};

const NOON: Timestamp = Timestamp::from_secs(1_700_049_600);

/// Made once: what it looks up has locks of its own, which are not the checker's business.
fn spec(per: Option<Per>, limit: u64) -> BudgetSpec {
    static SPEC: OnceLock<BudgetSpec> = OnceLock::new();
    let plain = SPEC.get_or_init(|| {
        let section =
            BudgetSection { limit_tokens: Some(1), every: Some(Every::Total), ..BudgetSection::default() };
        BudgetSpec::new(Scope::Everything, &section).unwrap()
    });
    let mut spec = plain.clone();
    spec.id = format!("{per:?}/{limit}");
    spec.counted.per = per;
    spec.limit = tollgate_loom::budget::Limit::Tokens(limit);
    spec
}

fn need(tokens: u64) -> Need {
    Need { cost: NanoUsd::ZERO, tokens, requests: 1 }
}

fn alice() -> Spender<'static> {
    static NO_TAGS: BTreeMap<String, String> = BTreeMap::new();
    Spender { team: "search", key: "prod", user: "alice", run: "", model: "gpt-4o", tags: &NO_TAGS }
}

fn counters(budget: &Budget) -> (i64, i64) {
    let state = budget.state(NOON);
    (state.spent.count, state.reserved.count)
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn what_fits_is_admitted_and_no_more_in_whatever_order_budgets_are_named() {
    check(|| {
        let book = Book::new();
        let (team, key) = (book.open(spec(None, 2)), book.open(spec(None, 3)));
        let ask = |budgets: [Arc<Budget>; 2]| {
            move || match reserve(&budgets, &alice(), need(1), NOON) {
                Ok(held) => {
                    held.settle(need(1));
                    1
                }
                Err(full) => {
                    assert_eq!(full.spent.count + full.reserved.count, 2, "refused while there was room");
                    0
                }
            }
        };
        let threads =
            [[&team, &key], [&key, &team]].map(|budgets| thread::spawn(ask(budgets.map(Arc::clone))));
        let own = ask([Arc::clone(&team), Arc::clone(&key)])();
        let admitted: i64 = own + threads.into_iter().map(|thread| thread.join().unwrap()).sum::<i64>();
        assert_eq!(admitted, 2);
        assert_eq!((counters(&team), counters(&key)), ((2, 0), (2, 0)));
    });
}

#[test]
fn a_top_up_never_passes_the_limit_and_a_drop_gives_all_back() {
    check(|| {
        let book = Book::new();
        let budget = book.open(spec(None, 3));
        let list = [Arc::clone(&budget)];
        let tops_up = thread::spawn({
            let list = list.clone();
            move || {
                let Ok(mut held) = reserve(&list, &alice(), need(1), NOON) else { return };
                let _ = held.top_up(need(2));
                held.lower_to(need(2));
                drop(held);
            }
        });
        let settles = thread::spawn({
            let list = list.clone();
            move || reserve(&list, &alice(), need(2), NOON).map(|held| held.settle(need(1))).is_ok()
        });
        let (spent, reserved) = counters(&budget);
        assert!((0..=3).contains(&(spent + reserved)) && reserved >= 0);
        tops_up.join().unwrap();
        let settled = settles.join().unwrap();
        assert_eq!(counters(&budget), (i64::from(settled), 0));
    });
}

// FAULTS B10
#[test]
fn first_requests_of_a_new_name_open_one_account() {
    check(|| {
        let budget = Book::new().open(spec(Some(Per::User), 1));
        let ask = |list: [Arc<Budget>; 1]| {
            move || reserve(&list, &alice(), need(1), NOON).map(std::mem::forget).is_ok()
        };
        let threads = [0, 1].map(|_| thread::spawn(ask([Arc::clone(&budget)])));
        let admitted = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(admitted.filter(|admitted| *admitted).count(), 1);
        assert_eq!(budget.standings(NOON, 9).0.len(), 1);
    });
}

/// The order of a settlement - settling, books, counters - and the look of a pass, as the gateway has them.
/// FAULTS L21
#[test]
fn a_pass_never_takes_a_settlement_for_a_drift() {
    check(|| {
        let budget = Book::new().open(spec(None, 9));
        let (journal, settling) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU32::new(0)));
        let threads = [1, 2].map(|tokens| {
            let (list, journal, settling) =
                ([Arc::clone(&budget)], Arc::clone(&journal), Arc::clone(&settling));
            thread::spawn(move || {
                let held = reserve(&list, &alice(), need(tokens), NOON).unwrap();
                settling.fetch_add(1, Ordering::SeqCst);
                journal.lock().unwrap().push(tokens);
                held.settle(need(tokens));
                settling.fetch_sub(1, Ordering::SeqCst);
            })
        });
        let mut recount = Recount::new(&[Arc::clone(&budget)], NOON);
        let rows = journal.lock().unwrap().clone();
        rows.iter().for_each(|tokens| recount.add(&alice(), NOON, need(*tokens)));
        for mut group in recount.suspects(9) {
            let quiet = || {
                let end = journal.lock().unwrap().len();
                (settling.load(Ordering::SeqCst) == 0).then_some(end)
            };
            let Some(end) = group.read(NOON, quiet) else { continue };
            let since = journal.lock().unwrap()[rows.len()..end].to_vec();
            since.iter().for_each(|tokens| group.add(&alice(), NOON, need(*tokens)));
            assert_eq!(group.repair(), []);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(counters(&budget), (3, 0));
    });
}
