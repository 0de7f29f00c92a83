//! Holds the files under deploy/ to the program: the config loads, and only metrics that exist are asked for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tollgate::config;
use tollgate::telemetry::catalogue::prometheus_name;
use tollgate::telemetry::metrics::METRICS;

#[test]
fn the_config_of_the_compose_file_has_no_faults() {
    let set = |_: &str| Some("a-secret-that-is-long-enough".to_owned());
    let loaded = config::load(&deploy("tollgate.yaml"), &set);
    assert!(loaded.is_ok(), "{:?}", loaded.err().map(|faults| faults.to_string()));
}

#[test]
fn dashboard_and_alerts_ask_for_metrics_and_labels_that_exist() {
    let attributes = METRICS.iter().flat_map(|row| row.attributes.iter());
    let known: BTreeSet<String> = attributes
        .map(|attribute| attribute.replace('.', "_"))
        .chain(METRICS.iter().map(prometheus_name))
        .collect();
    for file in ["grafana/tollgate.json", "alerts.yml"] {
        let text = fs::read_to_string(deploy(file)).expect("the file is there");
        let asked = words(&text);
        assert!(asked.len() > 5, "{file}: {asked:?}");
        for word in asked {
            assert!(known.contains(base(&word)), "{file}: docs/METRICS.md has no {word}");
        }
    }
}

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

/// Words that can only be metrics or labels of ours.
fn words(text: &str) -> Vec<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let ours = ["tollgate_", "http_server_", "http_response_", "gen_ai_"];
    text.split(|c| !is_word(c))
        .filter(|word| ours.iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

/// A histogram is asked for by its parts.
fn base(word: &str) -> &str {
    ["_bucket", "_count", "_sum"].iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word)
}
