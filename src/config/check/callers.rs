//! Checks of teams and keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Checker;
use crate::base::clock::Clock;
use crate::config::report::KeyPath;
use crate::config::settings::{KeySection, Settings, TeamSection};
use crate::identity::{KeyHash, Pepper};
use crate::limits::section::{LimitsSection, ModelLimitSection};

pub(super) fn check(settings: &Settings, checker: &mut Checker<'_>) {
    let teams = KeyPath::top("teams");
    if settings.teams.is_empty() && !settings.open && !checker.meant(&KeyPath::default(), &["teams", "open"])
    {
        let hint =
            "add a team with a key (`tollgate keys new TEAM/NAME`), or `open: true` to try it out alone";
        checker.error(&teams, "there is no team, so nobody may ask", hint);
    }
    model_limits(&settings.limits, checker);
    let mut proofs = Proofs { pepper: pepper(settings), seen: HashMap::new() };
    for (name, section) in &settings.teams {
        let path = teams.key(name);
        checker.name(&path, name);
        team(&path, section, settings.open, checker);
        for (index, key) in section.keys.iter().enumerate() {
            same_proof((name, index), key, &mut proofs, checker);
        }
    }
}

/// Limits on models: each names some limit, and none is stated twice, since the second would share the
/// counters of the first.
fn model_limits(sections: &[ModelLimitSection], checker: &mut Checker<'_>) {
    let mut seen = HashMap::new();
    for (index, section) in sections.iter().enumerate() {
        let path = KeyPath::top("limits").item(index);
        if let Some(models) = &section.models {
            checker.patterns(&path.key("models"), models);
        }
        if section.limits() == LimitsSection::default() {
            let hint = "`requests_per_minute`, `tokens_per_minute` or `concurrent`";
            checker.warning(&path, "limits nothing", hint);
        }
        if let Some(first) = seen.insert((section.models.as_deref(), section.per), index) {
            let message = format!("limits[{first}] is for the same models and callers");
            checker.error(&path, message, "state all limits in one entry");
        }
    }
}

fn team(path: &KeyPath<'_>, section: &TeamSection, open: bool, checker: &mut Checker<'_>) {
    if section.keys.is_empty() && !open && !checker.meant(path, &["keys"]) {
        checker.warning(
            path,
            "the team has no key, so nobody asks for it",
            "`tollgate keys new TEAM/NAME` makes one",
        );
    }
    if let Some(models) = &section.models {
        checker.patterns(&path.key("models"), models);
    }
    expiry(path, section.expires.as_deref(), checker);
    if let Some(cache) = &section.cache {
        checker.not_zero(&path.key("cache").key("ttl"), cache.ttl.0.is_zero());
    }
    let mut names = HashMap::with_capacity(section.keys.len());
    let keys = path.key("keys");
    for (index, section) in section.keys.iter().enumerate() {
        let path = keys.item(index);
        key(&path, section, checker);
        if let Some(first) = names.insert(section.name.as_str(), index) {
            let message = format!("keys[{first}] of this team has this name");
            checker.error(&path.key("name"), message, "give each key of a team its own name");
        }
    }
}

