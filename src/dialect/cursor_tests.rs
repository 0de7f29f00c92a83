use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

#[test]
fn what_is_walked_is_json() {
    for json in [
        r#"{"a":[1,-2,3.5,1e9,-0.1E-7,true,false,null,"x\n\u00e9\ud83d\ude00",{}],"b":{"c":[]}}"#,
        " { \"a\" : [ ] , \"b\" : \"\" } \n",
        "0",
        "\"\"",
    ] {
        let mut cursor = Cursor::new(json);
        assert_eq!(cursor.skip().and_then(|()| cursor.end()), Some(()), "{json}");
    }
    for json in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{a:1}",
        "01",
        "-",
        "1.",
        "1e",
        ".5",
        "+1",
        "nul",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"abc",
        "[1 2]",
        "{} x",
        "\"\\ud800\"",
        "{\"\\u0061\":1}",
        "\u{feff}{}",
    ] {
        let mut cursor = Cursor::new(json);
        assert_eq!(cursor.skip().and_then(|()| cursor.end()), None, "{json}");
    }
    let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(Cursor::new(&deep(DEEPEST)).skip(), Some(()));
    assert_eq!(Cursor::new(&deep(DEEPEST + 1)).skip(), None);
}

#[test]
fn a_string_ends_at_its_quote_however_long_it_is() {
    for length in 0..300 {
        for end in [b'"', b'\\', b'\n', 0x1f] {
            let mut text = vec![0xc3_u8; length];
            text.push(end);
            text.extend_from_slice(&[b'x', b'"', 0].repeat(3));
            assert_eq!(plain(&text), length, "{end}");
            assert_eq!(plain(&text[..length]), length);
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_walked_a_full_parser_takes(json in r#"[\[\]{}",:0-9a-bnulte\\ .+-]{0,24}"#) {
        let mut cursor = Cursor::new(&json);
        if cursor.skip().and_then(|()| cursor.end()).is_some() {
            prop_assert!(serde_json::from_str::<IgnoredAny>(&json).is_ok(), "{}", json);
        }
    }

    #[test]
    fn a_string_says_what_a_full_parser_reads(inner in r#"([a-z"é😀]|\\[nu"\\/]|\\u[0-9a-f]{4}|\\ud83d\\ude0[0-9]){0,20}"#) {
        let json = format!("\"{inner}\"");
        let mut cursor = Cursor::new(&json);
        if let Some(written) = cursor.string().filter(|_| cursor.end().is_some()) {
            let read: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(written.len(), read.len());
            prop_assert_eq!(written.text().unwrap(), read);
        }
    }
}
