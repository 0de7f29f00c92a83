//! The config described, from its own types: the JSON Schema for editors and the page docs/CONFIG.md.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::form::{self, FORMATS, Field, Form, Kind};
use crate::base::secret::SECRET_FORMAT;

/// The JSON Schema of the config, for editors (config/schema.json). It allows what the loader reads as well:
/// `200_000` is text to most editors.
#[must_use]
pub fn schema_json() -> String {
    let mut schema = form::schema();
    schema.insert("title".into(), "Tollgate config".into());
    let mut schema = schema.to_value();
    help_editors(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

fn help_editors(schema: &mut Json) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(help_editors),
        Json::Object(keys) => {
            let format = keys.get("format").and_then(Json::as_str).map(str::to_owned);
            if let Some(known) = FORMATS.iter().find(|known| Some(known.name) == format.as_deref()) {
                keys.insert("pattern".into(), known.pattern.into());
                keys.insert("examples".into(), known.example.split(", ").collect());
            } else if format.as_deref() == Some(SECRET_FORMAT) {
                keys.insert("pattern".into(), SECRET_PATTERN.into());
                keys.insert("examples".into(), json!(["${OPENAI_API_KEY}", "file:openai.key"]));
            } else if format.is_some_and(|format| format.starts_with("uint")) {
                allow_groups_of_digits(keys);
            }
            if let Some(Json::String(kind)) = keys.get("type")
                && (kind == "object" || kind == "array")
            {
                // a section whose keys are all commented out
                let kind = kind.clone();
                keys.insert("type".into(), json!([kind, "null"]));
            }
            keys.values_mut().for_each(help_editors);
        }
        _ => {}
    }
}

fn allow_groups_of_digits(keys: &mut serde_json::Map<String, Json>) {
    let mut types = match keys.get("type") {
        Some(Json::Array(types)) => types.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    types.push("string".into());
    keys.insert("type".into(), types.into());
    keys.insert("pattern".into(), "^[0-9]+(_[0-9]+)*$".into());
}

const SECRET_PATTERN: &str = r"^(\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:.+)$";

/// The page docs/CONFIG.md: every key, its values, its default.
#[must_use]
pub fn page() -> String {
    let mut page = Page { text: INTRODUCTION.into(), homes: HashMap::new() };
    if let Kind::Section(fields) = form::settings().kind {
        page.section("The top level", "", &fields);
    }
    page.text
}

struct Page {
    text: String,
    /// Where sections are described, by what they hold: budgets of teams and of keys are the same.
    homes: HashMap<String, String>,
}

impl Page {
    fn section(&mut self, heading: &str, path: &str, fields: &[Field]) {
        self.line(&format!("\n## {heading}\n\n| key | value | default | |\n|---|---|---|---|"));
        for field in fields {
            let below = join(path, &field.name);
            let row =
                [format!("`{}`", field.name), self.value(&below, &field.form), default(field), about(field)];
            self.line(&format!("| {} |", row.join(" | ")));
        }
        for field in fields {
            self.below(&join(path, &field.name), &field.form);
        }
    }

    /// The sections under a key, where this is their home.
    fn below(&mut self, path: &str, form: &Form) {
        match &form.kind {
            Kind::Named(form) => self.below(&format!("{path}.NAME"), form),
            Kind::List(form) => self.below(&format!("{path}[]"), form),
            Kind::Section(fields) if self.home(path, fields) == path => {
                self.section(&format!("`{path}`"), path, fields);
            }
            _ => {}
        }
    }

    fn value(&mut self, path: &str, form: &Form) -> String {
        match &form.kind {
            Kind::Section(fields) => {
                let home = self.home(path, fields);
                format!("[`{home}`](#{})", anchor(home))
            }
            Kind::Named(form) => format!("by name: {}", self.value(&format!("{path}.NAME"), form)),
            Kind::List(form) => format!("list of {}", self.value(&format!("{path}[]"), form)),
            Kind::Word(words) => {
                let words: Vec<_> =
                    words.iter().map(|word| format!("`{}`: {}", word.word, word.about)).collect();
                words.join("<br>")
            }
            Kind::WordOr(words, fields) => {
                let words = words.iter().map(|word| format!("`{}`: {}", word.word, word.about));
                let fields = fields.iter().map(|f| format!("`{{ {}: ... }}`: {}", f.name, f.about));
                words.chain(fields).collect::<Vec<_>>().join("<br>")
            }
            Kind::Switch => "`true`, `false`".into(),
            Kind::Integer { least: 0, .. } => "whole number".into(),
            Kind::Integer { least, .. } => format!("whole number from {least}"),
            Kind::Number => "number".into(),
            Kind::Text => "text".into(),
            Kind::Referring => "text with `${ENV}`".into(),
            Kind::Secret => "`${ENV}` or `file:PATH`".into(),
            Kind::Format(format) => format!("{}: `{}`", format.noun, format.example.replace(", ", "`, `")),
        }
    }

    /// The path under which a section is described: the first that leads to one of its keys.
    fn home(&mut self, path: &str, fields: &[Field]) -> &str {
        self.homes.entry(format!("{fields:?}")).or_insert_with(|| path.to_owned())
    }

    fn line(&mut self, text: &str) {
        writeln!(self.text, "{text}").expect("a String takes all text");
    }
}

fn default(field: &Field) -> String {
    match &field.default {
        _ if field.required => "**required**".into(),
        Some(Json::String(text)) => format!("`{text}`"),
        Some(Json::Array(items)) => {
            let items: Vec<_> =
                items.iter().map(|item| item.as_str().map_or(item.to_string(), str::to_owned)).collect();
            format!("`[{}]`", items.join(", "))
        }
        Some(Json::Object(entries)) if entries.is_empty() => "none".into(),
        Some(other) => format!("`{other}`"),
        None if matches!(field.form.kind, Kind::Section(_)) && !field.form.nullable => String::new(),
        None if field.about.contains("Default:") => String::new(),
        None => "none".into(),
    }
}

fn about(field: &Field) -> String {
    field.about.replace('|', "\\|")
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.into() } else { format!("{path}.{key}") }
}

