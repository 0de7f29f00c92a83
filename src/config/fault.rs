//! What is wrong with a config file: where, what, and how to put it right. All faults are collected,
//! none stops the reading of the rest.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Faults {
    /// The file cannot be read at all.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The file was read and has faults.
    #[error("{}", AllLines { file, found })]
    Found {
        /// The file.
        file: PathBuf,
        /// Every fault and warning, in the order of the file. At least one is an error.
        found: Vec<Fault>,
    },
}

impl Faults {
    /// Every fault and warning; none when the file could not be read.
    #[must_use]
    pub fn found(&self) -> &[Fault] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Found { found, .. } => found,
        }
    }
}

/// One fault of a config file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Whether the file can be used nevertheless.
    pub severity: Severity,
    /// Line of the value at fault, from 1.
    pub line: usize,
    /// Column of the value at fault, from 1.
    pub column: usize,
    /// The key at fault, e.g. `teams.search.budgets[0].limit_usd`; empty for the file as a whole.
    pub path: String,
    /// What is wrong. Never holds a secret, nor a value long enough to be one.
    pub message: String,
    /// How to put it right.
    pub hint: Option<String>,
}

/// Whether a file can be used in spite of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but look at it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// `line:column: error: path: message`, without the hint.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: ", self.line, self.column, self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

struct AllLines<'a> {
    file: &'a PathBuf,
    found: &'a [Fault],
}

impl fmt::Display for AllLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.found.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{fault}", self.file.display())?;
            if let Some(hint) = &fault.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// A value as a fault may show it.
#[must_use]
pub(super) fn shown(text: &str) -> String {
    if may_show(text) { format!("`{text}`") } else { "the value".into() }
}

/// Whether a fault may show a value: short words yes, anything long enough to be a credential no.
#[must_use]
pub(super) fn may_show(text: &str) -> bool {
    text.chars().count() <= LONGEST_SHOWN && !text.chars().any(char::is_control)
}

/// Providers' keys have 32 characters and more; no word or number that the config knows has 25.
const LONGEST_SHOWN: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_credential_is_not_shown() {
        assert_eq!(shown("refuze"), "`refuze`");
        assert_eq!(shown("sk-0123456789abcdef0123456789abcdef"), "the value");
    }
}
