//! HTTP/2 and TLS, towards clients and towards upstreams.

#![expect(clippy::disallowed_methods, reason = "these tasks end with the runtime of their test")]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::{
    COMPLETION, Gateway, PATIENCE, PROD, Recorder, Setup, Wire, chat, json_answer, mock, until,
};

const TEAM: &str = "teams: { search: { keys: [{ name: prod, key: \"${KEY_PROD}\" }] } }\n";

fn certificate() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A gateway that speaks TLS with this certificate; `server` are its bounds.
fn gateway_with(own: &CertifiedKey<KeyPair>, upstream: SocketAddr, server: &str) -> Gateway {
    let setup = Setup::new("");
    let (cert, key) = (setup.dir.path().join("cert.pem"), setup.dir.path().join("key.pem"));
    std::fs::write(&cert, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    setup.write(&format!(
        "server: {{ {server} }}\ntls: {{ cert: \"{}\", key: \"{}\" }}\nupstreams: {{ mock: {{ base_url: \"http://{upstream}/v1\" }} }}\n{TEAM}",
        cert.display(),
        key.display()
    ));
    setup.start()
}

fn post(stream: bool, model: &str) -> Request<Full<Bytes>> {
    let body =
        format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#);
    Request::post("http://localhost/v1/chat/completions")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {PROD}"))
        .header("content-type", "application/json")
        .body(Full::from(body))
        .unwrap()
}

async fn http2_over<S>(io: S) -> http2::SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn read<B>(answer: Response<B>) -> (u16, Version, String)
where
    B: hyper::body::Body,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.version, String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn http2_without_tls_is_spoken_by_prior_knowledge() {
    let mock = mock();
    let gateway =
        Gateway::start(&format!("upstreams: {{ mock: {{ base_url: \"{}\" }} }}\n{TEAM}", mock.base_url()));
    run(async {
        let mut sender = http2_over(TcpStream::connect(gateway.data).await.unwrap()).await;
        let mut asked = Vec::new();
        for _ in 0..10 {
            asked.push(tokio::spawn(sender.send_request(post(true, "gpt-4o@out=30"))));
            asked.push(tokio::spawn(sender.send_request(post(false, "gpt-4o@out=30"))));
        }
        for (place, asked) in asked.into_iter().enumerate() {
            let (status, version, body) = read(asked.await.unwrap().unwrap()).await;
            assert_eq!((status, version), (200, Version::HTTP_2));
            assert_eq!(body.ends_with("data: [DONE]\n\n"), place % 2 == 0, "{body}");
        }
    });
    let rows = gateway.rows(20);
    assert!(rows.iter().all(|row| row.usage_source.as_str() == "reported"));
}

#[test]
fn a_reset_http2_stream_is_a_cancelled_request() {
    let mock = mock();
    let gateway =
        Gateway::start(&format!("upstreams: {{ mock: {{ base_url: \"{}\" }} }}\n{TEAM}", mock.base_url()));
    run(async {
        let mut sender = http2_over(TcpStream::connect(gateway.data).await.unwrap()).await;
        let mut answer = sender.send_request(post(true, "gpt-4o@out=1000+pace=10ms")).await.unwrap();
        assert!(answer.body_mut().frame().await.unwrap().is_ok());
        drop(answer);
        // the connection lives on
        let (status, ..) = read(sender.send_request(post(false, "gpt-4o")).await.unwrap()).await;
        assert_eq!(status, 200);
    });
    let mut outcomes: Vec<_> = gateway.rows(2).iter().map(|row| row.outcome.as_str()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["cancelled", "completed"]);
    until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
}

#[test]
fn a_client_that_takes_no_more_of_one_stream_loses_that_stream() {
    let upstream = Recorder::start(|seen| match seen.line.contains("/files/") {
        true => json_answer(200, "", &"x".repeat(32 << 20)),
        false => json_answer(200, "", COMPLETION),
    });
    let gateway = Gateway::start(&format!(
        "server: {{ write_timeout: 300ms }}\nupstreams: {{ up: {{ base_url: \"http://{}/v1\" }} }}\n{TEAM}",
        upstream.addr
    ));
    let addr = gateway.data;
    run(async {
        let mut sender = http2_over(TcpStream::connect(addr).await.unwrap()).await;
        let ask = Request::get("http://localhost/v1/files/large/content")
            .header("authorization", format!("Bearer {PROD}"))
            .body(Full::default())
            .unwrap();
        let untaken = sender.send_request(ask).await.unwrap();
        // the connection is read all the while, and answers pings
        let gateway = tokio::task::spawn_blocking(move || {
            assert_eq!(gateway.rows(1)[0].outcome.as_str(), "cancelled");
            gateway
        });
        let gateway = gateway.await.unwrap();
        assert!(untaken.into_body().collect().await.is_err());
        let (status, ..) = read(sender.send_request(post(false, "gpt-4o")).await.unwrap()).await;
        assert_eq!(status, 200);
        drop(gateway);
    });
}

fn trusting(certificate: &CertifiedKey<KeyPair>, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

#[test]
fn over_tls_the_client_chooses_the_protocol() {
    let (mock, own) = (mock(), certificate());
    let gateway = gateway_with(&own, mock.addr, "");
    run(async {
        let open = async |alpn: &[&[u8]]| {
            let stream = TcpStream::connect(gateway.data).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            trusting(&own, alpn).connect(name, stream).await.unwrap()
        };
        let tls = open(&[b"h2", b"http/1.1"]).await;
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut sender = http2_over(tls).await;
        let (status, version, body) = read(sender.send_request(post(true, "gpt-4o")).await.unwrap()).await;
        assert_eq!((status, version), (200, Version::HTTP_2));
        assert!(body.ends_with("data: [DONE]\n\n"));
        for alpn in [&[&b"http/1.1"[..]][..], &[]] {
            let tls = open(alpn).await;
            let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.unwrap();
            tokio::spawn(connection);
            let (status, version, _) = read(sender.send_request(post(false, "gpt-4o")).await.unwrap()).await;
            assert_eq!((status, version), (200, Version::HTTP_11));
        }
    });
    // who speaks no TLS is shown the door, and nobody else notices
    let mut plain = Wire::open(gateway.data);
    plain.write(&chat("gpt-4o").bytes());
    assert!(!String::from_utf8_lossy(&plain.rest()).contains("200 OK"));
    assert_eq!(gateway.rows(3).len(), 3);
}

#[test]
fn over_tls_too_a_client_must_say_something_and_must_read() {
    let own = certificate();
    let upstream = Recorder::start(|_| json_answer(200, "", &"x".repeat(32 << 20)));
    let gateway = gateway_with(&own, upstream.addr, "header_timeout: 300ms, write_timeout: 300ms");
    run(async {
        let open = async |alpn: &[&[u8]]| {
            let stream = TcpStream::connect(gateway.data).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            trusting(&own, alpn).connect(name, stream).await.unwrap()
        };
        for (alpn, begun) in [(&b"http/1.1"[..], ""), (b"h2", ""), (b"h2", "PRI * HTTP/2.0\r\n")] {
            let mut tls = open(&[alpn]).await;
            tls.write_all(begun.as_bytes()).await.unwrap();
            tls.flush().await.unwrap();
            let mut told = Vec::new();
            // the end may come with or without TLS's goodbye
            let ended = tokio::time::timeout(PATIENCE, tls.read_to_end(&mut told)).await;
            assert!(ended.is_ok(), "{begun:?}: still open");
            assert!(told.is_empty(), "{begun:?}: {told:?}");
        }
        let mut tls = open(&[b"http/1.1"]).await;
        let ask =
            format!("GET /v1/files/f HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {PROD}\r\n\r\n");
        tls.write_all(ask.as_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        assert_eq!(gateway.rows(1)[0].outcome.as_str(), "cancelled");
        drop(tls);
    });
}

/// An upstream behind TLS that says in a header which protocol it was asked in.
fn upstream(own: &CertifiedKey<KeyPair>, alpn: &[&[u8]]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![own.cert.der().clone()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    std::thread::spawn(move || {
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // a client that does not trust us hangs up
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(answer);
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    });
    addr
}

async fn answer(request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let version = format!("{:?}", request.version());
    let host = request.uri().authority().map(ToString::to_string);
    let host = host.or_else(|| request.headers().get("host").map(|host| host.to_str().unwrap().to_owned()));
    let body = request.into_body().collect().await?.to_bytes();
    let answer = Response::builder()
        .header("content-type", "application/json")
        .header("x-seen-version", version)
        .header("x-seen-host", host.unwrap_or_default())
        .header("x-seen-bytes", body.len());
    Ok(answer.body(Full::from(COMPLETION)).unwrap())
}

#[test]
fn an_upstream_behind_tls_is_asked_in_the_protocol_it_offers() {
    let own = certificate();
    for (alpn, version) in
        [(&[&b"h2"[..], b"http/1.1"][..], "HTTP/2.0"), (&[b"http/1.1"], "HTTP/1.1"), (&[], "HTTP/1.1")]
    {
        let addr = upstream(&own, alpn);
        let setup = Setup::new(&format!(
            "upstreams: {{ tls: {{ base_url: \"https://localhost:{}/v1\" }} }}\n{TEAM}",
            addr.port()
        ));
        let anchors = setup.dir.path().join("anchors.pem");
        std::fs::write(&anchors, own.cert.pem()).unwrap();
        let gateway = setup.env("SSL_CERT_FILE", anchors.to_str().unwrap()).start();
        for _ in 0..3 {
            let answer = gateway.send(&chat("gpt-4o"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("x-seen-version"), Some(version));
            assert_eq!(answer.header("x-seen-host"), Some(format!("localhost:{}", addr.port()).as_str()));
            assert_eq!(answer.text(), COMPLETION);
            assert_eq!(gateway.row_of(&answer).usage.input_tokens, 9);
        }
    }
}

#[test]
fn an_upstream_whose_certificate_does_not_fit_is_not_talked_to() {
    let (own, other) = (certificate(), certificate());
    let addr = upstream(&own, &[b"h2", b"http/1.1"]);
    // a stranger's anchor, and the right one under a wrong name
    for (anchor, host) in [(&other, "localhost"), (&own, "127.0.0.1")] {
        let setup = Setup::new(&format!(
            "upstreams: {{ tls: {{ base_url: \"https://{host}:{}/v1\" }} }}\n{TEAM}",
            addr.port()
        ));
        let anchors = setup.dir.path().join("anchors.pem");
        std::fs::write(&anchors, anchor.cert.pem()).unwrap();
        let gateway = setup.env("SSL_CERT_FILE", anchors.to_str().unwrap()).start();
        let answer = gateway.send(&chat("gpt-4o"));
        assert_eq!(answer.refusal(), (502, "upstream_unreachable".into()));
        assert!(answer.text().contains("tls_error"), "{}", answer.text());
        assert_eq!(gateway.row_of(&answer).outcome.as_str(), "upstream_unreachable");
    }
}

#[test]
fn an_upstream_that_speaks_no_tls_is_a_tls_error() {
    let mock = mock();
    let gateway = Gateway::start(&format!(
        "upstreams: {{ tls: {{ base_url: \"https://{}/v1\" }} }}\n{TEAM}",
        mock.addr
    ));
    let answer = gateway.send(&chat("gpt-4o"));
    assert_eq!(answer.refusal(), (502, "upstream_unreachable".into()));
    assert!(answer.text().contains("tls_error"), "{}", answer.text());
}
