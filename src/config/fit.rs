//! Fits the tree of a file to the form of a config: every key known, every value of its kind, every secret
//! found. Knows no key by name. What does not fit is reported and stood in for, so that the rest can be
//! checked too.

use std::borrow::Cow;

use super::fault::{Severity, may_show, shown};
use super::fitted::Fitted;
use super::form::{Field, Form, Format, Kind, Word};
use super::report::{KeyPath, Report, Spot, Step};
use super::secrets::{Dangling, Secrets};
use super::suggest::{did_you_mean, one_of};
use super::tree::{Entry, Node, Value};

/// Fits `root` to `form`. The answer always has the form's shape; it is right if nothing was reported.
pub(super) fn fit<'a>(
    root: &'a Node<'a>,
    form: &'a Form,
    secrets: &Secrets<'_>,
    report: &mut Report,
) -> Fit<'a> {
    let mut fitter = Fitter { secrets, report, path: KeyPath::default(), resolved: blake3::Hasher::new() };
    let value = fitter.value(root, form).unwrap_or_else(|| stand_in(form));
    Fit { value, secrets: fitter.resolved.finalize() }
}

/// A config that fits, numbers with a format as text.
pub(super) struct Fit<'a> {
    pub(super) value: Fitted<'a>,
    /// Of all that references led to, in order: tells whether a secret has changed.
    pub(super) secrets: blake3::Hash,
}

struct Fitter<'r, 'a> {
    secrets: &'r Secrets<'r>,
    report: &'r mut Report,
    path: KeyPath<'a>,
    resolved: blake3::Hasher,
}

