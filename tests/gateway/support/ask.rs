//! A request as bytes: nothing is added that a test did not write.

use serde_json::Value;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Size of chunks, for a body without a length.
    chunk: Option<usize>,
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET", path: path.into(), headers: Vec::new(), body: Vec::new(), chunk: None }
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::raw(path, body.to_string())
    }

    /// A body as written.
    pub(crate) fn raw(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".into(), "application/json".into())];
        Self { method: "POST", path: path.into(), headers, body: body.into(), chunk: None }
    }

    /// The same question to another model.
    pub(crate) fn with_model(&self, from: &str, to: &str) -> Self {
        let body = String::from_utf8(self.body.clone()).unwrap();
        let (from, to) = (format!("\"model\":\"{from}\""), format!("\"model\":\"{to}\""));
        Self { body: body.replace(&from, &to).into(), ..self.clone() }
    }

    /// The same with another method, and no body.
    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Sends the body in chunks of this size, without a length.
    pub(crate) fn chunked(mut self, size: usize) -> Self {
        self.chunk = Some(size);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Presents a key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// The key of a team, as `Setup` makes it.
    pub(crate) fn team(self, team: &str) -> Self {
        self.key(&super::setup::key_of(team))
    }

    /// Whether its answer has a head only.
    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The request as it goes over the wire; `host` and length come last, as a client library writes them.
    pub(super) fn to_bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("host: {host}\r\n"));
        if self.chunk.is_some() {
            head.push_str("transfer-encoding: chunked\r\n");
        } else if !self.body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        let Some(size) = self.chunk else {
            bytes.extend_from_slice(&self.body);
            return bytes;
        };
        for chunk in self.body.chunks(size) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}
