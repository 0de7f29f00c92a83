//! Holds the house to its floors and its sizes: reads `crate::` paths, file and function lengths.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor (docs/ARCHITECTURE.md). A room uses rooms on lower floors only.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["dialect", "pricing", "routing", "telemetry"],
    &["store", "upstream"],
    &["identity", "limits", "budget", "cache", "ledger", "tokens", "signals"],
    &["proxy", "admin", "mock"],
    &["config", "torture"],
    &["server"],
    &["app"],
    &["cli"],
];

const LONGEST_FILE: usize = 400;

#[test]
fn every_room_stands_on_a_floor_and_uses_lower_floors_only() {
    let mut faults = Vec::new();
    for (path, text) in sources() {
        let Some(room) = room_of(&path) else { continue };
        let Some(floor) = floor_of(&room) else {
            faults.push(format!("{}: the room `{room}` stands on no floor", path.display()));
            continue;
        };
        for used in used_rooms(&text) {
            let below = floor_of(&used).is_some_and(|other| other < floor);
            if used != room && !below {
                faults.push(format!("{}: `{room}` uses `{used}`", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let too_long: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| !is_test_file(path))
        .map(|(path, text)| (path, code_lines(&text)))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(too_long.is_empty(), "{}", too_long.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(path, text)| !is_test_file(path) && !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn the_walk_is_what_a_reader_of_the_proxy_sees() {
    let text = fs::read_to_string(root().join("proxy/mod.rs")).expect("the proxy room exists");
    let walk = text.find("async fn walk").expect("the walk is a function");
    let steps = ["identify::", "decode::", "admit::", "recall::", "forward::"];
    let places: Vec<usize> =
        steps.iter().map(|step| walk + text[walk..].find(step).unwrap_or_else(|| panic!("{step}"))).collect();
    assert!(places.is_sorted(), "the steps of the walk are out of order");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("sources are text");
                found.insert(path, text);
            }
        }
    }
    found
}

/// `src/proxy/relay.rs` and `src/server.rs` belong to `proxy` and `server`; `lib.rs` and `main.rs` to none.
fn room_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root()).expect("sources lie under src");
    let first = inside.components().next().expect("a path has a part").as_os_str().to_string_lossy();
    let room = first.trim_end_matches(".rs").to_owned();
    (room != "lib" && room != "main").then_some(room)
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// First names after `crate::`, comments and doc comments left out, `use crate::{a, b}` spelled out.
fn used_rooms(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let group = &group[..group.find('}').unwrap_or(group.len())];
            rooms.extend(group.split(',').map(first_name));
        } else {
            rooms.push(first_name(rest));
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn first_name(path: &str) -> String {
    path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn is_test_file(path: &Path) -> bool {
    let in_tests = path.parent().is_some_and(|folder| folder.ends_with("tests"));
    in_tests || path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

/// Lines before the file's unit tests.
fn code_lines(text: &str) -> usize {
    text.split("#[cfg(test)]\nmod ").next().map_or(0, |code| code.lines().count())
}
