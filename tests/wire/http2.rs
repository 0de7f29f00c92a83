//! HTTP/2 on one side and HTTP/1.1 on the other: bytes, trailers and broken ends cross over.

#![expect(clippy::disallowed_methods, reason = "these tasks end with the runtime of their test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::script::{Script, chunk, gateway};
use crate::support::{Gateway, PATIENCE, PROD, Setup, Wire, stream_chat};

const HI: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";

/// An upstream behind TLS that a test plays frame by frame (RFC 9113).
struct Frames {
    stream: StreamOwned<ServerConnection, TcpStream>,
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A gateway that trusts the upstream, the upstream's listener and its identity.
fn behind_tls() -> (Gateway, TcpListener, Arc<ServerConfig>) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config =
        builder.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
    let setup = Setup::new(&format!(
        "upstreams: {{ up: {{ base_url: \"https://localhost:{}/v1\" }} }}
teams: {{ search: {{ keys: [{{ name: prod, key: \"${{KEY_PROD}}\" }}] }} }}\n",
        listener.local_addr().unwrap().port()
    ));
    let anchors = setup.dir.path().join("anchors.pem");
    std::fs::write(&anchors, own.cert.pem()).unwrap();
    let gateway = setup.env("SSL_CERT_FILE", anchors.to_str().unwrap()).start();
    (gateway, listener, Arc::new(config))
}

impl Frames {
    /// The gateway's next connection.
    fn accept(listener: &TcpListener, config: &Arc<ServerConfig>) -> Self {
        let (stream, _) = listener.accept().expect("the gateway connects");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
        let mut frames = Self { stream: StreamOwned::new(connection, stream) };
        let mut preface = [0; 24];
        frames.stream.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(SETTINGS, 0, 0, b"");
        frames
    }

    /// Reads until a request is whole; yields its stream.
    fn asked(&mut self) -> u32 {
        loop {
            let frame = self.frame();
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.send(SETTINGS, ACK, 0, b"");
            }
            if [HEADERS, DATA].contains(&frame.kind) && frame.flags & END_STREAM != 0 {
                return frame.stream;
            }
        }
    }

    fn frame(&mut self) -> Frame {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).unwrap();
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        self.stream.read_exact(&mut vec![0; length]).unwrap();
        Frame { kind: head[3], flags: head[4], stream }
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.stream.write_all(&bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// The head of a stream of events that announces a trailer.
    fn begin_events(&mut self, stream: u32) {
        let headers = [&[0x88][..], &field("content-type", "text/event-stream"), &field("trailer", "x-sum")];
        self.send(HEADERS, END_HEADERS, stream, &headers.concat());
    }
}

/// A header field as HPACK has it, in full.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    [&[0][..], &text(name), &text(value)].concat()
}

#[test]
fn s_01_an_http2_upstream_that_breaks_off_is_a_cut_for_its_client() {
    let (gateway, listener, config) = behind_tls();
    let cancel = 8_u32.to_be_bytes();
    let nothing_was_heard = [0_u32.to_be_bytes(), 2_u32.to_be_bytes()].concat();
    for (kind, payload) in [(RST_STREAM, Some(&cancel[..])), (GOAWAY, Some(&nothing_was_heard)), (0, None)] {
        let mut client = Wire::open(gateway.data);
        client.write(&stream_chat("gpt-4o-mini").bytes());
        let mut upstream = Frames::accept(&listener, &config);
        let stream = upstream.asked();
        upstream.begin_events(stream);
        upstream.send(DATA, 0, stream, HI.as_bytes());
        client.wait_for(b"hi");
        if let Some(payload) = payload {
            upstream.send(kind, 0, if kind == GOAWAY { 0 } else { stream }, payload);
        }
        drop(upstream);
        let answer = client.answer();
        assert_eq!((answer.status, answer.whole, answer.text().as_str()), (200, false, HI), "{kind}");
        assert_eq!(gateway.row_of(&answer).outcome.as_str(), "truncated", "{kind}");
    }
}

#[test]
fn wire_26_an_http2_upstreams_answer_and_trailers_reach_a_client_of_http1() {
    let (gateway, listener, config) = behind_tls();
    let mut client = Wire::open(gateway.data);
    client.write(&stream_chat("gpt-4o-mini").header("te", "trailers").bytes());
    let mut upstream = Frames::accept(&listener, &config);
    let stream = upstream.asked();
    upstream.begin_events(stream);
    upstream.send(DATA, 0, stream, HI.as_bytes());
    upstream.send(DATA, 0, stream, END.as_bytes());
    upstream.send(HEADERS, END_HEADERS | END_STREAM, stream, &field("x-sum", "7"));
    let answer = client.answer();
    assert_eq!((answer.whole, answer.text()), (true, [HI, END].concat()));
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    assert_eq!(gateway.row_of(&answer).usage.output_tokens, 4);
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn http2_over(addr: SocketAddr, window: u32) -> http2::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(tokio::net::TcpStream::connect(addr).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).initial_connection_window_size(window);
    let (sender, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn streaming() -> Request<Full<Bytes>> {
    let body = r#"{"model":"gpt-4o-mini","stream":true,"messages":[]}"#;
    Request::post("http://localhost/v1/chat/completions")
        .header("authorization", format!("Bearer {PROD}"))
        .header("te", "trailers")
        .body(Full::from(body))
        .unwrap()
}

/// What a client of HTTP/2 gets of these raw bytes of an upstream that speaks HTTP/1.1 and then hangs up.
fn through(raw: Vec<u8>, window: u32) -> (Vec<u8>, Option<http::HeaderMap>, bool) {
    let script = Script::open();
    let gateway = gateway(script.addr, "", "");
    let upstream = std::thread::spawn(move || {
        let (mut line, _) = script.asked();
        line.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n");
        line.send(raw);
        line.finish();
        line.is_left();
    });
    let told = run(async {
        let mut sender = http2_over(gateway.data, window).await;
        let mut body = sender.send_request(streaming()).await.unwrap().into_body();
        let (mut bytes, mut trailers) = (Vec::new(), None);
        loop {
            match body.frame().await {
                None => return (bytes, trailers, true),
                Some(Err(_)) => return (bytes, trailers, false),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
        }
    });
    upstream.join().unwrap();
    told
}

#[test]
fn wire_26_an_http1_upstreams_answer_and_trailers_reach_a_client_of_http2() {
    let raw = [chunk(HI), chunk(END), b"0\r\nx-sum: 7\r\n\r\n".to_vec()].concat();
    let (bytes, trailers, whole) = through(raw, 1 << 20);
    assert_eq!((bytes, whole), ([HI, END].concat().into_bytes(), true));
    assert_eq!(trailers.unwrap()["x-sum"], "7");
}

#[test]
fn s_01_an_http1_upstream_that_breaks_off_resets_its_client_of_http2() {
    for rest in [&b""[..], b"5\r\ndat", b"0\r\n"] {
        let (bytes, trailers, whole) = through([chunk(HI), rest.to_vec()].concat(), 1 << 20);
        assert!(bytes.starts_with(HI.as_bytes()) && !whole && trailers.is_none(), "{rest:?}");
    }
}

#[test]
fn wire_32_a_client_of_http2_with_a_small_window_gets_every_byte() {
    let large = HI.repeat(2_000);
    let raw = [chunk(&large), b"0\r\n\r\n".to_vec()].concat();
    let (bytes, _, whole) = through(raw, 1_000);
    assert!(whole && bytes == large.as_bytes(), "{} bytes", bytes.len());
}

/// What is left of a stream of events, and whether it came to its end.
async fn rest_of(mut body: hyper::body::Incoming) -> (String, bool) {
    let mut text = String::new();
    loop {
        match body.frame().await {
            None => return (text, true),
            Some(Err(_)) => return (text, false),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                text.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }
}

#[test]
fn s_01_streams_that_share_a_connection_end_as_it_does_and_the_next_goes_out_on_another() {
    let (gateway, listener, config) = behind_tls();
    for finishes in [true, false] {
        let (listener, config) = (listener.try_clone().unwrap(), Arc::clone(&config));
        let upstream = std::thread::spawn(move || {
            let mut shared = Frames::accept(&listener, &config);
            let streams = [(); 2].map(|()| {
                let stream = shared.asked();
                shared.begin_events(stream);
                shared.send(DATA, 0, stream, HI.as_bytes());
                stream
            });
            // those two are heard, and nothing after them
            shared.send(GOAWAY, 0, 0, &[streams[1].to_be_bytes(), 0_u32.to_be_bytes()].concat());
            let mut next = Frames::accept(&listener, &config);
            let stream = next.asked();
            for stream in streams.into_iter().filter(|_| finishes) {
                shared.send(DATA, END_STREAM, stream, END.as_bytes());
            }
            if !finishes {
                drop(shared);
            }
            next.begin_events(stream);
            next.send(DATA, END_STREAM, stream, [HI, END].concat().as_bytes());
            next.send(GOAWAY, 0, 0, &[stream.to_be_bytes(), 0_u32.to_be_bytes()].concat());
        });
        run(async {
            let mut sender = http2_over(gateway.data, 1 << 20).await;
            let mut bodies = Vec::new();
            for _ in 0..2 {
                let mut body = sender.send_request(streaming()).await.unwrap().into_body();
                let hi = body.frame().await.unwrap().unwrap().into_data().unwrap();
                assert_eq!(hi, HI);
                bodies.push(body);
            }
            let third = sender.send_request(streaming()).await.unwrap().into_body();
            for body in bodies {
                let end = if finishes { END } else { "" };
                assert_eq!(rest_of(body).await, (end.to_owned(), finishes));
            }
            assert_eq!(rest_of(third).await, ([HI, END].concat(), true));
        });
        upstream.join().unwrap();
    }
}
