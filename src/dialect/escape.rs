//! Names that are spelt with escapes, which no search for the name can see.

use std::sync::LazyLock;

use memchr::memmem::Finder;

static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

/// Whether a letter that needs no escape has one (`\u0075sage`). Servers that escape all beyond ASCII have none.
pub(super) fn has_escaped_letter(json: &[u8]) -> bool {
    let is_letter = |at: usize| matches!(json.get(at + ESCAPE.needle().len()), Some(b'4'..=b'7'));
    ESCAPE.find_iter(json).any(is_letter)
}
