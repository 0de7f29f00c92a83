//! The reference file is in step with the schema, and damage to it is explained.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize as _;

use super::fit::fit;
use super::fitted::Fitted;
use super::form::{self, Form, Kind};
use super::report::Report;
use super::secrets::Secrets;
use super::settings::Settings;
use super::trial::{environment, load_text, repo_file};
use super::{load, tree};

fn reference() -> PathBuf {
    repo_file("config/reference.yaml")
}

/// The reference file with every setting that stands behind `#` switched on.
fn whole_reference() -> String {
    let file = std::fs::read_to_string(reference()).unwrap();
    let is_setting = |rest: &str| {
        let word = rest.trim_start_matches(' ');
        let indent = rest.len() - word.len();
        let key = word.split_once(':').map_or("", |(key, _)| key);
        indent != 1 && !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let switched_on = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(rest) if is_setting(rest) => line.replacen('#', "", 1) + "\n",
        _ => line.to_owned() + "\n",
    };
    file.lines().map(switched_on).collect()
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = load_text(bytes);
    }

    #[test]
    fn no_text_makes_it_panic(text in "([a-c\\[\\]{}:,&*!|>'\"%@`#?~ \n\t-]|: |\n  |- |upstreams|open|true|é){0,80}") {
        let _ = load_text(text);
    }

    /// Whatever fits its form can be read: no fault may say otherwise, and none may panic.
    #[test]
    fn a_damaged_config_is_explained_or_loaded(
        at in 0..200_usize,
        damage in proptest::sample::select(vec![
            "", "~", "[]", "{}", "[x]", "{ x: y }", "-1", "0", "1e400", "yes", "'", "\t", "&a x", "*a", "!x y", ".nan",
            "99999999999999999999", "\"\"", "0.0000000000001", "|", "1_000", "true", "${KEY}", "file:/dev/zero", "- x",
        ]),
    ) {
        let whole = whole_reference();
        let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
        let at = at % lines.len();
        if let Some((key, _)) = lines[at].split_once(':') {
            lines[at] = format!("{key}: {damage}");
        }
        if let Err(faults) = load_text(lines.join("\n")) {
            let text = faults.to_string();
            prop_assert!(!text.contains("cannot read its own form"), "{}", text);
        }
    }
}

#[test]
fn the_reference_loads_as_it_stands() {
    let loaded = load(&reference(), &environment).map_err(|f| f.to_string()).unwrap();
    assert_eq!(loaded.warnings, []);
}

#[test]
fn the_reference_shows_every_key_there_is() {
    let mut report = Report::default();
    let text = whole_reference();
    let root = tree::parse(&text, &mut report).unwrap();
    let secrets = Secrets { environment: &environment, folder: Path::new("") };
    let form = form::settings();
    fit(&root, &form, &secrets, &mut report);
    assert_eq!(report.into_faults(), []);

    let mut unseen = BTreeSet::new();
    keys_of(&form::settings(), &mut |section, field| {
        unseen.insert((section.to_owned(), field.to_owned()));
    });
    strike_out(&root, &form::settings(), &mut unseen);
    let names: Vec<_> = unseen.iter().map(|(_, field)| field).collect();
    assert_eq!(names, Vec::<&String>::new(), "keys missing in config/reference.yaml");
}

#[test]
fn the_reference_shows_the_defaults() {
    let mut report = Report::default();
    let text = std::fs::read_to_string(reference()).unwrap();
    let root = tree::parse(&text, &mut report).unwrap();
    let secrets = Secrets { environment: &environment, folder: Path::new("") };
    let form = form::settings();
    let mut fitted = fit(&root, &form, &secrets, &mut report).value;
    let as_written = Settings::deserialize(fitted.clone()).unwrap();
    let mut shown = 0;
    leave_out_defaults(&mut fitted, &form, &mut shown);
    let left_out = Settings::deserialize(fitted).unwrap();
    assert_eq!(format!("{as_written:#?}"), format!("{left_out:#?}"));
    assert!(shown > 30, "{shown} keys have a default");
}

/// Visits each key of each section, sections known by what they hold.
fn keys_of(form: &Form, visit: &mut impl FnMut(&str, &str)) {
    match &form.kind {
        Kind::Section(fields) => {
            let section = format!("{fields:?}");
            for field in fields {
                visit(&section, &field.name);
                keys_of(&field.form, visit);
            }
        }
        Kind::Named(form) | Kind::List(form) => keys_of(form, visit),
        _ => {}
    }
}

fn strike_out(node: &tree::Node<'_>, form: &Form, unseen: &mut BTreeSet<(String, String)>) {
    match (&form.kind, &node.value) {
        (Kind::Section(fields), tree::Value::Map(entries)) => {
            for entry in entries {
                unseen.remove(&(format!("{fields:?}"), entry.key.to_string()));
                let field = fields.iter().find(|field| field.name == entry.key).unwrap();
                strike_out(&entry.node, &field.form, unseen);
            }
        }
        (Kind::Named(form), tree::Value::Map(entries)) => {
            entries.iter().for_each(|entry| strike_out(&entry.node, form, unseen));
        }
        (Kind::List(form), tree::Value::List(items)) => {
            items.iter().for_each(|item| strike_out(item, form, unseen));
        }
        _ => {}
    }
}

/// Removes each key that has a default, and asks that each is there to be removed.
fn leave_out_defaults(fitted: &mut Fitted<'_>, form: &Form, shown: &mut usize) {
    match (&form.kind, fitted) {
        (Kind::Section(fields), Fitted::Map(entries)) => {
            for field in fields {
                let place = entries.iter().position(|(name, _)| *name == field.name);
                if field.default.is_some() {
                    entries.remove(place.unwrap_or_else(|| panic!("`{}` is not shown", field.name)));
                    *shown += 1;
                } else if let Some(place) = place {
                    leave_out_defaults(&mut entries[place].1, &field.form, shown);
                }
            }
        }
        (Kind::Named(form), Fitted::Map(entries)) => {
            entries.iter_mut().for_each(|(_, entry)| leave_out_defaults(entry, form, shown));
        }
        (Kind::List(form), Fitted::List(items)) => {
            items.iter_mut().for_each(|item| leave_out_defaults(item, form, shown));
        }
        _ => {}
    }
}
