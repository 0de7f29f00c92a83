//! What a budget counts: whose requests, which of them, and what has an account of its own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::section::{BudgetSection, Per};
use super::spec::Scope;
use crate::base::case::lower;
use crate::base::glob::Glob;

/// Who spends: a request as budgets see it. Names are as the record has them.
#[derive(Debug, Clone, Copy)]
pub struct Spender<'a> {
    /// Team of the caller.
    pub team: &'a str,
    /// Key name within the team.
    pub key: &'a str,
    /// End user as the client named them; empty if it did not.
    pub user: &'a str,
    /// Run as the client named it; empty if it did not.
    pub run: &'a str,
    /// Model the caller asked for.
    pub model: &'a str,
    /// Labels of the request.
    pub tags: &'a BTreeMap<String, String>,
}

/// What a budget counts. Two budgets that count different things are different budgets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Who holds it.
    pub scope: Scope,
    /// What has an account of its own; `None` when there is one for all.
    pub per: Option<Per>,
    /// Only requests for these models, in lower case; all if empty.
    pub models: Vec<Glob>,
    /// Only requests with these tags.
    pub tags: BTreeMap<String, String>,
}

/// The name of one account of a budget that has many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name<'a> {
    /// Names of users, runs and tags are names within a team; those of models are everybody's.
    pub(super) team: &'a str,
    pub(super) value: Cow<'a, str>,
}

impl Name<'_> {
    /// Of what has no name.
    pub(super) const NONE: Self = Self { team: "", value: Cow::Borrowed("") };
}

impl Counted {
    pub(super) fn new(scope: Scope, section: &BudgetSection) -> Self {
        let models = section.models.iter().flatten().map(|pattern| Glob::new(&lower(pattern))).collect();
        Self { scope, per: section.per.clone(), models, tags: section.tags.clone() }
    }

    /// Whether the budget's holder is this spender.
    #[must_use]
    pub fn covers(&self, spender: &Spender<'_>) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::Team(team) => team == spender.team,
            Scope::Key(team, key) => team == spender.team && key == spender.key,
        }
    }

    /// Whether it counts this request of its holder's. The case of a model's name is no way around it.
    #[must_use]
    pub fn fits(&self, spender: &Spender<'_>) -> bool {
        let is_model = self.models.is_empty() || {
            let asked = lower(spender.model);
            self.models.iter().any(|model| model.matches(&asked))
        };
        let has_run = self.per != Some(Per::Run) || !spender.run.is_empty();
        let is_tagged = || self.tags.iter().all(|(name, value)| spender.tags.get(name) == Some(value));
        is_model && has_run && is_tagged()
    }

    /// The account that the request is of; `None` when there is one for all.
    pub(super) fn name<'s>(&self, spender: &Spender<'s>) -> Option<Name<'s>> {
        let value = match self.per.as_ref()? {
            Per::User => spender.user,
            Per::Run => spender.run,
            Per::Model => return Some(Name { team: "", value: lower(spender.model) }),
            Per::Tag(tag) => spender.tags.get(tag).map_or("", String::as_str),
        };
        Some(Name { team: spender.team, value: Cow::Borrowed(value) })
    }

    /// As [`Counted::describe`], of any account that may come.
    pub(super) fn describe_each(&self) -> String {
        match &self.per {
            None => self.describe(&Member::All),
            Some(per) => format!("each {} of {}", noun(per), self.scope),
        }
    }

    /// Whose spending an account counts, for people: `user alice of team search, models gpt-4*`.
    pub(super) fn describe(&self, member: &Member) -> String {
        let mut text = String::new();
        self.write(member, &mut text).expect("a String takes all text");
        text
    }

    fn write(&self, member: &Member, text: &mut String) -> fmt::Result {
        match (&self.per, member) {
            (None, _) | (_, Member::All) => write!(text, "{}", self.scope)?,
            (Some(per), Member::Named { team, .. } | Member::Others { team }) => {
                match member {
                    Member::Named { value, .. } if value.is_empty() => {
                        write!(text, "requests without a {}", noun(per))?;
                    }
                    Member::Named { value, .. } => write!(text, "{} {}", noun(per), shown(value))?,
                    Member::All | Member::Others { .. } => write!(text, "{} {OTHERS}", noun(per))?,
                }
                match &self.scope {
                    Scope::Everything if team.is_empty() => {}
                    Scope::Everything => write!(text, " of team {team}")?,
                    scope => write!(text, " of {scope}")?,
                }
            }
        }
        if !self.models.is_empty() {
            write!(text, ", models {}", joined(self.models.iter().map(Glob::as_str)))?;
        }
        if !self.tags.is_empty() {
            let tags = self.tags.iter().map(|(name, value)| format!("{name}={value}"));
            write!(text, ", tags {}", joined(tags))?;
        }
        Ok(())
    }

    /// What of it stands in the budget's id.
    pub(super) fn suffix(&self) -> String {
        let mut text = String::new();
        if let Some(per) = &self.per {
            let _ = write!(text, "-per-{per}");
        }
        if !self.models.is_empty() {
            let _ = write!(text, "[{}]", joined(self.models.iter().map(Glob::as_str)));
        }
        if !self.tags.is_empty() {
            let tags = self.tags.iter().map(|(name, value)| format!("{name}={value}"));
            let _ = write!(text, "{{{}}}", joined(tags));
        }
        text
    }
}

/// Whose an account is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Member {
    /// Everyone's whom the budget counts.
    All,
    /// One name's.
    Named {
        /// Empty for models.
        team: Box<str>,
        /// The user, model, run or value.
        value: Box<str>,
    },
    /// Of all names of a team that came when there was no room for more accounts.
    Others {
        /// Empty for models.
        team: Box<str>,
    },
}

impl Member {
    /// Whether it is a run, user, model or value that this names.
    pub(super) fn name(&self) -> Name<'_> {
        match self {
            Self::Named { team, value } => Name { team, value: Cow::Borrowed(value) },
            Self::All | Self::Others { .. } => Name::NONE,
        }
    }
}

fn noun(per: &Per) -> &str {
    match per {
        Per::User => "user",
        Per::Model => "model",
        Per::Run => "run",
        Per::Tag(name) => name,
    }
}

fn joined<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> String {
    texts.map(|text| text.as_ref().to_owned()).collect::<Vec<_>>().join(",")
}

/// A caller's text in a message: at most 64 characters, escaped.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// What stands for the names that share one account.
pub(super) const OTHERS: &str = "(others)";
