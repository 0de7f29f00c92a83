//! What the pool promises, between a client and an upstream on the loopback.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::upstream::answer::Incoming;
use crate::upstream::client::{Client, Freshness, SendFault};
use crate::upstream::endpoint::Upstream;

const KNOWN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";

/// A client and the upstream that it asks.
struct Pair {
    client: Client,
    upstream: Upstream,
    listener: TcpListener,
}

impl Pair {
    async fn new() -> Self {
        Self::keeping(16).await
    }

    async fn keeping(most_idle: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let section = format!(r#"{{"base_url":"http://{place}","connect_timeout":"100ms"}}"#);
        let upstream = Upstream::build("u", &serde_json::from_str(&section).unwrap()).unwrap();
        let mut client = Client::new(&no_tls());
        client.pool = Pool::keeping(most_idle);
        Self { client, upstream, listener }
    }

    async fn ask(&self, freshness: Freshness) -> Result<Response<Incoming>, SendFault> {
        self.send(OutBody::default(), freshness).await
    }

    async fn send(&self, body: OutBody, freshness: Freshness) -> Result<Response<Incoming>, SendFault> {
        let mut request = Request::new(body);
        // of a GET hyper sends no body that does not tell its length
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.upstream.origin.uri();
        self.client.send(&self.upstream, request, freshness, None).await
    }

    /// One request on a new connection, and what the upstream says to it.
    async fn asked_anew(&self, answer: &str) -> (Incoming, TcpStream) {
        let (asked, theirs) = tokio::join!(self.ask(Freshness::Any), async {
            let (mut theirs, _) = self.listener.accept().await.unwrap();
            tell(&mut theirs, answer).await;
            theirs
        });
        (asked.unwrap().into_body(), theirs)
    }

    /// One request on the connection that the upstream knows as `theirs`.
    async fn asked_again(&self, theirs: &mut TcpStream, answer: &str) -> Incoming {
        let (asked, ()) = tokio::join!(self.ask(Freshness::Any), tell(theirs, answer));
        asked.unwrap().into_body()
    }

    /// The turn to connect, as if this upstream had been known to speak HTTP/2.
    fn turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = Turn::default();
        let mut places = self.client.pool.places.lock().unwrap();
        places.find_or_add(&self.upstream.origin).connecting = Some(Arc::clone(&turn));
        turn.try_lock_owned().unwrap()
    }

    fn idle(&self) -> usize {
        self.client.pool.idle()
    }
}

/// Trusts nobody: reading the system's anchors would take longer than these tests.
fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// Reads one request and answers it.
async fn tell(theirs: &mut TcpStream, answer: &str) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(theirs.read_u8().await.unwrap());
    }
    theirs.write_all(answer.as_bytes()).await.unwrap();
}

