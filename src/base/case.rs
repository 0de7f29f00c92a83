//! Letter case of names: the case of a model's name is no way around a limit or a price.

use std::borrow::Cow;

/// `text` in lower case, of ASCII letters only; as it is, if it has no other.
#[must_use]
pub fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_lower_case_is_not_copied() {
        assert!(matches!(lower("gpt-4o ÄÖ"), Cow::Borrowed("gpt-4o ÄÖ")));
        assert_eq!(lower("GPT-4o Ä"), "gpt-4o Ä");
    }
}
