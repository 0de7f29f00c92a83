//! `tollgate torture` as `./check` runs it: a short run of each scenario against our own gateway, in which
//! nothing may be broken; and gateways that are bad on purpose, to see that the judge can say so.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where and ends")]

mod bad_gateway;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use bad_gateway::{BadGateway, Fault};

/// One run at a time: each wants the machine for itself, and so would two of them.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs the tool; yields its exit code and what it printed.
fn torture(words: &[&str]) -> (i32, Value) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["torture", "--json", "--seed", "20261120"])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {said}"));
    (output.status.code().unwrap(), report)
}

/// The verdicts of the only scenario, by invariant.
fn verdicts(report: &Value) -> BTreeMap<&str, &str> {
    let invariants = report["scenarios"][0]["invariants"].as_array().unwrap();
    invariants.iter().map(|row| (row["id"].as_str().unwrap(), row["verdict"].as_str().unwrap())).collect()
}

/// Plays a scenario in which all must hold, and these must have been judged.
fn holds(words: &[&str], judged: &[&str]) -> Value {
    let (exit, report) = torture(words);
    assert_eq!(exit, 0, "{report:#}");
    let verdicts = verdicts(&report);
    assert!(judged.iter().all(|id| verdicts.get(id) == Some(&"held")), "{report:#}");
    report["scenarios"][0]["figures"].clone()
}

// Invariant I2 in sums: per team, key, model and day
#[test]
fn the_books_equal_the_oracles_log_after_a_few_thousand_mixed_requests() {
    let figures = holds(
        &["--scenario", "mixed", "--requests", "3000"],
        &["I1", "I2", "I3", "I5", "I6", "I7", "I11", "I13"],
    );
    assert_eq!(
        (&figures["rows"], &figures["lost"], &figures["doubled"]),
        (&3000.into(), &0.into(), &0.into())
    );
    assert_eq!(figures["reported_nano_usd"], figures["told_nano_usd"]);
    assert_eq!(
        (figures["days"].as_u64(), figures["cells_of_team_key_model_day"].as_u64()),
        (Some(2), Some(36))
    );
}

// FAULTS L1
#[test]
fn fifty_kills_under_two_hundred_streams_lose_no_row_and_double_none() {
    let figures =
        holds(&["--scenario", "kill", "--rounds", "50"], &["I1", "I2", "I3", "I5", "I6", "I7", "I12"]);
    assert_eq!((&figures["lost"], &figures["doubled"]), (&0.into(), &0.into()));
    assert!(figures["interrupted"].as_u64().unwrap() > 1_000, "they met requests at work: {figures}");
    assert!(figures["answered_whole"].as_u64().unwrap() > 0, "and some were through: {figures}");
}

// FAULTS B1, B2, B3
#[test]
fn a_thousand_streams_on_a_budget_for_a_hundred_never_pass_it() {
    let figures = holds(&["--scenario", "budget"], &["I1", "I2", "I4", "I5", "I8"]);
    assert_eq!((&figures["b1_answered"], &figures["b1_refused"]), (&100.into(), &900.into()));
    assert!(figures["b2_used_per_mille"].as_u64().unwrap() >= 950, "{figures}");
    assert!(figures["looks_at_the_budgets"].as_u64().unwrap() > 50, "{figures}");
}

// FAULTS L8, L9, B12
#[test]
fn clients_that_leave_at_any_byte_leave_one_row_each() {
    let figures =
        holds(&["--scenario", "disconnect", "--requests", "2000"], &["I1", "I3", "I5", "I6", "I8", "I13"]);
    assert!(figures["left"].as_u64().unwrap() > 200, "{figures}");
    assert!(figures["upstream_let_go"].as_u64().unwrap() > 20, "{figures}");
    assert!(figures["drained"].as_u64().unwrap() > 20, "{figures}");
}

// FAULTS L10, L18, L19
#[test]
fn no_spelling_of_usage_and_no_repeated_id_confuses_the_books() {
    let figures =
        holds(&["--scenario", "usage", "--requests", "4000"], &["I1", "I2", "I3", "I5", "I6", "I11", "I13"]);
    assert_eq!(figures["with_a_repeated_id"], 1000);
    assert!(figures["estimated"].as_u64().unwrap() > 30, "{figures}");
}

// FAULTS L9, and H and S where the network is the cause
#[test]
fn a_broken_network_breaks_no_book_and_service_is_back_afterwards() {
    let figures = holds(&["--scenario", "network"], &["I1", "I2", "I3", "I5", "I6", "I7", "I12", "I13"]);
    assert!(figures["answered_whole"].as_u64().unwrap() > 400, "{figures}");
}

// FAULTS L12, B20
#[test]
fn retries_are_one_request_with_one_price_and_bounded() {
    let figures = holds(&["--scenario", "retry"], &["I1", "I2", "I5", "I6", "I11"]);
    assert_eq!(figures["most_attempts_of_one"], 3);
}

/// The verdicts about a gateway that does one thing wrong.
fn judged(fault: Fault) -> (i32, BTreeMap<String, String>, Value) {
    let gateway = BadGateway::start(fault);
    let (url, oracle) = (gateway.url(), gateway.upstream().to_string());
    let words = ["--gateway", &url, "--key", "any", "--oracle-listen", &oracle];
    let (exit, report) = torture(&[&words[..], &["--scenario", "mixed", "--requests", "120"]].concat());
    let said = verdicts(&report).into_iter().map(|(id, word)| (id.to_owned(), word.to_owned())).collect();
    (exit, said, report)
}

#[test]
fn the_judge_finds_nothing_wrong_with_an_honest_relay_and_says_what_it_could_not_see() {
    let (exit, verdicts, report) = judged(Fault::None);
    assert_eq!(exit, 0, "{report:#}");
    for (id, word) in [("I1", "held"), ("I6", "held"), ("I7", "held"), ("I11", "held"), ("I2", "not_judged")]
    {
        assert_eq!(verdicts[id], word, "{id}: {verdicts:?}");
    }
}

#[test]
fn the_judge_sees_each_fault_of_a_bad_gateway() {
    for (fault, invariant) in [
        (Fault::AsksTwice, "I1"),
        (Fault::DropsAByte, "I6"),
        (Fault::EndsCutStreamsWell, "I7"),
        (Fault::FailsNowAndThen, "I11"),
    ] {
        let (exit, verdicts, _) = judged(fault);
        assert_eq!((exit, verdicts[invariant].as_str()), (1, "broken"), "{fault:?}: {verdicts:?}");
    }
}
