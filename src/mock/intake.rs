//! Takes a request's body in without holding all of a large one.

use std::io;

use bytes::{Bytes, BytesMut};
use http::header;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

/// A request's body.
pub(super) struct Taken {
    /// All of it; of a large upload the beginning and the end, where the fields of a form stand.
    pub(super) kept: Bytes,
    /// How long it was.
    pub(super) length: usize,
    /// Its SHA-256, hexadecimal; empty beyond what is hashed.
    pub(super) sha256: String,
}

/// Reads all of a body.
pub(super) async fn take(parts: &Parts, mut body: Incoming) -> io::Result<Taken> {
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    let is_json = content_type.is_none_or(|kind| kind.starts_with(b"application/json"));
    let most_kept = if is_json { MAX_BODY } else { MOST_KEPT };
    let (mut head, mut tail, mut length) = (BytesMut::new(), BytesMut::new(), 0);
    let announced = body.size_hint().lower();
    let mut hash = (announced <= MAX_HASHED as u64).then(Sha256::new);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        length += data.len();
        if is_json && length > MAX_BODY {
            return Err(io::Error::other("a JSON body of more than 64 MiB"));
        }
        hash = hash.filter(|_| length <= MAX_HASHED);
        if let Some(hash) = &mut hash {
            hash.update(&data);
        }
        let (now, later) = data.split_at(data.len().min(most_kept - head.len()));
        head.extend_from_slice(now);
        tail.extend_from_slice(later);
        if tail.len() > 2 * MOST_KEPT {
            tail = BytesMut::from(&tail[tail.len() - MOST_KEPT..]);
        }
    }
    let hex = |hash: Sha256| hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let sha256 = hash.map(hex).unwrap_or_default();
    head.extend_from_slice(&tail);
    Ok(Taken { kept: head.freeze(), length, sha256 })
}

/// More than any provider takes as JSON.
const MAX_BODY: usize = 64 << 20;
/// More takes a debug build longer than it takes to send.
const MAX_HASHED: usize = 32 << 20;
/// Of a body that is not JSON, at the beginning and at the end.
const MOST_KEPT: usize = 1 << 20;