fn key(path: &KeyPath<'_>, section: &KeySection, checker: &mut Checker<'_>) {
    checker.name(&path.key("name"), &section.name);
    match (&section.hash, &section.key) {
        (Some(_), Some(_)) => checker.error(&path.key("hash"), "there is a `key` too", "keep one of the two"),
        (None, None) if checker.meant(path, &["hash", "key"]) => {}
        (None, None) => checker.error(path, "has neither `hash` nor `key`", ONE_PROOF),
        (Some(hash), None) if !is_hash(hash) => {
            let message = "not a key's hash: `hmac-sha256:` and 64 hex digits";
            checker.error(&path.key("hash"), message, ONE_PROOF);
        }
        (None, Some(key)) if key.expose().len() < SHORTEST_KEY => {
            let message = format!("the key has fewer than {SHORTEST_KEY} characters: it can be guessed");
            checker.warning(&path.key("key"), message, "`tollgate keys new TEAM/NAME` makes a good one");
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
    if let Some(models) = &section.models {
        checker.patterns(&path.key("models"), models);
    }
    expiry(path, section.expires.as_deref(), checker);
}

fn is_hash(text: &str) -> bool {
    let digits = text.strip_prefix("hmac-sha256:");
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The keys seen so far.
struct Proofs<'a> {
    /// `None` before the first start: then a `key` and the `hash` of it cannot be told to be the same.
    pepper: Option<Pepper>,
    /// Each with its team and its place among the team's keys.
    seen: HashMap<Proof, (&'a str, usize)>,
}

#[derive(PartialEq, Eq, Hash)]
enum Proof {
    Hash(KeyHash),
    /// Without a pepper; hashed nevertheless, so that no second copy of a key lies in memory.
    Bare(blake3::Hash),
}

/// The pepper of this config's data folder, if there is one that this user may read. Makes none.
fn pepper(settings: &Settings) -> Option<Pepper> {
    Pepper::load(&Pepper::path_in(&settings.data_dir)).ok()
}

/// Two entries for one key would leave it to chance whose request it is.
fn same_proof<'a>(
    place: (&'a str, usize),
    key: &KeySection,
    proofs: &mut Proofs<'a>,
    checker: &mut Checker<'_>,
) {
    let (word, proof) = match (&key.hash, &key.key) {
        (Some(hash), None) => match hash.parse() {
            Ok(hash) => ("hash", Proof::Hash(hash)),
            // a fault that is reported already
            Err(_) => return,
        },
        (None, Some(key)) => {
            let key = key.expose();
            let bare = || Proof::Bare(blake3::hash(key.as_bytes()));
            ("key", proofs.pepper.as_ref().map_or_else(bare, |pepper| Proof::Hash(pepper.hash(key))))
        }
        _ => return,
    };
    let path_of = |(team, index)| KeyPath::top("teams").key(team).key("keys").item(index);
    match proofs.seen.entry(proof) {
        Entry::Occupied(first) => {
            let message = format!("this is the same key as {}", path_of(*first.get()));
            checker.error(&path_of(place).key(word), message, "give each caller a key of its own");
        }
        Entry::Vacant(free) => {
            free.insert(place);
        }
    }
}

fn expiry(of: &KeyPath<'_>, text: Option<&str>, checker: &mut Checker<'_>) {
    let Some(text) = text else { return };
    let path = &of.key("expires");
    match last_second(text) {
        None => {
            let message = "not a date or an instant with its zone";
            checker.error(path, message, "`2027-01-31` (through its end, UTC) or `2027-01-31T18:00:00Z`");
        }
        Some(second) if second < Clock::system().now().as_secs() => {
            checker.warning(path, "has passed: nothing is accepted any more", "remove it, or what it ends");
        }
        Some(_) => {}
    }
}

/// The last second of validity, since the epoch.
fn last_second(text: &str) -> Option<i64> {
    let is_date = text.len() == "2027-01-31".len();
    if is_date {
        let end = text.parse::<Date>().ok()?.tomorrow().ok()?;
        return Some(end.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second() - 1);
    }
    text.parse::<jiff::Timestamp>().ok().map(|instant| instant.as_second())
}

const ONE_PROOF: &str = "`tollgate keys new TEAM/NAME` prints a line with the hash; or `key: \"${NAME}\"`";
/// 16 characters of base 32 are 80 bits: beyond guessing over a network.
const SHORTEST_KEY: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_valid_through_its_end() {
        assert_eq!(last_second("1970-01-01"), Some(86_399));
        assert_eq!(last_second("1970-01-01T00:00:05Z"), Some(5));
        assert_eq!(last_second("1970-01-01T01:00:05+01:00"), Some(5));
        for bad in ["", "tomorrow", "2027-13-01", "2027-02-30", "2027-01-31T00:00:00", "31.01.2027"] {
            assert_eq!(last_second(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_hash_is_what_the_command_prints() {
        assert!(is_hash(&format!("hmac-sha256:{}", "0aF".repeat(22).split_at(64).0)));
        for bad in ["", "hmac-sha256:", "hmac-sha256:zz", "sha256:00"] {
            assert!(!is_hash(bad), "{bad}");
        }
    }
}
