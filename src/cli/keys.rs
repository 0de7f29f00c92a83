//! `tollgate keys`: makes keys, hashes them, and tells whose one is. Keys are read from standard input
//! only: arguments end up in shell histories and process lists.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::out::{self, Exit};
use crate::base::secret::Secret;
use crate::identity::section::KeyProof;
use crate::identity::{KeyHash, Pepper, Spelling, new_key, spelling};

/// Make, hash and check keys.
#[derive(Debug, Args)]
pub struct KeysArgs {
    /// The config file, which says where the pepper is.
    #[arg(long, global = true, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: KeysVerb,
}

/// What to do with keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeysVerb {
    /// Make a new key. It is printed once and stored nowhere; the config gets its hash.
    New {
        /// Whose key: the team, and a name for the key within it.
        #[arg(value_name = "TEAM/NAME", value_parser = parse_owner)]
        owner: Owner,
    },
    /// Read a key from standard input and print its line for the config.
    Hash {
        /// Whose key, for the line.
        #[arg(value_name = "TEAM/NAME", value_parser = parse_owner)]
        owner: Option<Owner>,
    },
    /// Read a key from standard input and say whose it is.
    Check,
}

/// A key's place in the config: its team and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The team.
    pub team: String,
    /// The key's name within the team.
    pub name: String,
}

/// A key that the config lists.
#[derive(Debug)]
pub struct ListedKey {
    /// Whose key.
    pub owner: Owner,
    /// How it is told.
    pub proof: KeyProof,
}

/// Runs the command with the pepper of the config's data directory and the keys that the config lists.
#[must_use]
pub fn run(args: &KeysArgs, pepper: &Path, listed: &[ListedKey]) -> Exit {
    let pepper = match Pepper::load_or_create(pepper) {
        Ok(pepper) => pepper,
        Err(fault) => return failed(&fault.to_string()),
    };
    match &args.verb {
        KeysVerb::New { owner } => make(owner, &pepper, args.json),
        KeysVerb::Hash { owner } => match read_key(io::stdin()) {
            Ok(key) => print_hash(owner.as_ref(), &pepper.hash(key.expose()), args.json),
            Err(fault) => failed(&fault),
        },
        KeysVerb::Check => match read_key(io::stdin()) {
            Ok(key) => print_owner(&key, owner_of(&key, &pepper, listed), args.json),
            Err(fault) => failed(&fault),
        },
    }
}

fn make(owner: &Owner, pepper: &Pepper, json: bool) -> Exit {
    let key = match new_key() {
        Ok(key) => key,
        Err(fault) => return failed(&fault.to_string()),
    };
    let hash = pepper.hash(key.expose());
    if json {
        let Owner { team, name } = owner;
        let value = json!({ "team": team, "name": name, "key": key.expose(), "hash": hash.to_string() });
        out::line(&value.to_string());
        return Exit::Ok;
    }
    out::line(key.expose());
    out::note(&format!(
        "\nThis is the only time the key is shown. Put this line under `teams: {}: keys:` in the config:\n",
        owner.team
    ));
    out::note(&format!("      {}", config_line(owner, &hash)));
    Exit::Ok
}

fn print_hash(owner: Option<&Owner>, hash: &KeyHash, json: bool) -> Exit {
    match owner {
        _ if json => out::line(&json!({ "hash": hash.to_string() }).to_string()),
        Some(owner) => out::line(&config_line(owner, hash)),
        None => out::line(&hash.to_string()),
    }
    Exit::Ok
}

fn print_owner(key: &Secret, owner: Option<&Owner>, json: bool) -> Exit {
    let spelt = spelling(key.expose());
    if json {
        let named = owner.map(|Owner { team, name }| json!({ "team": team, "name": name }));
        out::line(&json!({ "known": owner.is_some(), "owner": named, "spelling": word(spelt) }).to_string());
    } else {
        match owner {
            Some(owner) => out::line(&format!("{}/{}", owner.team, owner.name)),
            None => out::note(&format!("The config lists no such key: {}.", reason(spelt))),
        }
    }
    if owner.is_some() { Exit::Ok } else { Exit::No }
}

/// Whose key this is, among those listed. Entries that prove nothing are `tollgate check`'s to report.
fn owner_of<'a>(key: &Secret, pepper: &Pepper, listed: &'a [ListedKey]) -> Option<&'a Owner> {
    let hash = pepper.hash(key.expose());
    listed.iter().find(|entry| pepper.prove(&entry.proof) == Ok(hash)).map(|entry| &entry.owner)
}

fn config_line(owner: &Owner, hash: &KeyHash) -> String {
    // quoted: YAML would read a name such as `no` or `7` as something else
    format!("- {{ name: \"{}\", hash: \"{hash}\" }}", owner.name)
}

