//! A config of many teams, as a generator of configs would write it: each team with two budgets, three limits and
//! its keys.

use std::fmt::Write as _;

/// The lines under `teams:` for so many teams of so many keys each. The same every time; nobody knows the keys
/// that the hashes are of.
pub(crate) fn teams(teams: usize, keys_each: usize) -> String {
    let mut text = String::new();
    for team in 0..teams {
        // writing to a String cannot fail
        let _ = write!(text, "  team-{team}:\n{TERMS}");
        for key in 0..keys_each {
            let hash = blake3::hash(format!("{team}/{key}").as_bytes());
            let _ = writeln!(text, "      - {{ name: key-{key}, hash: \"hmac-sha256:{hash}\" }}");
        }
    }
    text
}

const TERMS: &str = "    budgets: [{ limit_usd: 1_000, every: month }, { limit_usd: 100, every: day }]
    limits: { requests_per_minute: 6_000, tokens_per_minute: 1_000_000, concurrent: 100 }
    keys:
";