impl<'a> Fitter<'_, 'a> {
    /// The value, or `None` when it does not fit, which is reported.
    fn value(&mut self, node: &'a Node<'a>, form: &'a Form) -> Option<Fitted<'a>> {
        match &node.value {
            Value::Broken => None,
            Value::Scalar { text, plain } if *plain && is_null(text) => self.empty(node.spot, form),
            Value::Scalar { text, plain } => self.scalar(node.spot, text, *plain, form),
            Value::List(items) => match &form.kind {
                Kind::List(form) => Some(self.list(items, form)),
                _ => self.wrong_kind(node.spot, form, "a list"),
            },
            Value::Map(entries) => match &form.kind {
                Kind::Section(fields) | Kind::WordOr(_, fields) => {
                    Some(self.section(node.spot, entries, fields))
                }
                Kind::Named(form) => Some(self.named(entries, form)),
                _ => self.wrong_kind(node.spot, form, "a map of keys"),
            },
        }
    }

    fn section(&mut self, spot: Spot, entries: &'a [Entry<'a>], fields: &'a [Field]) -> Fitted<'a> {
        let mut fitted = Vec::with_capacity(entries.len());
        for entry in entries {
            self.path.0.push(Step::Key(Cow::Borrowed(&entry.key)));
            match fields.iter().find(|field| field.name == entry.key) {
                None => self.unknown_key(entry, fields),
                Some(field) => {
                    let value = self.value(&entry.node, &field.form);
                    if let Some(value) = value.or_else(|| field.required.then(|| stand_in(&field.form))) {
                        fitted.push((field.name.as_str(), value));
                    }
                }
            }
            self.path.0.pop();
        }
        for field in fields.iter().filter(|field| field.required) {
            if !entries.iter().any(|entry| entry.key == field.name) {
                self.missing_key(spot, field);
                fitted.push((field.name.as_str(), stand_in(&field.form)));
            }
        }
        Fitted::Map(fitted)
    }

    fn missing_key(&mut self, spot: Spot, field: &'a Field) {
        let hint = match &field.form.kind {
            Kind::Word(words) | Kind::WordOr(words, _) => {
                format!("{} Allowed: {}", field.about, one_of(&all(words)))
            }
            _ => field.about.clone(),
        };
        self.path.0.push(Step::Key(Cow::Borrowed(&field.name)));
        self.report.error(spot, &self.path, format!("`{}` is missing", field.name), &hint);
        self.path.0.pop();
    }

    fn unknown_key(&mut self, entry: &Entry<'_>, fields: &[Field]) {
        if self.report.is_full(Severity::Error) {
            return self.report.error(entry.key_spot, &self.path, "unknown key", "");
        }
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let hint = match did_you_mean(&entry.key, &names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("the keys here are {}", one_of(&names)),
        };
        let key = if may_show(&entry.key) { format!(" `{}`", entry.key) } else { String::new() };
        let message = format!("unknown key{key}");
        self.report.error(entry.key_spot, &self.path.showable(), message, &hint);
    }

    fn named(&mut self, entries: &'a [Entry<'a>], form: &'a Form) -> Fitted<'a> {
        let mut fitted = Vec::with_capacity(entries.len());
        for entry in entries {
            self.path.0.push(Step::Key(Cow::Borrowed(&entry.key)));
            let value = self.value(&entry.node, form).unwrap_or_else(|| stand_in(form));
            fitted.push((&*entry.key, value));
            self.path.0.pop();
        }
        Fitted::Map(fitted)
    }

    fn list(&mut self, items: &'a [Node<'a>], form: &'a Form) -> Fitted<'a> {
        let mut fitted = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.0.push(Step::Item(index));
            fitted.push(self.value(item, form).unwrap_or_else(|| stand_in(form)));
            self.path.0.pop();
        }
        Fitted::List(fitted)
    }

    /// A key with nothing behind it: right where absence is, and for a section whose keys are commented out.
    fn empty(&mut self, spot: Spot, form: &'a Form) -> Option<Fitted<'a>> {
        match &form.kind {
            _ if form.nullable => Some(Fitted::Nothing),
            Kind::Section(fields) => Some(self.section(spot, &[], fields)),
            Kind::Named(_) => Some(Fitted::Map(Vec::new())),
            Kind::List(_) => Some(Fitted::List(Vec::new())),
            _ => {
                let hint = "remove the key to get its default, or quote a text that reads `null` or `~`";
                self.report.error(spot, &self.path, format!("{} is missing here", noun(form)), hint);
                None
            }
        }
    }

    fn scalar(&mut self, spot: Spot, text: &'a str, plain: bool, form: &Form) -> Option<Fitted<'a>> {
        let fitted = match &form.kind {
            Kind::Text => Ok(text_of(text)),
            Kind::Word(words) | Kind::WordOr(words, _) => word(text, words),
            Kind::Switch => switch(text, plain),
            Kind::Integer { least, most } => integer(text, plain, *least, *most),
            Kind::Number => number(text, plain),
            Kind::Format(format) => formatted(text, *format),
            Kind::Secret => return self.secret(spot, text),
            Kind::Referring => return self.referring(spot, text),
            Kind::Section(_) | Kind::Named(_) | Kind::List(_) => {
                return self.wrong_kind(spot, form, "a single value");
            }
        };
        fitted.map_err(|(message, hint)| self.report.error(spot, &self.path, message, &hint)).ok()
    }

    fn secret(&mut self, spot: Spot, text: &str) -> Option<Fitted<'a>> {
        match self.secrets.resolve(text) {
            Ok(found) => {
                if let Some((message, hint)) = found.warning {
                    self.report.warning(spot, &self.path, message, hint);
                }
                Some(self.remember(found.text))
            }
            Err(fault) => self.dangling(spot, &fault),
        }
    }

    fn referring(&mut self, spot: Spot, text: &str) -> Option<Fitted<'a>> {
        match self.secrets.fill_in(text) {
            Ok(filled) => Some(self.remember(filled)),
            Err(fault) => self.dangling(spot, &fault),
        }
    }

    fn remember(&mut self, text: String) -> Fitted<'a> {
        self.resolved.update(&text.len().to_le_bytes()).update(text.as_bytes());
        Fitted::Text(text.into())
    }

    fn dangling(&mut self, spot: Spot, fault: &Dangling) -> Option<Fitted<'a>> {
        self.report.error(spot, &self.path, &*fault.message, &fault.hint);
        None
    }

    fn wrong_kind(&mut self, spot: Spot, form: &Form, found: &str) -> Option<Fitted<'a>> {
        let message = format!("expected {}, found {found}", noun(form));
        self.report.error(spot, &self.path, message, example(form));
        None
    }
}

/// A message and a hint.
type Misfit = (String, String);

fn word<'a>(text: &'a str, words: &[Word]) -> Result<Fitted<'a>, Misfit> {
    let known = all(words);
    if known.contains(&text) {
        return Ok(text_of(text));
    }
    let hint = match did_you_mean(text, &known) {
        Some(meant) => format!("did you mean `{meant}`? Allowed: {}", one_of(&known)),
        None => format!("allowed: {}", one_of(&known)),
    };
    Err((format!("{} is not one of its words", shown(text)), hint))
}

