//! Files to try the loader on, for the tests of this room.

use std::path::{Path, PathBuf};

use super::settings::Settings;
use super::{Faults, Loaded, load};

pub(super) const KEY: &str = "tg-0123456789abcdef0123456789abcdef";
pub(super) const CANARY: &str = "sk-canary-7f3e9a1b5c8d2e4f6a0b";

pub(super) fn environment(name: &str) -> Option<String> {
    match name {
        "KEY" | "OPENAI_API_KEY" | "SEARCH_CI_KEY" => Some(KEY.into()),
        "CANARY" => Some(CANARY.into()),
        "BAD_CANARY" => Some(format!("{CANARY}\nsecond line")),
        name => name.starts_with("SEARCH_").then(|| format!("{KEY}-{name}")),
    }
}

/// Loads text as a file in a folder of its own.
pub(super) fn load_text(text: impl AsRef<[u8]>) -> Result<Loaded, Faults> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollgate.yaml");
    std::fs::write(&path, text).unwrap();
    load(&path, &environment)
}

/// The text of a file that loads.
pub(super) fn good(text: &str) -> Settings {
    load_text(text).map_err(|faults| faults.to_string()).unwrap().settings
}

/// What is wrong, as `line:column path: message`.
pub(super) fn wrong(text: &str) -> Vec<String> {
    let faults = load_text(text).err().map(|faults| faults.found().to_vec()).unwrap_or_default();
    faults.iter().map(|f| format!("{}:{} {}: {}", f.line, f.column, f.path, f.message)).collect()
}

pub(super) fn hints(text: &str) -> Vec<String> {
    let faults = load_text(text).unwrap_err();
    faults.found().iter().filter_map(|fault| fault.hint.clone()).collect()
}

pub(super) fn repo_file(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

pub(super) const SMALL: &str = "upstreams: { a: { base_url: \"https://a.test\" } }\nopen: true\n";
