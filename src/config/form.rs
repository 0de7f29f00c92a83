//! What a config may hold, as a tree of forms made from the JSON Schema of [`Settings`]. The loader, the
//! reference page and the tests walk this tree; nothing else in this room knows a key by name twice.

use schemars::Schema;
use serde_json::Value as Json;

use super::settings::Settings;
use crate::base::secret::{REFERRING_FORMAT, SECRET_FORMAT};
use crate::base::units::{Percent, Size, Span, Usd, UsdPerMillion, Written};
use crate::budget::section::Per;

/// The form of one value.
#[derive(Debug, Clone)]
pub(super) struct Form {
    pub(super) kind: Kind,
    /// Whether an empty value is right and means "absent".
    pub(super) nullable: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A map with known keys.
    Section(Vec<Field>),
    /// A map from names to values of one form.
    Named(Box<Form>),
    /// A list of values of one form.
    List(Box<Form>),
    /// One of a few words.
    Word(Vec<Word>),
    /// One of a few words, or a section.
    WordOr(Vec<Word>, Vec<Field>),
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Integer { least: u64, most: u64 },
    /// A number with a fraction.
    Number,
    /// Any text.
    Text,
    /// Text in which `${ENV}` is replaced.
    Referring,
    /// A reference to a secret.
    Secret,
    /// Text of a format of `base::units`.
    Format(Format),
}

/// A key of a section.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) form: Form,
    pub(super) required: bool,
    pub(super) default: Option<Json>,
}

/// A word and what it means.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) word: String,
    pub(super) about: String,
}

/// A format of `base::units`, as its own reader knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    /// Its name in the schema.
    pub(super) name: &'static str,
    /// What a right value looks like.
    pub(super) example: &'static str,
    /// What people call it.
    pub(super) noun: &'static str,
    /// A pattern for editors; the reader decides.
    pub(super) pattern: &'static str,
    /// Whether the text is right.
    pub(super) read: fn(&str) -> Result<(), String>,
}

impl Format {
    /// One right value.
    pub(super) fn first_example(self) -> &'static str {
        self.example.split(',').next().unwrap_or(self.example)
    }
}

/// Every format that a config value may have.
pub(super) const FORMATS: [Format; 6] = [
    format::<Span>("a duration", r"^[0-9][0-9_]*(ms|s|m|h|d)$"),
    format::<Size>("a size", r"^[0-9][0-9_]*(B|KiB|MiB|GiB)?$"),
    format::<Percent>("a share", r"^([1-9][0-9]?|100)%$"),
    format::<Usd>("an amount in USD", DECIMAL),
    format::<UsdPerMillion>("a rate in USD per million", DECIMAL),
    format::<Per>("what has an account of its own", r"^(user|model|run|tag:.+)$"),
];

const DECIMAL: &str = r"^[0-9_]*\.?[0-9_]*([eE][+-]?[0-9]+)?$";

const fn format<T: Written>(noun: &'static str, pattern: &'static str) -> Format {
    Format { name: T::FORMAT, example: T::EXAMPLE, noun, pattern, read: reads::<T> }
}

fn reads<T: Written>(text: &str) -> Result<(), String> {
    T::read(text).map(drop)
}

/// The form of a whole config.
pub(super) fn settings() -> Form {
    let schema = schema();
    form(schema.as_value(), schema.as_value())
}

/// The JSON Schema of a whole config, as derived.
pub(super) fn schema() -> Schema {
    schemars::schema_for!(Settings)
}

fn form(schema: &Json, root: &Json) -> Form {
    let schema = resolved(schema, root);
    if let Some(choices) = schema.get("anyOf").and_then(Json::as_array) {
        // schemars writes an optional section as "this or null"
        let inner = choices.iter().find(|choice| choice.get("type") != Some(&Json::from("null")));
        return Form { nullable: true, ..form(inner.expect(KNOWN_SHAPES), root) };
    }
    let types = types(schema);
    Form { kind: kind(schema, &types, root), nullable: types.contains(&"null") }
}