/// The anchor that code forges give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' '));
    kept.collect::<String>().to_ascii_lowercase().replace(' ', "-")
}

const INTRODUCTION: &str = "\
# The config file

<!-- Generated from src/config/settings.rs and the sections of the rooms. To refresh: TOLLGATE_BLESS=1 cargo test --lib config::document -->

Tollgate reads one YAML file. [config/tollgate.yaml](../config/tollgate.yaml) is the smallest useful one,
[config/reference.yaml](../config/reference.yaml) holds every key with its default. `tollgate check FILE` reports
all faults at once, each with its line and a hint; `tollgate serve` refuses a file with faults, and a running
gateway keeps its config when the file turns bad.

Editors that know YAML help while you write when this is the first line:

```yaml
# yaml-language-server: $schema=./schema.json
```

**Numbers.** Whole numbers may be grouped: `200_000`. Durations are written `250ms`, `30s`, `5m`, `2h`, `7d`; sizes
`512`, `64KiB`, `8MiB`, `1GiB`; shares `75%`; money in USD as a decimal with up to nine places, read exactly.

**Secrets** are never written into the file. `${NAME}` stands for an environment variable, `file:PATH` for the
content of a file, less the line break at its end. `${NAME}` may also be part of a header's value. A variable that
is not set, a file that cannot be read and an empty secret are faults.

**Paths.** `data_dir` starts from the folder in which Tollgate runs, because Tollgate writes there. What belongs
to the config - `file:` secrets, `tls`, `price_catalogue` - starts from the folder of the config file.

**Words.** Text stays text: `no`, `on` and `1.0` are not turned into something else where text is due. Switches
are `true` and `false`. Unknown keys, keys given twice, aliases (`*name`) and tags (`!name`) are faults.
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Compares a committed file with what is generated now.
    fn is_fresh(file: &str, generated: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        if super::super::environment("TOLLGATE_BLESS").is_some() {
            std::fs::write(&path, generated).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "{file} is stale; refresh it: TOLLGATE_BLESS=1 cargo test --lib config::document"
        );
    }

    #[test]
    fn the_committed_schema_is_fresh() {
        is_fresh("config/schema.json", &schema_json());
    }

    #[test]
    fn the_committed_page_is_fresh() {
        is_fresh("docs/CONFIG.md", &page());
    }

    #[test]
    fn every_link_of_the_page_leads_to_a_heading() {
        let page = page();
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        let links: Vec<_> =
            page.split("](#").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect();
        assert!(links.len() > 10);
        for link in links {
            assert!(headings.iter().any(|heading| heading == link), "#{link}");
        }
    }
}