fn all(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.word.as_str()).collect()
}

fn switch<'a>(text: &str, plain: bool) -> Result<Fitted<'a>, Misfit> {
    match text {
        "true" if plain => Ok(Fitted::Switch(true)),
        "false" if plain => Ok(Fitted::Switch(false)),
        _ => Err((
            format!("{} is not true or false", shown(text)),
            "write `true` or `false`, without quotes".into(),
        )),
    }
}

/// A whole number, digits in groups if wanted (`200_000`).
fn integer<'a>(text: &str, plain: bool, least: u64, most: u64) -> Result<Fitted<'a>, Misfit> {
    let hint = || "digits only, without quotes; groups may be set apart: `200_000`".to_owned();
    let grouped = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    // 010 is ten in YAML 1.2 and eight in YAML 1.1
    let ambiguous = digits.len() > 1 && digits.starts_with('0');
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !plain || !grouped || !all_digits || ambiguous {
        return Err((format!("{} is not a whole number", shown(text)), hint()));
    }
    match digits.parse::<u64>() {
        Ok(number) if number < least => Err((format!("{} is less than {least}", shown(text)), hint())),
        Ok(number) if number <= most => Ok(Fitted::Integer(number)),
        _ => Err((format!("{} is more than {most}", shown(text)), hint())),
    }
}

fn number<'a>(text: &str, plain: bool) -> Result<Fitted<'a>, Misfit> {
    let decimal = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'e' | b'E' | b'+'));
    let number = text.parse::<f64>().ok().filter(|_| plain && decimal);
    number.filter(|number| number.is_finite()).map(Fitted::Number).ok_or_else(|| {
        (format!("{} is not a number", shown(text)), "a decimal without quotes, e.g. `0.25`".into())
    })
}

/// Text of a format, kept as text: an amount never passes through a float.
fn formatted(text: &str, format: Format) -> Result<Fitted<'_>, Misfit> {
    (format.read)(text).map(|()| text_of(text)).map_err(|message| {
        let message = if may_show(text) { message } else { format!("this is not {}", format.noun) };
        (message, format!("{}, e.g. {}", format.noun, format.example))
    })
}

fn text_of(text: &str) -> Fitted<'_> {
    Fitted::Text(Cow::Borrowed(text))
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A harmless value of the form, in place of one that is at fault.
fn stand_in(form: &Form) -> Fitted<'_> {
    match &form.kind {
        _ if form.nullable => Fitted::Nothing,
        Kind::Section(fields) => {
            let required = fields.iter().filter(|field| field.required);
            Fitted::Map(required.map(|field| (field.name.as_str(), stand_in(&field.form))).collect())
        }
        Kind::Named(_) => Fitted::Map(Vec::new()),
        Kind::List(_) => Fitted::List(Vec::new()),
        Kind::Word(words) | Kind::WordOr(words, _) => {
            text_of(words.first().map_or("", |word| word.word.as_str()))
        }
        Kind::Switch => Fitted::Switch(false),
        Kind::Integer { least, .. } => Fitted::Integer(*least),
        Kind::Number => Fitted::Number(0.0),
        Kind::Text | Kind::Referring | Kind::Secret => text_of(""),
        Kind::Format(format) => text_of(format.first_example()),
    }
}

fn noun(form: &Form) -> &'static str {
    match &form.kind {
        Kind::Section(_) | Kind::Named(_) => "a map of keys",
        Kind::List(_) => "a list",
        Kind::Word(_) | Kind::WordOr(..) => "a word",
        Kind::Switch => "true or false",
        Kind::Integer { .. } => "a whole number",
        Kind::Number => "a number",
        Kind::Text | Kind::Referring => "text",
        Kind::Secret => "a reference to a secret",
        Kind::Format(format) => format.noun,
    }
}

fn example(form: &Form) -> &'static str {
    match &form.kind {
        Kind::Section(_) | Kind::Named(_) => "write `key: value` lines below it, indented",
        Kind::List(_) => "write `[first, second]`, or a line `- item` for each",
        Kind::Format(format) => format.example,
        _ => "write a single value after the colon",
    }
}
