//! The few changes a request body may see, as edits at known places. Every byte outside an edit stays.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::path::{Endpoint, Operation};
use super::request::{BodyForm, Cap, RequestFacts, StreamOptions};

/// Bytes to put in the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; empty for an insertion.
    pub range: Range<usize>,
    /// What stands there afterwards.
    pub text: Vec<u8>,
}

/// The edit that makes a stream report its usage, for the operations that have the option and a client
/// that did not ask. A client's `false` is no different from silence: the answer hides what it caused.
#[must_use]
pub fn ask_for_usage(endpoint: &Endpoint, facts: &RequestFacts, body: &[u8]) -> Option<Edit> {
    let has_option = matches!(endpoint.operation, Operation::ChatCompletions | Operation::Completions);
    if !has_option || !facts.stream || facts.form != BodyForm::Json || facts.include_usage == Some(true) {
        return None;
    }
    match &facts.stream_options {
        StreamOptions::Absent => {
            let brace = body.iter().position(|&byte| byte == b'{')?;
            // `"stream":true` follows, so a comma belongs behind
            Some(insert(brace + 1, r#""stream_options":{"include_usage":true},"#))
        }
        StreamOptions::Null(at) => Some(replace(at, r#"{"include_usage":true}"#)),
        StreamOptions::Object { include_usage_at: Some(at), .. } => Some(replace(at, "true")),
        StreamOptions::Object { at, is_empty: true, .. } => {
            Some(insert(at.start + 1, r#""include_usage":true"#))
        }
        StreamOptions::Object { at, .. } => Some(insert(at.start + 1, r#""include_usage":true,"#)),
        StreamOptions::Other => None,
    }
}

/// The edit that names another model; `None` if the body names none that could be replaced.
#[must_use]
pub fn rename_model(facts: &RequestFacts, model: &str) -> Option<Edit> {
    let range = facts.model_at.clone()?;
    let text = match facts.form {
        BodyForm::Json => serde_json::to_vec(model).expect("a string is always JSON"),
        // a line break would end the part
        BodyForm::Multipart if model.contains(['\r', '\n']) => return None,
        BodyForm::Multipart => model.as_bytes().to_vec(),
        BodyForm::Unread => return None,
    };
    Some(Edit { range, text })
}

/// The edits that hold each choice to `most` output tokens: every cap that stands there is lowered, and where
/// none does, one of this name is put in front. `None` if the body has a cap that cannot be read.
#[must_use]
pub fn lower_cap(facts: &RequestFacts, body: &[u8], name: &str, most: u64) -> Option<Vec<Edit>> {
    if facts.form != BodyForm::Json {
        return None;
    }
    let is_null = |cap: &Cap| &body[cap.at.clone()] == b"null";
    if facts.caps.iter().any(|cap| cap.tokens.is_none() && !is_null(cap)) {
        return None;
    }
    let numbered: Vec<&Cap> = facts.caps.iter().filter(|cap| !is_null(cap)).collect();
    if let (true, Some(first)) = (numbered.is_empty(), facts.caps.first()) {
        return Some(vec![replace(&first.at, &most.to_string())]);
    }
    if numbered.is_empty() {
        let brace = body.iter().position(|&byte| byte == b'{')?;
        // a body that could be priced names a model, so a comma belongs behind
        facts.model_at.as_ref()?;
        return Some(vec![insert(brace + 1, &format!("\"{name}\":{most},"))]);
    }
    let above = numbered.into_iter().filter(|cap| cap.tokens.is_some_and(|tokens| tokens > most));
    Some(above.map(|cap| replace(&cap.at, &most.to_string())).collect())
}

/// The body with its edits. Edits do not overlap; without any, the body is shared, not copied.
///
/// # Panics
/// If edits overlap or lie outside the body: they were made for another one.
#[must_use]
pub fn apply(body: &Bytes, mut edits: Vec<Edit>) -> Bytes {
    if edits.is_empty() {
        return body.clone();
    }
    edits.sort_by_key(|edit| edit.range.start);
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut edited = BytesMut::with_capacity(body.len() + added);
    let mut kept = 0;
    for edit in edits {
        edited.extend_from_slice(&body[kept..edit.range.start]);
        edited.extend_from_slice(&edit.text);
        kept = edit.range.end;
    }
    edited.extend_from_slice(&body[kept..]);
    edited.freeze()
}

fn insert(at: usize, text: &str) -> Edit {
    Edit { range: at..at, text: text.into() }
}

fn replace(at: &Range<usize>, text: &str) -> Edit {
    Edit { range: at.clone(), text: text.into() }
}

#[cfg(test)]
#[path = "splice_tests.rs"]
mod tests;
