//! The demo as a user runs it: a real process, watched from outside.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A demo whose temporary files go to `tmp`, on ports that are free.
fn demo(tmp: &Path, seconds: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["demo", "--any-port", "--seconds", seconds]).env("TMPDIR", tmp);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).expect("the folder is there").next().is_none()
}

fn line_with(lines: &str, parts: &[&str]) {
    let found = lines.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no line with {parts:?} in\n{lines}");
}

#[test]
fn the_demo_shows_what_a_gateway_does() {
    let tmp = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = demo(tmp.path(), "3").output().unwrap();
    let (tables, lines) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{status}\n{lines}");

    line_with(&lines, &["search/prod", "gpt-4o-mini", "200", " in ", " out ", "$0.0000", "cache miss"]);
    line_with(&lines, &["search/prod", "saved $0.0000", "cache hit"]);
    line_with(&lines, &["research/lab", "claude-sonnet-4-5", "402", "insufficient_quota"]);
    line_with(&lines, &["support/bot", "gpt-4o", "403", "model_not_allowed"]);
    line_with(&lines, &["search/prod", "gpt-4o ", "200", "attempts 2"]);
    line_with(&lines, &["budget=team:research/day-usd", "percent=50"]);
    assert!(!lines.contains('\x1b'), "colours where nobody sees them:\n{lines}");

    line_with(&tables, &["team", "model", "requests", "cost USD"]);
    line_with(&tables, &["research", "claude-sonnet-4-5"]);
    line_with(&tables, &["total"]);
    line_with(&tables, &["team research", "day", "0.01 USD"]);
    assert!(is_empty(tmp.path()), "the demo leaves nothing behind");
}

#[test]
fn an_interrupted_demo_ends_in_order() {
    let tmp = tempfile::tempdir().unwrap();
    let mut child = demo(tmp.path(), "600").spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // in the middle: a request is through, and streams are under way
    let seen = lines.any(|line| line.unwrap().contains("gpt-4o-mini"));
    assert!(seen, "no request within the demo");
    interrupt(&child);
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let mut tables = String::new();
    child.stdout.take().unwrap().read_to_string(&mut tables).unwrap();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("panicked")), "{rest:?}");
    line_with(&tables, &["search", "gpt-4o-mini"]);
    assert!(is_empty(tmp.path()), "an interrupted demo leaves nothing behind");
}

#[test]
fn a_demo_that_is_kept_serves_budgets_and_requests() {
    let tmp = tempfile::tempdir().unwrap();
    let mut child = demo(tmp.path(), "1").arg("--keep").spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let hint = lines.find(|line| line.contains("tollgate budgets --config ")).expect("an invitation");
    let config = hint.split_once("--config ").unwrap().1;
    let asked = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["budgets", "--json", "--config", config])
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(answer["source"], "gateway", "{answer}");
    let research = &answer["budgets"][2];
    assert_eq!((&research["id"], &research["limit"]), (&"team:research/day-usd".into(), &10_000_000.into()));
    assert_eq!(research["reserved"], 0, "{answer}");
    interrupt(&child);
    assert_eq!(lines.filter(|line| line.contains("panicked")).count(), 0);
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(is_empty(tmp.path()));
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("there is kill");
    assert!(sent.success());
}
