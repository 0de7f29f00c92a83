//! Our counts are those of the Python package `tiktoken` (tests/fixtures/tokens), at once and in slices.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;

use super::tokenizer::count_pieces;
use super::{Count, Encoding, StreamCount, Tokenizer};
use crate::dialect::grounds::{Ground, Grounds};

#[derive(Deserialize)]
struct Vectors {
    encodings: Vec<String>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    text: String,
    times: usize,
    tokens: Vec<u64>,
}

impl Vector {
    fn whole(&self) -> String {
        self.text.repeat(self.times)
    }
}

static VECTORS: LazyLock<Vectors> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../tests/fixtures/tokens/vectors.json")).unwrap());

/// One model of each vocabulary, in the order of the vectors.
const MODELS: [(&str, &str, Encoding); 4] = [
    ("o200k_base", "gpt-4o", Encoding::O200k),
    ("cl100k_base", "gpt-4", Encoding::Cl100k),
    ("p50k_base", "text-davinci-003", Encoding::P50k),
    ("r50k_base", "davinci", Encoding::R50k),
];

#[test]
fn every_count_is_that_of_the_python_package() {
    assert_eq!(VECTORS.encodings, MODELS.map(|(name, ..)| name));
    assert!(VECTORS.vectors.len() > 600);
    for vector in &VECTORS.vectors {
        let text = vector.whole();
        for ((_, model, encoding), tokens) in MODELS.iter().zip(&vector.tokens) {
            let (tokens, shown) = (*tokens, vector.text.escape_debug());
            assert_eq!(count_pieces(*encoding, &text), Some((tokens, true)), "{model}: {shown}");
            assert_eq!(Tokenizer.count(model, &text), own(tokens, &text), "{model}: {shown}");
        }
    }
}

/// A count by the model's own vocabulary.
fn own(tokens: u64, text: &str) -> Count {
    let grounds = if text.is_empty() { Grounds::default() } else { Ground::Text.into() };
    Count { tokens, grounds }
}

/// The text in slices of so many bytes or a few more, a slice for each number, round and round.
fn slices<'t>(text: &'t str, sizes: &[usize]) -> Vec<&'t str> {
    let (mut rest, mut all) = (text, Vec::new());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (slice, after) = rest.split_at(rest.ceil_char_boundary((*size).max(1)));
        all.push(slice);
        rest = after;
    }
    all
}

fn streamed(model: &str, text: &str, sizes: &[usize], asked: bool) -> Count {
    let mut stream = StreamCount::new(model);
    for slice in slices(text, sizes) {
        stream.push(slice);
        if asked {
            stream.count();
        }
    }
    stream.count()
}

#[test]
fn a_text_in_slices_counts_as_the_whole_text() {
    for vector in VECTORS.vectors.iter().filter(|vector| vector.text.len() * vector.times <= 400) {
        let text = vector.whole();
        for ((_, model, _), tokens) in MODELS.iter().zip(&vector.tokens) {
            for size in [1, 3, 17] {
                let count = streamed(model, &text, &[size], true);
                assert_eq!(count, own(*tokens, &text), "{model}: {text:?}");
            }
        }
    }
}

#[test]
fn a_long_text_in_slices_counts_as_the_whole_text_or_says_that_it_was_cut() {
    let mut cut = 0;
    for vector in VECTORS.vectors.iter().filter(|vector| vector.text.len() * vector.times > 400) {
        let text = vector.whole();
        for ((_, model, _), tokens) in MODELS.iter().zip(&vector.tokens) {
            let count = streamed(model, &text, &[701, 5_000, 90_000], true);
            if count.grounds.is_exact() {
                assert_eq!(count.tokens, *tokens, "{model}: {:?}", vector.text);
            } else {
                cut += 1;
                assert!(
                    count.tokens.abs_diff(*tokens) * 100 <= *tokens,
                    "{count:?} {tokens}: {:?}",
                    vector.text
                );
            }
        }
    }
    assert!(cut > 0, "some of them are runs that no stream can wait for the end of");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_slicing_changes_a_count(
        at in 0..VECTORS.vectors.len(),
        then in 0..VECTORS.vectors.len(),
        model in 0..MODELS.len(),
        sizes in proptest::collection::vec(1_usize..40, 1..20),
        asked in any::<bool>(),
    ) {
        let text = [at, then].map(|at| VECTORS.vectors[at].text.as_str()).concat();
        let (_, model, encoding) = MODELS[model];
        let whole = encoding.load().count_ordinary(&text) as u64;
        let count = streamed(model, &text, &sizes, asked);
        prop_assert_eq!(count, own(whole, &text), "{:?}", text);
    }

    #[test]
    fn no_cut_at_a_boundary_changes_a_count(
        at in 0..VECTORS.vectors.len(),
        text in "(\\PC|[ \\t\\r\\n'a-c1-3/.,]){0,60}",
    ) {
        let text = [&VECTORS.vectors[at].text, text.as_str(), &VECTORS.vectors[at].text].concat();
        for (_, model, encoding) in MODELS {
            let vocabulary = encoding.load();
            let (mut sum, mut begin) = (0, 0);
            while begin < text.len() {
                let end = super::boundary::first_boundary(&text, begin).unwrap_or(text.len());
                let end = if end == begin { text.len() } else { end };
                sum += vocabulary.count_ordinary(&text[begin..end]);
                begin = end;
            }
            prop_assert_eq!(sum, vocabulary.count_ordinary(&text), "{} {:?}", model, text);
        }
    }
}