fn kind(schema: &Json, types: &[&str], root: &Json) -> Kind {
    if let Some(words) = schema.get("oneOf").and_then(Json::as_array) {
        return word_or_section(words, root);
    }
    let format = schema.get("format").and_then(Json::as_str);
    if let Some(format) = FORMATS.iter().find(|known| Some(known.name) == format) {
        return Kind::Format(*format);
    }
    let has = |name: &str| types.contains(&name);
    if has("object") {
        return match schema.get("properties").and_then(Json::as_object) {
            Some(properties) => Kind::Section(
                properties.iter().map(|(name, field)| field_of(name, field, schema, root)).collect(),
            ),
            None => Kind::Named(Box::new(form(&schema["additionalProperties"], root))),
        };
    }
    if has("array") {
        return Kind::List(Box::new(form(&schema["items"], root)));
    }
    match format {
        Some(SECRET_FORMAT) => Kind::Secret,
        Some(REFERRING_FORMAT) => Kind::Referring,
        _ if has("boolean") => Kind::Switch,
        _ if has("integer") => integer(schema, format),
        _ if has("number") => Kind::Number,
        _ => {
            assert!(has("string"), "{KNOWN_SHAPES}");
            Kind::Text
        }
    }
}

/// An enum of words, of which one may carry a section in place of the word.
fn word_or_section(choices: &[Json], root: &Json) -> Kind {
    let (words, sections): (Vec<_>, Vec<_>) = choices.iter().partition(|c| c.get("const").is_some());
    let words = words.into_iter().map(word).collect();
    let fields: Vec<Field> = sections
        .into_iter()
        .flat_map(|section| {
            let properties = section["properties"].as_object().expect(KNOWN_SHAPES);
            let described = |(name, field): (&String, &Json)| Field {
                about: about(section),
                ..field_of(name, field, section, root)
            };
            properties.iter().map(described).collect::<Vec<_>>()
        })
        .collect();
    if fields.is_empty() { Kind::Word(words) } else { Kind::WordOr(words, fields) }
}

fn field_of(name: &str, field: &Json, section: &Json, root: &Json) -> Field {
    let required = section.get("required").and_then(Json::as_array);
    Field {
        name: name.into(),
        about: about(field),
        form: form(field, root),
        required: required.is_some_and(|names| names.iter().any(|required| required == name)),
        default: field.get("default").filter(|default| !default.is_null()).cloned(),
    }
}

fn word(schema: &Json) -> Word {
    let word = schema.get("const").and_then(Json::as_str).expect(KNOWN_SHAPES);
    Word { word: word.into(), about: about(schema) }
}

fn integer(schema: &Json, format: Option<&str>) -> Kind {
    let least = schema.get("minimum").and_then(Json::as_u64).unwrap_or(0);
    let most = match format {
        Some("uint32") => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    Kind::Integer { least, most }
}

fn about(schema: &Json) -> String {
    schema.get("description").and_then(Json::as_str).unwrap_or_default().replace('\n', " ")
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn resolved<'a>(schema: &'a Json, root: &'a Json) -> &'a Json {
    let name = schema.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    name.map_or(schema, |name| &root["$defs"][name])
}

const KNOWN_SHAPES: &str = "the schema uses only shapes that this reader knows (a test walks all of it)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_corner_of_the_schema_has_a_form() {
        let Kind::Section(fields) = settings().kind else { panic!("settings are a section") };
        assert!(fields.iter().any(|field| field.name == "upstreams" && field.required));
    }

    #[test]
    fn every_key_says_what_it_is() {
        fn visit(path: &str, form: &Form) {
            match &form.kind {
                Kind::Section(fields) => {
                    for field in fields {
                        assert!(!field.about.is_empty(), "{path}.{} has no doc comment", field.name);
                        visit(&format!("{path}.{}", field.name), &field.form);
                    }
                }
                Kind::Named(form) | Kind::List(form) => visit(path, form),
                Kind::Word(words) | Kind::WordOr(words, _) => {
                    assert!(
                        words.iter().all(|word| !word.about.is_empty()),
                        "{path}: a word without meaning"
                    );
                }
                _ => {}
            }
        }
        visit("", &settings());
    }

    #[test]
    fn headers_are_text_that_may_refer_to_the_environment() {
        let text = format!("{:?}", settings());
        assert_eq!(text.matches("Referring").count(), 2, "upstream headers and telemetry headers");
    }
}