async fn is_left(theirs: &mut TcpStream) {
    assert!(matches!(theirs.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_connection_is_used_again_once_its_answer_was_read_to_the_end() {
    for answer in [KNOWN, CHUNKED, "HTTP/1.1 204 No Content\r\n\r\n"] {
        let pair = Pair::new().await;
        let (body, mut theirs) = pair.asked_anew(answer).await;
        body.collect().await.unwrap();
        assert_eq!(pair.idle(), 1, "{answer}");
        let body = pair.asked_again(&mut theirs, answer).await;
        body.collect().await.unwrap();
        assert_eq!(pair.idle(), 1, "{answer}");
    }
}

#[tokio::test]
async fn the_last_byte_of_a_known_length_gives_the_connection_back() {
    let pair = Pair::new().await;
    let (mut body, _theirs) = pair.asked_anew(KNOWN).await;
    assert_eq!(pair.idle(), 0);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hi");
    assert_eq!(pair.idle(), 1);
}

#[tokio::test]
async fn an_answer_that_is_let_go_closes_its_connection() {
    let pair = Pair::new().await;
    let (mut body, mut theirs) = pair.asked_anew("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi").await;
    body.frame().await.unwrap().unwrap();
    drop(body);
    is_left(&mut theirs).await;
    assert_eq!(pair.idle(), 0);
}

#[tokio::test]
async fn an_answer_that_nobody_wants_gives_its_connection_back_if_all_of_it_is_there() {
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n{}", "x".repeat(999_999));
    let begun = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi";
    for (answer, idle) in [(KNOWN, 1), (CHUNKED, 1), (begun, 0), (&long, 0)] {
        let pair = Pair::new().await;
        let (body, _theirs) = pair.asked_anew(answer).await;
        body.let_go();
        assert_eq!(pair.idle(), idle, "{}", &answer[..60.min(answer.len())]);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_gives_nothing_back() {
    let pair = Pair::new().await;
    let (mut body, theirs) = pair.asked_anew("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi").await;
    drop(theirs);
    body.frame().await.unwrap().unwrap();
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(pair.idle(), 0);
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let pair = Pair::new().await;
    let mut asking = Box::pin(pair.ask(Freshness::Any));
    let mut theirs = tokio::select! {
        _ = &mut asking => unreachable!("nobody answers"),
        accepted = async {
            let (mut theirs, _) = pair.listener.accept().await.unwrap();
            theirs.read_u8().await.unwrap();
            theirs
        } => accepted,
    };
    drop(asking);
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).await.unwrap();
    assert_eq!(pair.idle(), 0);
}

#[tokio::test]
async fn a_connection_for_one_request_does_not_come_back() {
    let pair = Pair::new().await;
    let (asked, mut theirs) = tokio::join!(pair.ask(Freshness::New), async {
        let (mut theirs, _) = pair.listener.accept().await.unwrap();
        tell(&mut theirs, KNOWN).await;
        theirs
    });
    asked.unwrap().into_body().collect().await.unwrap();
    is_left(&mut theirs).await;
    assert_eq!(pair.idle(), 0);
}

/// A body whose pieces come when the test says so.
struct Pieces(tokio::sync::mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn what_still_goes_up_after_the_answers_end_arrives() {
    let pair = Pair::new().await;
    let (pieces, body) = tokio::sync::mpsc::channel(1);
    let (asked, mut theirs) =
        tokio::join!(pair.send(OutBody::streamed(Pieces(body)), Freshness::Any), async {
            let (mut theirs, _) = pair.listener.accept().await.unwrap();
            tell(&mut theirs, KNOWN).await;
            theirs
        });
    asked.unwrap().into_body().collect().await.unwrap();
    pieces.send(Bytes::from_static(b"late")).await.unwrap();
    drop(pieces);
    let mut rest = String::new();
    theirs.read_to_string(&mut rest).await.unwrap();
    assert_eq!((rest.as_str(), pair.idle()), ("4\r\nlate\r\n0\r\n\r\n", 0));
}

#[tokio::test]
async fn an_idle_connection_that_ends_is_let_go_and_the_next_one_is_used() {
    let pair = Pair::new().await;
    let (first, mut theirs) = pair.asked_anew(KNOWN).await;
    let (second, ended) = pair.asked_anew(KNOWN).await;
    first.collect().await.unwrap();
    second.collect().await.unwrap();
    assert_eq!(pair.idle(), 2);
    // the last one back would be the first to go
    drop(ended);
    while pair.idle() == 2 {
        tokio::task::yield_now().await;
    }
    let body = pair.asked_again(&mut theirs, KNOWN).await;
    body.collect().await.unwrap();
    assert_eq!(pair.idle(), 1);
}

#[tokio::test]
async fn no_more_stay_idle_than_are_kept() {
    let pair = Pair::keeping(2).await;
    let (first, mut oldest) = pair.asked_anew(KNOWN).await;
    let (second, _theirs) = pair.asked_anew(KNOWN).await;
    let (third, _theirs) = pair.asked_anew(KNOWN).await;
    for body in [first, second, third] {
        body.collect().await.unwrap();
    }
    assert_eq!(pair.idle(), 2);
    is_left(&mut oldest).await;
}

#[tokio::test]
async fn what_nobody_uses_is_let_go() {
    let pair = Pair::new().await;
    let (body, mut theirs) = pair.asked_anew(KNOWN).await;
    body.collect().await.unwrap();
    let now = Instant::now();
    assert!(matches!(pair.client.pool.sweep(now), Swept::SomeLeft));
    assert!(matches!(pair.client.pool.sweep(now + IDLE), Swept::NothingLeft));
    is_left(&mut theirs).await;
}

#[tokio::test]
async fn who_waits_for_anothers_connection_waits_no_longer_than_connecting_may_take() {
    let pair = Pair::new().await;
    let _held = pair.turn();
    let (first, second) = tokio::join!(pair.ask(Freshness::Any), pair.ask(Freshness::Any));
    assert_eq!(first.err(), Some(SendFault::ConnectTimeout));
    assert_eq!(second.err(), Some(SendFault::ConnectTimeout));
}

#[tokio::test]
async fn who_waits_for_anothers_connection_takes_one_that_came_back() {
    let pair = Pair::new().await;
    let (body, mut theirs) = pair.asked_anew(KNOWN).await;
    let held = pair.turn();
    let (asked, ()) = tokio::join!(pair.ask(Freshness::Any), async {
        body.collect().await.unwrap();
        drop(held);
        tell(&mut theirs, KNOWN).await;
    });
    asked.unwrap().into_body().collect().await.unwrap();
    assert_eq!(pair.idle(), 1);
}

#[tokio::test]
async fn nobody_waits_to_connect_where_each_needs_a_connection() {
    let pair = Pair::new().await;
    drop(pair.turn());
    let (body, mut theirs) = pair.asked_anew(KNOWN).await;
    let places = pair.client.pool.places.lock().unwrap().list.iter().all(|place| place.connecting.is_none());
    assert!(places);
    body.collect().await.unwrap();
    pair.asked_again(&mut theirs, KNOWN).await.collect().await.unwrap();
}
