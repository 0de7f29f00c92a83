//! Model names: which catalogue names one asked name may stand for, surest first. Never a likeness.

use super::price::Match;

/// The names to look up for `model` (lower case), surest first; at most six.
///
/// 1. the name itself;
/// 2. a fine-tuned model `ft:BASE:...` by its priced base `ft:BASE`;
/// 3. a snapshot (`-2024-08-06`, `-20241022`, `@20241022`, `-latest`) by the name without it.
///
/// Other suffixes (`-mini`, `-0613`, `-2407`, `-preview`) mark models that cost something else: they
/// are never cut off.
pub(super) fn candidates(model: &str) -> impl Iterator<Item = (Match, &str)> {
    let tuned = tuned_base(model);
    let exact = [Some((Match::Name, model)), tuned.map(|base| (Match::Alias, base))];
    let snapshots = [Some(model), tuned]
        .into_iter()
        .flatten()
        .filter_map(|name| Some((Match::Snapshot, without_snapshot(name)?)));
    exact.into_iter().flatten().chain(snapshots)
}

/// `ft:gpt-4o-2024-08-06:acme::abc` is `ft:gpt-4o-2024-08-06`, tuned further.
fn tuned_base(model: &str) -> Option<&str> {
    let rest = model.strip_prefix("ft:")?;
    let end = rest.find(':')?;
    Some(&model[.."ft:".len() + end])
}

fn without_snapshot(name: &str) -> Option<&str> {
    if let Some(base) = name.strip_suffix("-latest") {
        return (!base.is_empty()).then_some(base);
    }
    [DASHED_DATE, PLAIN_DATE].into_iter().find_map(|shape| {
        let at = name.len().checked_sub(shape.len())?;
        let (base, date) = (name.get(..at)?, name.get(at..)?);
        (!base.is_empty() && has_shape(date, shape)).then_some(base)
    })
}

/// `-` stands for a dash or an at sign at the front, `2` for the century's first digit.
const DASHED_DATE: &str = "-20dd-dd-dd";
const PLAIN_DATE: &str = "-20dddddd";

fn has_shape(text: &str, shape: &str) -> bool {
    text.bytes().zip(shape.bytes()).enumerate().all(|(at, (byte, wanted))| match wanted {
        b'd' => byte.is_ascii_digit(),
        b'-' => byte == b'-' || (at == 0 && byte == b'@'),
        other => byte == other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(model: &str) -> Vec<&str> {
        candidates(model).map(|(_, name)| name).collect()
    }

    #[test]
    fn a_snapshot_is_tried_by_itself_and_then_by_its_base() {
        assert_eq!(all("gpt-4o-2024-08-06"), ["gpt-4o-2024-08-06", "gpt-4o"]);
        assert_eq!(all("claude-sonnet-4-5-20250929"), ["claude-sonnet-4-5-20250929", "claude-sonnet-4-5"]);
        assert_eq!(all("claude-sonnet-4@20250514"), ["claude-sonnet-4@20250514", "claude-sonnet-4"]);
        assert_eq!(all("mistral-large-latest"), ["mistral-large-latest", "mistral-large"]);
    }

    #[test]
    fn a_name_that_only_looks_alike_is_never_tried() {
        for name in [
            "gpt-4o-2024@08-06",
            "gpt-4o.2024-08-06",
            "gpt-4o-mini",
            "gpt-4-0613",
            "mistral-large-2407",
            "claude-opus-5-5",
            "",
            "-latest",
        ] {
            assert_eq!(all(name), [name]);
        }
    }

    #[test]
    fn a_tuned_model_is_tried_by_its_tuned_base_and_never_by_the_plain_one() {
        let names = all("ft:gpt-4o-2024-08-06:acme::abc");
        assert_eq!(names, ["ft:gpt-4o-2024-08-06:acme::abc", "ft:gpt-4o-2024-08-06", "ft:gpt-4o"]);
    }

    #[test]
    fn names_in_other_scripts_are_cut_at_no_letter() {
        assert_eq!(all("モデル-ÿÿÿÿÿÿÿÿ"), ["モデル-ÿÿÿÿÿÿÿÿ"]);
    }
}
