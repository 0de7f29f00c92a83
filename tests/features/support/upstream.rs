//! An upstream that notes what it got, byte for byte, and answers what the test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A request as it reached the upstream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.header(name).is_some()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Method and target, without the version.
    pub(crate) fn target(&self) -> &str {
        self.line.rsplit_once(' ').unwrap().0
    }
}

/// A recording upstream; it listens until the test ends.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    hangs_up: Arc<AtomicBool>,
}

impl Recorder {
    /// Answers every request with the raw bytes that `answer` makes of it. A closed connection follows
    /// an empty answer.
    pub(crate) fn start(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let hangs_up = Arc::new(AtomicBool::new(false));
        let (noted, answer, once) = (Arc::clone(&seen), Arc::new(answer), Arc::clone(&hangs_up));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (noted, answer, once) = (Arc::clone(&noted), Arc::clone(&answer), Arc::clone(&once));
                std::thread::spawn(move || serve(connection, &noted, &*answer, &once));
            }
        });
        Self { addr, seen, hangs_up }
    }

    /// Closes each connection after its first answer, without a word.
    pub(crate) fn hanging_up(self) -> Self {
        self.hangs_up.store(true, Ordering::Release);
        self
    }

    /// One that answers every chat with a small completion.
    pub(crate) fn plain() -> Self {
        Self::start(|_| json_answer(200, "", COMPLETION))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request that came.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }
}

/// A small completion: 9 tokens in, 1 out.
pub(crate) const COMPLETION: &str = r#"{"id":"c1","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}"#;

/// An answer with a JSON body; `headers` are whole lines.
pub(crate) fn json_answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn serve(
    connection: TcpStream,
    noted: &Mutex<Vec<Seen>>,
    answer: &dyn Fn(&Seen) -> Vec<u8>,
    once: &AtomicBool,
) {
    let mut writer = connection.try_clone().unwrap();
    let mut reader = BufReader::new(connection);
    while let Some(seen) = read_request(&mut reader) {
        noted.lock().unwrap().push(seen.clone());
        let bytes = answer(&seen);
        if bytes.is_empty() || writer.write_all(&bytes).is_err() || once.load(Ordering::Acquire) {
            return;
        }
    }
}

/// Reads one request; `None` when the other side hung up.
pub(crate) fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut seen = Seen { line: line(reader)?, ..Seen::default() };
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ")?;
        seen.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    if seen.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&line(reader)?, 16).ok()?;
            let mut chunk = vec![0; size];
            reader.read_exact(&mut chunk).ok()?;
            seen.body.append(&mut chunk);
            while !line(reader)?.is_empty() {}
            if size == 0 {
                return Some(seen);
            }
        }
    }
    let length = seen.header("content-length").map_or(0, |text| text.parse().unwrap());
    seen.body = vec![0; length];
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
}
