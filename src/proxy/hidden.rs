//! Models whose output is more than they show. What nobody sees cannot be followed while it streams, so a
//! request to such a model reserves its whole cap.

use crate::dialect::request::RequestFacts;
use crate::upstream::endpoint::Upstream;

/// Whether output may be made that no stream shows: the request asks for it, the model is known for it, or one of
/// its names tells. An entry's name tells of a deployment what its own does not. The upstream's memory grows, so
/// this is asked when a request is held and again when it is counted.
pub(super) fn hides<'n>(
    facts: &RequestFacts,
    upstream: Option<&Upstream>,
    mut names: impl Iterator<Item = &'n str>,
) -> bool {
    facts.asks_hidden
        || names.any(|name| reasons_by_name(name) || upstream.is_some_and(|upstream| upstream.reasons(name)))
}

/// Whether a model of this name reasons out of sight, as far as names tell.
fn reasons_by_name(model: &str) -> bool {
    let name = model.to_ascii_lowercase();
    // a provider or a deployment may stand in front
    let name = name.rsplit('/').next().unwrap_or(&name);
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        || PARTS.iter().any(|part| name.contains(part))
        // `gemini-flash-latest` and the like: the newest ones reason
        || (name.starts_with("gemini-") && name.ends_with("-latest"))
}

/// Families that reason by themselves, asked or not.
const BEGINNINGS: [&str; 9] =
    ["o1", "o3", "o4", "gpt-5", "codex", "gemini-2.5", "gemini-3", "grok-3-mini", "grok-4"];

/// What names of other reasoning models have in common.
const PARTS: [&str; 2] = ["thinking", "reason"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_who_reasons_out_of_sight() {
        for model in [
            "o1",
            "o3-mini",
            "o4-mini-2025-04-16",
            "gpt-5",
            "GPT-5-mini",
            "openai/gpt-5.1",
            "codex-mini-latest",
            "gemini-2.5-flash",
            "gemini-3-pro",
            "gemini-flash-latest",
            "google/gemini-pro-latest",
            "grok-3-mini",
            "grok-4-fast",
            "x-ai/grok-4",
            "kimi-k2-thinking",
            "deepseek-reasoner",
        ] {
            assert!(reasons_by_name(model), "{model}");
        }
        for model in
            ["gpt-4o", "gpt-4.1-mini", "claude-sonnet-4-5", "gemini-2.0-flash", "grok-3", "llama-3.3-70b", ""]
        {
            assert!(!reasons_by_name(model), "{model}");
        }
    }
}
