//! Made-up content that is the same for the same seed: words, JSON that fits a schema, base64.

use serde_json::{Map, Value, json};

/// A stream of numbers from one seed (`SplitMix64`, as `base::chance`, but without shared state).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }
}

/// `count` words, each one token in the o200k and cl100k vocabularies, with and without a space before it.
pub(super) fn words(dice: &mut Dice, count: u64) -> Vec<String> {
    let length = u64::try_from(WORDS.len()).unwrap_or(u64::MAX);
    (0..count)
        .map(|place| {
            let word = WORDS[usize::try_from(dice.below(length)).unwrap_or(0)];
            if place == 0 { word.to_owned() } else { format!(" {word}") }
        })
        .collect()
}

/// A small value that fits a JSON schema. Understands what structured outputs and tools use.
pub(super) fn fitting(schema: &Value, dice: &mut Dice) -> Value {
    fit(schema, schema, dice, 0)
}

fn fit(schema: &Value, root: &Value, dice: &mut Dice, depth: u8) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return root.pointer(target).map_or(Value::Null, |found| fit(found, root, dice, depth + 1));
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[choice].get(0) {
            return fit(first, root, dice, depth + 1);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind.unwrap_or("object") {
        "string" => Value::String(words(dice, 2).concat()),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(dice.below(90) + 10)),
        "boolean" => Value::Bool(dice.below(2) == 0),
        "array" => json!([fit(&schema["items"], root, dice, depth + 1)]),
        "null" => Value::Null,
        _ => fit_object(schema, root, dice, depth),
    }
}

fn fit_object(schema: &Value, root: &Value, dice: &mut Dice, depth: u8) -> Value {
    let mut object = Map::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        object.insert(name.clone(), fit(property, root, dice, depth + 1));
    }
    Value::Object(object)
}

/// Text in pieces of about one token: four characters.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(4).map(|piece| piece.iter().collect()).collect()
}

/// Standard base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = BASE64[usize::try_from((bits >> (18 - 6 * place)) & 63).unwrap_or(0)];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Schemas refer to themselves; a list of lists of lists is enough.
const MAX_DEPTH: u8 = 8;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const WORDS: [&str; 48] = [
    "the", "time", "people", "water", "house", "world", "light", "river", "field", "city", "music", "paper",
    "story", "winter", "summer", "name", "window", "road", "friend", "market", "number", "question",
    "answer", "letter", "home", "end", "small", "large", "quiet", "green", "blue", "white", "early", "later",
    "always", "never", "between", "under", "over", "near", "with", "without", "before", "after", "every",
    "other", "first", "second",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_rfc_4648() {
        let pairs = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        assert!(pairs.iter().all(|(plain, coded)| base64(plain.as_bytes()) == *coded));
    }

    #[test]
    fn a_value_fits_its_schema() {
        let schema = json!({"type": "object", "$defs": {"d": {"enum": ["mon", "tue"]}}, "properties": {
            "name": {"type": "string"}, "age": {"type": "integer", "minimum": 3},
            "day": {"$ref": "#/$defs/d"}, "tags": {"type": "array", "items": {"type": "boolean"}},
            "none": {"anyOf": [{"type": "null"}, {"type": "string"}]}}});
        let value = fitting(&schema, &mut Dice::new(1));
        assert!(value["name"].is_string() && value["tags"][0].is_boolean() && value["none"].is_null());
        assert_eq!((&value["age"], &value["day"]), (&json!(3), &json!("mon")));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(fitting(&schema, &mut Dice::new(1))["next"].is_object());
    }

    #[test]
    fn every_word_is_one_token_in_both_vocabularies() {
        let vocabularies = [tiktoken_rs::o200k_base().unwrap(), tiktoken_rs::cl100k_base().unwrap()];
        for vocabulary in &vocabularies {
            for word in WORDS {
                let said = format!("{word} {word}");
                assert_eq!(vocabulary.encode_ordinary(&said).len(), 2, "{word}");
            }
        }
    }
}
