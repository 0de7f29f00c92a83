//! Very many at once: readers that do not read, streams side by side, clients that all leave.

#![expect(clippy::disallowed_methods, reason = "these tasks end with the runtime of their test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::script::{chunk, gateway, peak_memory};
use crate::support::{Gateway, PROD, Wire, stream_chat, until};

/// An upstream for a crowd: every request gets an event at each step that the test takes.
struct Stage {
    addr: SocketAddr,
    step: watch::Sender<usize>,
    /// Connections that are open now.
    open: Arc<AtomicUsize>,
    /// Events written so far.
    sent: Arc<AtomicUsize>,
}

/// How many steps there are; the last one ends the streams.
const STEPS: usize = 4;
const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4}}\n\ndata: [DONE]\n\n";
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

impl Stage {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (step, steps) = watch::channel(1);
        let (open, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // one event would be held until its end came
        let large: Arc<[u8]> = chunk(format!(": {}\n{EVENT}", "x".repeat(16 << 10)).repeat(512)).into();
        let counts = (Arc::clone(&open), Arc::clone(&sent));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // so that what the system keeps for those who do not read stays small
                socket2::SockRef::from(&stream).set_send_buffer_size(16 << 10).unwrap();
                let (steps, large, (open, sent)) = (steps.clone(), Arc::clone(&large), counts.clone());
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::AcqRel);
                    play(stream, steps, &large, &sent).await;
                    open.fetch_sub(1, Ordering::AcqRel);
                });
            }
        });
        Self { addr, step, open, sent }
    }
}

/// Answers requests until the other side hangs up; with large events where the model is called so.
async fn play(mut stream: TcpStream, mut steps: watch::Receiver<usize>, large: &[u8], sent: &AtomicUsize) {
    let (mut asked, small) = (Vec::new(), chunk(EVENT));
    loop {
        asked.clear();
        // the requests of these tests have no braces but those of their body
        while !asked.ends_with(b"]}") {
            if stream.read_buf(&mut asked).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let is_large = asked.windows(7).any(|seven| seven == b"\"large\"");
        let event = if is_large { large } else { small.as_slice() };
        if stream.write_all(HEAD.as_bytes()).await.is_err() {
            return;
        }
        for step in 1..=STEPS {
            let mut beyond = [0; 1];
            tokio::select! {
                _ = steps.wait_for(|now| *now >= step) => {}
                // nothing is asked in the middle of an answer: the gateway has hung up
                _ = stream.read(&mut beyond) => return,
            }
            let last = [&chunk(END)[..], b"0\r\n\r\n"].concat();
            let bytes = if step == STEPS { &last } else { event };
            if stream.write_all(bytes).await.is_err() {
                return;
            }
            sent.fetch_add(1, Ordering::AcqRel);
        }
    }
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits on a thread of its own, so that the tasks of the test go on.
async fn eventually(what: &'static str, mut look: impl FnMut() -> bool + Send + 'static) {
    tokio::task::spawn_blocking(move || until(what, || look().then_some(()))).await.unwrap();
}

/// Descriptors that the gateway has open.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn at_work(gateway: &Gateway) -> usize {
    // counted by the system, so that looking costs no request
    descriptors(gateway.pid())
}

/// How many of a crowd there are: fewer in `./check` than in the whole run.
fn crowd(usually: usize) -> usize {
    std::env::var("TOLLGATE_CROWD").map_or(usually, |told| told.parse().unwrap())
}

async fn http2_over(addr: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn streaming() -> Request<Full<Bytes>> {
    let body =
        r#"{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    Request::post("http://localhost/v1/chat/completions")
        .header("authorization", format!("Bearer {PROD}"))
        .header("content-type", "application/json")
        .body(Full::from(body))
        .unwrap()
}

/// Reads until the body has this many bytes.
async fn read_to(body: &mut Incoming, whole: &mut Vec<u8>, length: usize) {
    while whole.len() < length {
        whole.extend_from_slice(&body.frame().await.expect("more comes").unwrap().into_data().unwrap());
    }
}

#[test]
fn s_10_very_many_streams_at_once_get_every_event_when_it_is_sent() {
    run(async {
        let stage = Stage::start().await;
        let gateway = gateway(stage.addr, "max_requests: 20000", "");
        let before = peak_memory(&gateway);
        let count = crowd(1_000);
        let mut senders = Vec::new();
        for _ in 0..count.div_ceil(200) {
            senders.push(http2_over(gateway.data).await);
        }
        let mut streams = Vec::new();
        for place in 0..count {
            let answer = senders[place / 200].send_request(streaming());
            streams.push(tokio::spawn(answer));
        }
        let mut open = Vec::new();
        for stream in streams {
            let answer = stream.await.unwrap().unwrap();
            assert_eq!(answer.status(), 200);
            open.push((answer.into_body(), Vec::new()));
        }
        for step in 1..STEPS {
            // nobody's next event is sent before everybody has this one
            for (body, whole) in &mut open {
                read_to(body, whole, step * EVENT.len()).await;
            }
            stage.step.send(step + 1).unwrap();
        }
        let expected = EVENT.repeat(STEPS - 1) + END;
        for (mut body, mut whole) in open {
            read_to(&mut body, &mut whole, expected.len()).await;
            whole.extend_from_slice(&body.collect().await.unwrap().to_bytes());
            assert_eq!(whole, expected.as_bytes());
        }
        let gateway = on_thread(move || {
            let rows = gateway.rows(count);
            assert!(rows.len() == count && rows.iter().all(|row| row.outcome.as_str() == "completed"));
            gateway
        })
        .await;
        let each = (peak_memory(&gateway) - before) / count as u64;
        assert!(each < 100 << 10, "{each} bytes for each stream");
    });
}

/// Clients on sockets of their own, each with the first event of its stream.
async fn listeners(gateway: &Gateway, count: usize, model: &str) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        // as over a network: on loopback the system would keep megabytes for each
        socket2::SockRef::from(&socket).set_tcp_mss(1_400).unwrap();
        let mut client = socket.connect(gateway.data).await.unwrap();
        client.write_all(&stream_chat(model).bytes()).await.unwrap();
        clients.push(client);
    }
    for client in &mut clients {
        let mut begun = [0; 12];
        client.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200");
    }
    clients
}

