//! Holds the pages to what is there: links lead somewhere, every dependency has its line, every ADR its parts.

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
