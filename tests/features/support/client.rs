//! A client on a raw socket: what is written is what is sent, and what is read is told whole.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{PATIENCE, PROD};

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Ask {
    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::form(path, "application/json", body)
    }

    /// A body that is no JSON.
    pub(crate) fn form(path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let ask = Self { method: "POST", path: path.into(), headers: Vec::new(), body: body.into() };
        ask.header("content-type", content_type)
    }

    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET", path: path.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn bearer(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// The request as HTTP/1.1 sends it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if self.method == "POST" {
            text += &format!("content-length: {}\r\n", self.body.len());
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own and reads the answer.
    pub(crate) fn send(&self, to: SocketAddr) -> Answer {
        let mut wire = Wire::open(to);
        wire.write(&self.bytes());
        wire.answer_to(self.method)
    }
}

/// A chat request of the key `prod`.
pub(crate) fn chat(model: &str) -> Ask {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello there"}}]}}"#);
    Ask::post("/v1/chat/completions", body).bearer(PROD)
}

/// The same, streamed.
pub(crate) fn stream_chat(model: &str) -> Ask {
    let body = format!(
        r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hello there"}}]}}"#
    );
    Ask::post("/v1/chat/completions", body).bearer(PROD)
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Trailers after a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
    /// Whether its framing says that it is all there.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Status, and the code in an error of either dialect.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        let code = body["error"]["code"].as_str().or(body["error"]["details"]["error_code"].as_str());
        (self.status, code.unwrap_or_default().to_owned())
    }
}

/// One connection to the gateway.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// What has come and was not taken.
    pub(crate) read: Vec<u8>,
}

impl Wire {
    pub(crate) fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Writes what the other side takes; a side that has hung up takes no more.
    pub(crate) fn write_while_open(&mut self, bytes: &[u8]) {
        // an answer may be waiting although our last bytes were refused
        let _ = self.stream.write_all(bytes);
    }

    /// Ends the sending direction only.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks off with a TCP reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("POST")
    }

    /// Reads one answer; what comes after it stays for the next. Interim answers are passed over.
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        loop {
            let answer = self.head();
            if answer.status >= 200 {
                return self.body_of(answer, method);
            }
        }
    }

    /// Reads the head of the next answer.
    pub(crate) fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            assert!(self.more(), "closed before an answer's head: {:?}", String::from_utf8_lossy(&self.read));
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(header).collect();
        Answer { status, headers, body: Vec::new(), trailers: Vec::new(), whole: false }
    }

    /// Reads the body that belongs to a head.
    pub(crate) fn body_of(&mut self, mut answer: Answer, method: &str) -> Answer {
        let length = answer.header("content-length").map(|text| text.parse::<usize>().unwrap());
        let chunked = answer.header("transfer-encoding") == Some("chunked");
        if method == "HEAD" || answer.status == 204 || answer.status == 304 {
            answer.whole = true;
        } else if chunked {
            (answer.body, answer.trailers, answer.whole) = self.chunks();
        } else if let Some(length) = length {
            while self.read.len() < length && self.more() {}
            answer.whole = self.read.len() >= length;
            answer.body = self.read.drain(..length.min(self.read.len())).collect();
        } else {
            while self.more() {}
            answer.whole = true;
            answer.body = std::mem::take(&mut self.read);
        }
        answer
    }

    /// Waits until at least `needle` has come, without taking anything.
    pub(crate) fn wait_for(&mut self, needle: &[u8]) {
        while !self.read.windows(needle.len()).any(|part| part == needle) {
            let (needle, read) =
                (String::from_utf8_lossy(needle), String::from_utf8_lossy(&self.read).into_owned());
            assert!(self.more(), "closed before {needle:?} came: {read:?}");
        }
    }

    /// Everything until the other side hangs up.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.read)
    }

    fn chunks(&mut self) -> (Vec<u8>, Vec<(String, String)>, bool) {
        let mut body = Vec::new();
        let trailers = self.each_piece(|piece| body.extend_from_slice(piece));
        let whole = trailers.is_some();
        (body, trailers.unwrap_or_default(), whole)
    }

    /// Hands on the pieces of a chunked body as they come; yields its trailers if it comes to its end.
    pub(crate) fn each_piece(&mut self, mut take: impl FnMut(&[u8])) -> Option<Vec<(String, String)>> {
        loop {
            let mut left = usize::from_str_radix(self.line()?.split(';').next().unwrap(), 16).unwrap();
            if left == 0 {
                break;
            }
            while left > 0 {
                if self.read.is_empty() && !self.more() {
                    return None;
                }
                let piece: Vec<u8> = self.read.drain(..left.min(self.read.len())).collect();
                take(&piece);
                left -= piece.len();
            }
            self.line()?;
        }
        let mut trailers = Vec::new();
        loop {
            match self.line()? {
                line if line.is_empty() => return Some(trailers),
                line => trailers.push(header(&line)),
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = self.read.drain(..end + 2).collect::<Vec<_>>();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// Reads a little more; false when the other side has hung up.
    pub(crate) fn more(&mut self) -> bool {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

fn header(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap();
    (name.to_ascii_lowercase(), value.trim().to_owned())
}