const fn word(spelt: Spelling) -> &'static str {
    match spelt {
        Spelling::Whole => "whole",
        Spelling::Damaged => "damaged",
        Spelling::Foreign => "foreign",
    }
}

const fn reason(spelt: Spelling) -> &'static str {
    match spelt {
        Spelling::Whole => "it is spelt right, so it was revoked, or made with another pepper",
        Spelling::Damaged => "its checksum does not fit, so it was mistyped or cut when copied",
        Spelling::Foreign => "it was not made by Tollgate",
    }
}

fn read_key(from: impl Read + IsTerminal) -> Result<Secret, String> {
    if from.is_terminal() {
        out::note("Paste the key and end with Enter and Ctrl-D:");
    }
    first_line(from)
}

fn first_line(from: impl Read) -> Result<Secret, String> {
    let mut text = Zeroizing::new(String::new());
    from.take(MAX_INPUT)
        .read_to_string(&mut text)
        .map_err(|fault| format!("cannot read the key: {fault}"))?;
    match text.trim() {
        "" => Err("no key on standard input".into()),
        key if key.len() > 512 || !key.bytes().all(|b| b.is_ascii_graphic()) => {
            Err("that is not one key: expected one line of at most 512 visible ASCII characters".into())
        }
        key => Ok(Secret::new(key.into())),
    }
}

/// Names stand in the config, in metrics and in budget ids.
fn parse_owner(text: &str) -> Result<Owner, String> {
    let plain = |name: &str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match text.split_once('/') {
        Some((team, name)) if plain(team) && plain(name) => {
            Ok(Owner { team: team.into(), name: name.into() })
        }
        _ => Err("expected TEAM/NAME of letters, digits, `-`, `_` and `.`, such as search/prod".into()),
    }
}

fn failed(why: &str) -> Exit {
    out::note(&format!("tollgate keys: {why}"));
    Exit::Failed
}

/// More than a key, so that a pasted file is seen to be none.
const MAX_INPUT: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(team: &str, name: &str) -> Owner {
        Owner { team: team.into(), name: name.into() }
    }

    #[test]
    fn a_key_is_told_from_all_others_listed() {
        let pepper = Pepper::from_bytes(&[3; 32]);
        let proof = |hash: Option<String>, key: Option<&str>| KeyProof {
            hash,
            key: key.map(|k| Secret::new(k.into())),
        };
        let listed = [
            ListedKey { owner: owner("search", "broken"), proof: KeyProof::default() },
            ListedKey {
                owner: owner("search", "prod"),
                proof: proof(Some(pepper.hash("one").to_string()), None),
            },
            ListedKey { owner: owner("search", "ci"), proof: proof(None, Some("two")) },
        ];
        let whose = |key: &str| owner_of(&Secret::new(key.into()), &pepper, &listed);
        assert_eq!(whose("one"), Some(&owner("search", "prod")));
        assert_eq!(whose("two"), Some(&owner("search", "ci")));
        assert_eq!(whose("three"), None);
    }

    #[test]
    fn the_line_for_the_config_holds_a_hash_that_reads_back() {
        let hash = Pepper::from_bytes(&[3; 32]).hash("one");
        let line = config_line(&owner("search", "prod"), &hash);
        let written =
            line.strip_prefix("- { name: \"prod\", hash: \"").unwrap().strip_suffix("\" }").unwrap();
        assert_eq!(written.parse(), Ok(hash));
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        keys: KeysArgs,
    }

    #[test]
    fn a_first_key_needs_nothing_but_a_place_for_the_pepper() {
        let line: Line = clap::Parser::try_parse_from(["keys", "new", "search/prod", "--json"]).unwrap();
        assert_eq!(line.keys.verb, KeysVerb::New { owner: owner("search", "prod") });
        let folder = tempfile::tempdir().unwrap();
        let pepper = folder.path().join("data/pepper");
        assert_eq!(run(&line.keys, &pepper, &[]), Exit::Ok);
        assert!(pepper.exists());
        assert_eq!(run(&line.keys, folder.path(), &[]), Exit::Failed, "a folder is no pepper");
    }

    #[test]
    fn one_key_is_read_and_nothing_else() {
        assert_eq!(first_line(&b"  tg-x\n"[..]).unwrap().expose(), "tg-x");
        for bad in [&b""[..], b"\n", b"a b", b"a\nb", &[b'x'; 513]] {
            assert!(first_line(bad).is_err());
        }
        assert!(first_line(&[0xff][..]).is_err());
    }

    #[test]
    fn owners_are_plain_names() {
        assert_eq!(parse_owner("search/prod-1"), Ok(owner("search", "prod-1")));
        for bad in ["", "search", "/prod", "search/", "a/b/c", "a b/c", "a/{b}"] {
            assert!(parse_owner(bad).is_err(), "{bad}");
        }
    }
}
