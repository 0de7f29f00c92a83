//! Large bodies in both directions, while the gateway's peak of resident memory is watched.
//!
//! `TOLLGATE_TRANSFER=1GiB` moves that much in each direction; without it less, so that a debug build is done soon
//! (the run of a whole GiB: docs/RELIABILITY.md).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tollgate::base::units::{Size, Written as _};

use crate::support::{Gateway, PATIENCE, PROD, Wire, chat, mock};

/// What one request may add to the peak: the head of a form, 1 MiB and a frame, in a buffer that grew (4 MiB with
/// its predecessors), its copy as it is sent (2 MiB), the file's buffers (4 MiB), hyper's for reading and writing
/// on both connections (0.4 MiB each), and as much again that the allocator has not yet given back.
const BUFFERS: u64 = 24 << 20;

/// Beyond what a debug build moves in a few seconds.
const USUAL_TRANSFER: &str = "48MiB";

#[expect(clippy::disallowed_methods, reason = "the size of a test's transfer is no setting of the gateway")]
fn transfer() -> u64 {
    let asked = std::env::var("TOLLGATE_TRANSFER").unwrap_or_else(|_| USUAL_TRANSFER.into());
    Size::read(&asked).unwrap().0
}

/// The peak of resident memory that `work` leads to, above what was resident before it.
fn growth(gateway: &Gateway, work: impl FnOnce()) -> u64 {
    let before = status(gateway, "VmRSS");
    // 5 sets the peak back to what is resident now
    fs::write(format!("/proc/{}/clear_refs", gateway.pid()), "5").unwrap();
    work();
    status(gateway, "VmHWM").saturating_sub(before)
}

fn status(gateway: &Gateway, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}

/// A request whose body is `first`, zeros and `last`; `size` bytes in all. Answers its status.
fn upload(gateway: &Gateway, path: &str, content_type: &str, (first, last): (&str, &str)) -> u16 {
    let size = transfer();
    let mut wire = Wire::open(gateway.data);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\
         content-type: {content_type}\r\ncontent-length: {size}\r\n\r\n{first}"
    );
    wire.write(head.as_bytes());
    let mut left = usize::try_from(size).unwrap() - first.len() - last.len();
    let zeros = vec![0; 1 << 20];
    while left > 0 {
        let piece = left.min(zeros.len());
        wire.write(&zeros[..piece]);
        left -= piece;
    }
    wire.write(last.as_bytes());
    let answer = wire.answer();
    assert!(answer.status == 200 || answer.body.len() < 2_000, "{}", answer.status);
    answer.status
}

/// Sends a request that ends its connection, and counts the bytes that come.
fn download(gateway: &Gateway, request: &str) -> u64 {
    let mut stream = TcpStream::connect(gateway.data).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut piece = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match stream.read(&mut piece).unwrap() {
            0 => return bytes,
            count => bytes += count as u64,
        }
    }
}

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const FIELD: &str = "--B\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n";
const FILE: &str = "--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
const FORM: &str = "multipart/form-data; boundary=B";

#[test]
fn wire_27_a_gibibyte_in_either_direction_takes_no_more_memory_than_its_buffers() {
    let upstream = mock();
    let gateway = Gateway::start(&format!(
        "server: {{ max_upload: 2GiB, max_upload_total: 2GiB }}
upstreams: {{ up: {{ base_url: \"{}\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        upstream.base_url()
    ));
    // what is made once: connections, threads, the tokenizer's tables
    for _ in 0..20 {
        assert_eq!(gateway.send(&chat("gpt-4o-mini@no-usage")).status, 200);
    }
    assert_eq!(gateway.rows(20).len(), 20, "all of them were counted");
    let size = transfer();
    let audio = "/v1/audio/transcriptions";
    let events = format!(
        r#"{{"model":"gpt-4o-mini@bytes={size}","stream":true,"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"hi"}}]}}"#
    );
    let speech = format!(r#"{{"model":"tts-1@bytes={size}","input":"hi","voice":"alloy"}}"#);
    let unknown = format!(
        "GET /v1/recordings/a?bytes={size} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\
         connection: close\r\n\r\n"
    );
    let early = (format!("{FIELD}{FILE}"), "\r\n--B--\r\n".to_owned());
    let late = (FILE.to_owned(), format!("\r\n{FIELD}--B--\r\n"));
    let forms = [("a form with an early model", &early), ("a form with a late model", &late)];
    let mut grown: Vec<(&str, u64)> = Vec::new();
    for (shown, (first, last)) in forms {
        let grew =
            growth(&gateway, || assert_eq!(upload(&gateway, audio, FORM, (first, last)), 200, "{shown}"));
        grown.push((shown, grew));
    }
    let binary = "application/octet-stream";
    grown.push((
        "an unknown path",
        growth(&gateway, || assert_eq!(upload(&gateway, "/v1/recordings", binary, ("", "")), 200)),
    ));
    for (shown, request) in [
        ("speech", post("/v1/audio/speech", &speech)),
        ("a stream of events", post("/v1/chat/completions", &events)),
        ("a download from an unknown path", unknown),
    ] {
        grown.push((shown, growth(&gateway, || assert!(download(&gateway, &request) > size, "{shown}"))));
    }
    for (shown, bytes) in &grown {
        eprintln!("{shown}: {} KiB", bytes >> 10);
    }
    assert!(grown.iter().all(|(_, bytes)| *bytes <= BUFFERS), "more than {BUFFERS}: {grown:?}");
    assert_eq!(gateway.rows(26).len(), 26);
}
