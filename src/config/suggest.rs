//! "Did you mean": the known word that is nearest to what was written.

/// The known word that was probably meant, if one is near enough.
#[must_use]
pub(super) fn did_you_mean<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = written.to_ascii_lowercase().replace('-', "_");
    if written.len() > LONGEST {
        return None;
    }
    let distance =
        |word: &str| strsim::damerau_levenshtein(&written, &word.to_ascii_lowercase().replace('-', "_"));
    let nearest = known.iter().min_by_key(|word| distance(word))?;
    let near_enough = (written.len().max(nearest.len()) / 3).max(1);
    (distance(nearest) <= near_enough).then_some(nearest)
}

/// Words as an enumeration: "`a`, `b` and `c`".
#[must_use]
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "none".into(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}

/// Distances cost the product of the lengths; no known word is half as long.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["base_url", "api_key", "headers", "kind"];
        for (written, meant) in [
            ("base_ulr", Some("base_url")),
            ("Base-URL", Some("base_url")),
            ("apikey", Some("api_key")),
            ("header", Some("headers")),
            ("retries", None),
        ] {
            assert_eq!(did_you_mean(written, &known), meant, "{written}");
        }
        assert_eq!(did_you_mean("x", &[]), None);
    }

    #[test]
    fn words_are_enumerated() {
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(one_of(&["a"]), "`a`");
    }
}
