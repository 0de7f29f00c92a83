//! GET /api/v1/openapi.json: the admin API for programs. Kept by hand; a test holds it to the router.

use axum::http::header::{CONTENT_TYPE, HeaderName};

pub(super) async fn openapi() -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

pub(super) const DOCUMENT: &str = include_str!("openapi.json");
