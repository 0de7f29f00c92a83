//! Where a text can be cut so that its parts have as many tokens together as the whole.
//!
//! Every vocabulary here first splits a text by a pattern, from left to right, and merges bytes within one split
//! only. A place is a boundary of all four patterns if no alternative of any of them matches across it, and if what
//! stands before it is split without a look at what follows. The only look ahead is `\s+(?!\S)`, within space; so
//! neither side of the rules below ends in space. Each rule holds by the classes of the two characters alone:
//!
//! - anything but space, then a blank or a tab: only space may follow space, and marks take `\r`, `\n` and `/` along;
//! - an ASCII digit, then anything but a number: `\p{N}+` and `\p{N}{1,3}` take nothing else;
//! - a letter, then a number, space or a mark of ASCII or CJK, but no apostrophe, which may begin a contraction.

/// The last boundary in `text` that is not before `from` and whose next character is in `text` too.
pub(super) fn last_boundary(text: &str, from: usize) -> Option<usize> {
    let mut after: Option<char> = None;
    for (at, before) in text[from..].char_indices().rev() {
        let end = from + at + before.len_utf8();
        if after.is_some_and(|after| is_boundary(before, after)) {
            return Some(end);
        }
        after = Some(before);
    }
    None
}

/// The first boundary in `text` that is not before `from`.
pub(super) fn first_boundary(text: &str, from: usize) -> Option<usize> {
    let mut chars = text[from..].char_indices();
    let (_, mut before) = chars.next()?;
    for (at, after) in chars {
        if is_boundary(before, after) {
            return Some(from + at);
        }
        before = after;
    }
    None
}

fn is_boundary(before: char, after: char) -> bool {
    match after {
        ' ' | '\t' => !before.is_whitespace(),
        _ if before.is_ascii_digit() => after.is_ascii() && !after.is_ascii_digit(),
        '\'' => false,
        '\r' | '\n' => is_letter(before),
        _ if after.is_ascii_digit() || after.is_ascii_punctuation() || is_cjk_mark(after) => {
            is_letter(before)
        }
        _ => false,
    }
}

/// Surely a letter (`\p{L}`), in every version of Unicode; what is left out only gives fewer boundaries.
const fn is_letter(c: char) -> bool {
    matches!(c,
        'a'..='z' | 'A'..='Z' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ÿ' | 'Α'..='Ρ' | 'Σ'..='Ϊ' | 'ά'..='ώ'
        | 'А'..='я' | 'א'..='ת' | 'ا'..='غ' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿋' | '가'..='힣')
}

/// Surely a mark that is none of letter, number, space and apostrophe.
const fn is_cjk_mark(c: char) -> bool {
    matches!(c, '\u{3001}' | '\u{3002}' | '\u{300c}' | '\u{300d}' | '\u{ff01}' | '\u{ff08}' | '\u{ff09}')
        || matches!(c, '\u{ff0c}' | '\u{ff1a}' | '\u{ff1b}' | '\u{ff1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_stand_where_words_end() {
        for (text, boundaries) in [
            ("one two", vec![3]),
            ("don't", vec![]),
            ("a1b", vec![1, 2]),
            ("12345", vec![]),
            ("  x", vec![]),
            ("x \n y", vec![1]),
            ("});\n\t}", vec![]),
            ("f(x);\n", vec![1, 3]),
            ("中文。句", vec!["中文".len()]),
            ("e\u{301} x", vec!["e\u{301}".len()]),
            ("", vec![]),
        ] {
            let found: Vec<usize> = (0..text.len())
                .filter(|at| text.is_char_boundary(*at))
                .filter_map(|at| first_boundary(text, at))
                .fold(Vec::new(), |mut all, at| {
                    all.dedup();
                    if all.last() != Some(&at) {
                        all.push(at);
                    }
                    all
                });
            assert_eq!(found, boundaries, "{text:?}");
            assert_eq!(last_boundary(text, 0), boundaries.last().copied(), "{text:?}");
        }
    }
}