#[test]
fn s_16_clients_that_all_leave_at_once_leave_nothing_behind() {
    run(async {
        let stage = Stage::start().await;
        let gateway = gateway(stage.addr, "", "");
        // what the first request has the gateway open stays open
        drop(listeners(&gateway, 1, "gpt-4o-mini").await);
        let gateway = on_thread(move || {
            gateway.rows(1);
            gateway
        })
        .await;
        let base = at_work(&gateway);
        let count = crowd(1_000);
        let clients = listeners(&gateway, count, "gpt-4o-mini").await;
        assert!(at_work(&gateway) >= base + 2 * count);
        drop(clients);
        let open = Arc::clone(&stage.open);
        eventually("the upstream's connections to be let go", move || open.load(Ordering::Acquire) == 0)
            .await;
        let gateway = on_thread(move || {
            let rows = gateway.rows(count + 1);
            assert!(rows.len() == count + 1 && rows.iter().all(|row| row.outcome.as_str() == "cancelled"));
            until("rest", || (gateway.metric("http_server_active_requests{") == 0.0).then_some(()));
            // one or two for those who look
            until("descriptors", || (at_work(&gateway) <= base + 4).then_some(()));
            gateway
        })
        .await;
        drop(gateway);
    });
}

#[test]
fn s_09_readers_that_do_not_read_hold_their_upstreams_up_and_are_let_go() {
    run(async {
        let stage = Stage::start().await;
        let gateway = gateway(stage.addr, "write_timeout: 8s", "");
        // the first stream that is counted here loads a vocabulary
        drop(listeners(&gateway, 1, "gpt-4o-mini").await);
        let gateway = on_thread(move || {
            gateway.rows(1);
            gateway
        })
        .await;
        let before = peak_memory(&gateway);
        let sent = stage.sent.load(Ordering::Acquire);
        let count = crowd(1_000);
        let clients = listeners(&gateway, count, "large").await;
        let address = gateway.data;
        on_thread(move || {
            let mut other = Wire::open(address);
            other.write(&stream_chat("gpt-4o-mini").bytes());
            other.wait_for(EVENT.as_bytes());
        })
        .await;
        assert_eq!(stage.sent.load(Ordering::Acquire), sent + 1, "only the other one's event went out whole");
        let each = (peak_memory(&gateway) - before) / count as u64;
        assert!(each < 256 << 10, "{each} bytes for each reader");
        let open = Arc::clone(&stage.open);
        eventually("those who do not read to be let go", move || open.load(Ordering::Acquire) == 0).await;
        let gateway = on_thread(move || {
            let rows = gateway.rows(count + 2);
            assert!(rows.len() == count + 2 && rows.iter().all(|row| row.outcome.as_str() == "cancelled"));
            gateway
        })
        .await;
        let each = (peak_memory(&gateway) - before) / count as u64;
        // all of them are settled at once: what each streamed is counted beside what is still held
        assert!(each < 384 << 10, "{each} bytes for each reader at their end");
        drop(clients);
    });
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
