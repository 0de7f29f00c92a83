//! References to secrets, `${ENV}` and `file:PATH`, replaced by what they refer to. No message holds the latter.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Resolves references while one file is loaded.
pub(super) struct Secrets<'a> {
    /// The environment, as a function from name to value.
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The folder of the config file, from which relative `file:` paths start.
    pub(super) folder: &'a Path,
}

/// What a reference led to.
#[derive(PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) text: String,
    /// Something about it that deserves a warning, and what to do about it.
    pub(super) warning: Option<(String, &'static str)>,
}

/// Why a reference leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dangling {
    pub(super) message: String,
    pub(super) hint: String,
}

impl Secrets<'_> {
    /// What the text refers to; text that is no reference is refused.
    pub(super) fn resolve(&self, reference: &str) -> Result<Resolved, Dangling> {
        if let Some(path) = reference.strip_prefix("file:") {
            return file(&self.folder.join(path));
        }
        match reference.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => self.variable(name).map(|text| Resolved { text, warning: None }),
            None => Err(dangling("a secret must not be written into the config", HOW_TO_REFER)),
        }
    }

    /// The text with each `${ENV}` in it replaced.
    pub(super) fn fill_in(&self, text: &str) -> Result<String, Dangling> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return Err(dangling("`${` without its `}`", "write `${NAME}`"));
            };
            filled.push_str(before);
            filled.push_str(&self.variable(name)?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn variable(&self, name: &str) -> Result<String, Dangling> {
        let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if name.is_empty() || !letters || name.as_bytes()[0].is_ascii_digit() {
            let hint = "letters, digits and `_`, e.g. `${OPENAI_API_KEY}`";
            return Err(dangling("`${...}` needs the name of an environment variable", hint));
        }
        let hint = format!("set it where Tollgate runs, e.g. `export {name}=...`");
        match (self.environment)(name) {
            None => Err(dangling(format!("the environment variable {name} is not set"), hint)),
            Some(text) => usable(text, &format!("the environment variable {name}"), &hint),
        }
    }
}

fn file(path: &Path) -> Result<Resolved, Dangling> {
    let shown = path.display();
    let fault = |what: &str| dangling(format!("the secret file {shown} {what}"), ONE_SECRET);
    let unreadable = |e: io::Error| fault(&format!("cannot be read: {e}"));
    // asked before opening: to open a pipe would wait for its writer
    let about = path.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(fault("is not a file"));
    }
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(unreadable)?;
    opened.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(fault("is too large to be a secret"));
    }
    let text = String::from_utf8(bytes).map_err(|_| fault("is not text"))?;
    let text =
        usable(text.trim_end_matches(['\n', '\r']).into(), &format!("the secret file {shown}"), ONE_SECRET)?;
    let warning =
        open_to_all(&about).then(|| (format!("every user may read {shown}"), "`chmod 600` the file"));
    Ok(Resolved { text, warning })
}

/// The secret, if it can stand in a header: not empty, no control characters, no space around it.
fn usable(text: String, whose: &str, hint: &str) -> Result<String, Dangling> {
    if text.is_empty() {
        return Err(dangling(format!("{whose} is empty"), hint));
    }
    if text.chars().any(char::is_control) {
        return Err(dangling(format!("{whose} holds a line break or control character"), hint));
    }
    if text.trim() != text {
        return Err(dangling(format!("{whose} begins or ends with a space"), hint));
    }
    Ok(text)
}

#[cfg(unix)]
fn open_to_all(about: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    about.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn open_to_all(_: &Metadata) -> bool {
    false
}

fn dangling(message: impl Into<String>, hint: impl Into<String>) -> Dangling {
    Dangling { message: message.into(), hint: hint.into() }
}

const HOW_TO_REFER: &str = "refer to it: `${NAME}` for an environment variable, `file:PATH` for a file";
const ONE_SECRET: &str = "put the secret, and nothing else, into a file of mode 0600";
/// 64 KiB; the longest credentials, signed tokens, have a few.
const LARGEST: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(reference: &str, folder: &Path) -> Result<Resolved, Dangling> {
        let environment = |name: &str| match name {
            "GOOD" => Some("s3cret".to_owned()),
            "EMPTY" => Some(String::new()),
            "TWO_LINES" => Some("a\nb".to_owned()),
            _ => None,
        };
        Secrets { environment: &environment, folder }.resolve(reference)
    }

    #[test]
    fn a_secret_is_a_reference_that_leads_somewhere() {
        let here = Path::new(".");
        assert_eq!(resolve("${GOOD}", here).ok().unwrap().text, "s3cret");
        for (reference, part) in [
            ("${ABSENT}", "ABSENT is not set"),
            ("${EMPTY}", "EMPTY is empty"),
            ("${TWO_LINES}", "line break"),
            ("${}", "needs the name"),
            ("${a b}", "needs the name"),
            ("s3cret-in-clear", "must not be written"),
            ("x${GOOD}", "must not be written"),
            ("file:/nowhere/at/all", "cannot be read"),
            ("file:/", "is not a file"),
        ] {
            let fault = resolve(reference, here).err().expect(reference);
            assert!(fault.message.contains(part), "{reference}: {}", fault.message);
            assert!(!fault.message.contains("s3cret") && !fault.hint.contains("s3cret"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_file_lies_beside_the_config_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "s3cret\n").unwrap();
        for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = resolve("file:key", folder.path()).ok().unwrap();
            assert_eq!((found.text.as_str(), found.warning.is_some()), ("s3cret", warned), "{mode:o}");
        }
    }

    #[test]
    fn only_braces_refer() {
        let environment = |name: &str| (name == "T").then(|| "tok".to_owned());
        let secrets = Secrets { environment: &environment, folder: Path::new(".") };
        assert_eq!(secrets.fill_in("Bearer ${T}, $5, ${T}").unwrap(), "Bearer tok, $5, tok");
        assert!(secrets.fill_in("${T").is_err() && secrets.fill_in("${U}").is_err());
    }
}
