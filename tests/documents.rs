//! Holds the pages to what is there: links lead somewhere, every dependency has its line, every ADR its parts, every
//! case of the wire its tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_link_leads_to_a_file_or_a_heading() {
    let mut faults = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.parent().expect("a page lies in a folder");
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let is_heading =
                heading.is_empty() || anchors(&read(&target)).iter().any(|anchor| anchor == heading);
            if !target.exists() || !is_heading {
                faults.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read(&root().join("Cargo.toml"));
    let page = read(&root().join("docs/DEPENDENCIES.md"));
    let mut listed = 0;
    for section in ["[dependencies]\n", "[dev-dependencies]\n"] {
        let after = manifest.split_once(section).expect("the manifest has this section").1;
        let lines = after.lines().take_while(|line| !line.starts_with('['));
        for name in lines.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name) {
            assert!(page.contains(&format!("`{name}`")), "docs/DEPENDENCIES.md does not name {name}");
            listed += 1;
        }
    }
    assert!(listed > 40, "{listed}");
}

#[test]
fn every_decision_says_why_what_else_and_what_follows() {
    let folder = root().join("docs/adr");
    for page in pages().into_iter().filter(|page| page.starts_with(&folder)) {
        let text = read(&page);
        for part in ["**Context.**", "**Decision.**", "**Not chosen.**", "**Consequences.**"] {
            assert!(text.contains(part), "{}: {part}", page.display());
        }
    }
}

/// `TOLLGATE_BLESS=1` writes the tables' last column anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "the switch that writes the page instead of checking it")]
fn every_case_of_the_wire_has_its_tests_and_every_such_test_its_case() {
    let path = root().join("docs/WIRE.md");
    let page = read(&path);
    let tests = tests_by_name();
    let mut numbers = Vec::new();
    let mut told = String::new();
    for line in page.lines() {
        match line.strip_prefix("| ").map(|row| row.splitn(3, " | ").collect::<Vec<_>>()).as_deref() {
            Some([number, promise, _]) if number.trim_start_matches('S').parse::<u32>().is_ok() => {
                numbers.push((*number).to_owned());
                told += &format!("| {number} | {promise} | {} |\n", tests_of(number, &tests));
            }
            _ => told += &format!("{line}\n"),
        }
    }
    let forty = (1..=40).map(|number| number.to_string());
    let expected: Vec<String> = forty.chain((1..=16).map(|number| format!("S{number}"))).collect();
    assert_eq!(numbers, expected);
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::write(path, &told).expect("the page can be written");
    } else {
        let differs = page.lines().zip(told.lines()).find(|(stands, should)| stands != should);
        assert_eq!(
            differs, None,
            "docs/WIRE.md lists other tests than there are; with TOLLGATE_BLESS=1 this test writes them"
        );
    }
}

/// The cell of a case's tests.
fn tests_of(number: &str, tests: &BTreeSet<String>) -> String {
    let prefix = prefix(number);
    let ours: Vec<_> =
        tests.iter().filter(|name| name.starts_with(&prefix)).map(|name| format!("`{name}`")).collect();
    if ours.is_empty() { "open".into() } else { ours.join(", ") }
}

/// How the tests of a case begin: `wire_07_`, `s_07_`.
fn prefix(number: &str) -> String {
    match number.strip_prefix('S') {
        Some(fault) => format!("s_{fault:0>2}_"),
        None => format!("wire_{number:0>2}_"),
    }
}

/// The names of all functions in the sources and tests that are tests of a case.
fn tests_by_name() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                names.extend(functions(&read(&path)));
            }
        }
    }
    names
}

/// Functions that take nothing, or what a property is about.
fn functions(source: &str) -> Vec<String> {
    let lines = source.lines().map(|line| line.trim_start().trim_start_matches("async "));
    let named = lines.filter_map(|line| line.strip_prefix("fn ")?.split_once('('));
    named.map(|(name, _)| name.to_owned()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// All pages at the top, in docs and in docs/adr.
fn pages() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs"), root().join("docs/adr")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the folder is there"));
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// Targets of links within the repository.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// The anchors that code forges give headings.
fn anchors(text: &str) -> Vec<String> {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ');
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().chars().filter(kept).collect::<String>())
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect()
}
