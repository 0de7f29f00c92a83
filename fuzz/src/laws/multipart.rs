//! The fields of a form stand where they are said to stand, and a model that is renamed there is the only thing
//! that changes.

use bytes::Bytes;
use http::Method;

use crate::dialect::path::classify;
use crate::dialect::request::scan;
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
    let Ok(facts) = scan(&endpoint, Some(content_type), &body) else { panic!("no form is refused") };
    // headers are a stranger's bytes, too
    if let Ok(stranger) = std::str::from_utf8(input.payload) {
        let header = format!("multipart/form-data; {stranger}");
        assert!(scan(&endpoint, Some(&header), &body).is_ok());
    }
    let (Some(model), Some(at)) = (&facts.model, &facts.model_at) else { return };
    assert_eq!(&body[at.clone()], model.as_bytes());
    let edit = rename_model(&facts, "other").expect("a model that stands somewhere can be renamed");
    let renamed = apply(&body, vec![edit]);
    let again = scan(&endpoint, Some(content_type), &renamed).expect("a form stays one");
    assert_eq!(again.model.as_deref(), Some("other"));
    assert_eq!([&body[..at.start], &b"other"[..], &body[at.end..]].concat(), renamed.to_vec());
    assert_eq!((again.stream, again.choices, again.user), (facts.stream, facts.choices, facts.user));
}
