//! A form says the same however it is cut, its model stands where it is said to stand, and a model that is renamed
//! there is the only thing that changes.

use bytes::Bytes;
use http::Method;

use crate::dialect::form::Form;
use crate::dialect::path::{Endpoint, classify};
use crate::dialect::request::{BadRequest, RequestFacts};
use crate::dialect::splice::{apply, rename_model};
use crate::input::Input;

/// Paths that take files.
pub const PATHS: [&str; 3] = ["/v1/audio/transcriptions", "/v1/images/edits", "/v1/audio/translations"];
/// Ways to name a boundary.
pub const CONTENT_TYPES: [&str; 4] = [
    "multipart/form-data; boundary=B",
    "multipart/form-data; charset=utf-8; Boundary=\"B\"",
    "multipart/form-data; boundary=--",
    "Multipart/Form-Data;boundary=\"a b;c\"",
];

/// Panics where the law is broken.
pub fn check(data: &[u8]) {
    let Some(input) = Input::read(data) else { return };
    let endpoint = classify(&Method::POST, *input.pick::<&str>(0, &PATHS));
    let content_type = *input.pick(1, &CONTENT_TYPES);
    let body = Bytes::copy_from_slice(input.payload);
    // headers are a stranger's bytes, too
    if let Ok(stranger) = std::str::from_utf8(input.payload) {
        let _ = Form::of(&endpoint, &format!("multipart/form-data; {stranger}"));
    }
    let whole = read(&endpoint, content_type, &[&body]);
    assert_eq!(read(&endpoint, content_type, &input.sliced(&body)), whole, "cutting changed the form");
    let Ok(facts) = whole else { return };
    let (Some(model), Some(at)) = (&facts.model, &facts.model_at) else { return };
    assert_eq!(String::from_utf8_lossy(&body[at.clone()]), model.as_str());
    let edit = rename_model(&facts, "other").expect("a model that stands somewhere can be renamed");
    let renamed = apply(&body, vec![edit]);
    assert_eq!([&body[..at.start], &b"other"[..], &body[at.end..]].concat(), renamed.to_vec());
    let again = read(&endpoint, content_type, &[&renamed]).expect("a form stays one");
    assert_eq!(again.model.as_deref(), Some("other"));
    assert_eq!((again.stream, again.choices, again.user), (facts.stream, facts.choices, facts.user));
}

fn read(endpoint: &Endpoint, content_type: &str, pieces: &[&[u8]]) -> Result<RequestFacts, BadRequest> {
    let mut form = Form::of(endpoint, content_type).expect("each of these is the type of a form");
    for piece in pieces {
        form.push(piece);
    }
    form.facts()
}
