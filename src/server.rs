//! Listeners and workers: accepts connections, speaks HTTP/1.1 and HTTP/2, with or without TLS, and
//! stops in order. Knows nothing of what is served.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::proxy::{self, Outgoing, Station};

mod first_words;
mod write_limit;
use first_words::{FirstWords, Speech};
use write_limit::WriteLimit;

/// How the data listener serves.
#[derive(Debug, Clone)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// With TLS, if there is a certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Worker threads.
    pub workers: usize,
    /// Open connections, all workers together.
    pub max_connections: usize,
    /// Limit on receiving a request's headers; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Limit on a client that takes nothing of its answer.
    pub write_timeout: Duration,
    /// Whether a client that has ended its sending direction is served.
    pub serves_half_closed: bool,
    /// How long requests may go on after the stop signal.
    pub grace: Duration,
}

/// Running workers.
#[derive(Debug)]
pub struct Workers {
    /// The address that was bound.
    pub address: SocketAddr,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Workers {
    /// Waits until every worker has stopped.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

/// Starts the workers; each has its own listener on the same port, its own runtime and its own station.
/// They stop when `stop` turns true.
///
/// # Errors
/// When the address cannot be bound or a thread cannot start.
pub fn start(
    listening: &Listening,
    stop: &watch::Receiver<bool>,
    station: impl Fn() -> Station,
) -> io::Result<Workers> {
    let mut address = listening.address;
    let mut threads = Vec::new();
    for number in 0..listening.workers.max(1) {
        let socket = bind(address)?;
        // port 0 asks for any free port: the others share the one that was found
        address = socket.local_addr()?;
        let worker =
            Worker { listening: listening.clone(), station: Arc::new(station()), stop: stop.clone() };
        let run = move || worker.run(socket);
        threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(run)?);
    }
    Ok(Workers { address, threads })
}

/// Turns PEM files into a server config that offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// When the files hold no usable certificate and key.
pub fn tls_config(cert_pem: &[u8], key_pem: &[u8]) -> Result<Arc<rustls::ServerConfig>, String> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certs = CertificateDer::pem_slice_iter(cert_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|fault| format!("tls.cert: {fault}"))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|fault| format!("tls.key: {fault}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|fault| fault.to_string())?
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .map_err(|fault| format!("tls: {fault}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 4_096;
/// A client that has not finished its TLS handshake by then is not one.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// After an accept error (no descriptors left) the loop rests instead of spinning.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// The largest head of a request, and what is kept for a client that does not read: hyper would keep 400 KiB.
const H1_BUFFER: usize = 32 << 10;
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_MAX_STREAMS: u32 = 256;
const H2_WINDOW: u32 = 1 << 20;

struct Worker {
    listening: Listening,
    station: Arc<Station>,
    stop: watch::Receiver<bool>,
}

impl Worker {
    fn run(self, socket: std::net::TcpListener) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.accept_all(socket)),
            Err(fault) => tracing::error!(%fault, "a worker has no runtime"),
        }
    }

    async fn accept_all(mut self, socket: std::net::TcpListener) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(fault) => return tracing::error!(%fault, "a worker has no listener"),
        };
        let share = self.listening.max_connections.div_ceil(self.listening.workers.max(1));
        let places = Arc::new(Semaphore::new(share));
        let tracker = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = async { (places.clone().acquire_owned().await, listener.accept().await) } => accepted,
                _ = self.stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let connection = self.connection(stream);
                    tracker.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                (_, Err(fault)) => {
                    tracing::warn!(%fault, "a connection could not be accepted");
                    sleep(ACCEPT_REST).await;
                }
                (Err(_), _) => break,
            }
        }
        drop(listener);
        tracker.close();
        let all = async {
            tracker.wait().await;
            // answers that are read on without their clients
            self.station.door.drains.finish().await;
            self.station.door.sockets.finish().await;
        };
        if timeout(self.listening.grace, all).await.is_err() {
            tracing::warn!(left = tracker.len(), "the grace period is over; what goes on is cut");
        }
    }

    /// Serves one connection to its end; told to stop, it finishes the requests at work.
    fn connection(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static {
        let (station, tls) = (self.station.clone(), self.listening.tls.clone());
        let patience = Patience {
            headers: self.listening.header_timeout,
            writing: self.listening.write_timeout,
            waits_for_half_closed: self.listening.serves_half_closed,
        };
        let mut stop = self.stop.clone();
        async move {
            // every event of a stream is written when it is there
            let _ = stream.set_nodelay(true);
            let stream = WriteLimit::new(stream, patience.writing);
            match tls {
                None => serve(stream, station, patience, &mut stop).await,
                // in memory of its own: a connection without TLS has no room for its state
                Some(tls) => {
                    Box::pin(async move {
                        let handshake = TlsAcceptor::from(tls).accept(stream);
                        if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, handshake).await {
                            serve(stream, station, patience, &mut stop).await;
                        }
                    })
                    .await;
                }
            }
        }
    }
}

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
struct Patience {
    headers: Duration,
    writing: Duration,
    waits_for_half_closed: bool,
}

/// Runs the streams of an HTTP/2 connection, each until its client stops taking its answer.
#[derive(Debug, Clone)]
struct Streams {
    patience: Patience,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, serving: F) {
        TokioExecutor::new().execute(proxy::give_up_stalled(serving, self.patience.writing));
    }
}

async fn serve<S>(stream: S, station: Arc<Station>, patience: Patience, stop: &mut watch::Receiver<bool>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let heard = tokio::select! {
        heard = timeout(patience.headers, FirstWords::hear(stream)) => heard,
        _ = stop.wait_for(|stop| *stop) => return,
    };
    // one that says nothing would keep its place for ever
    let Ok(Ok((stream, speech))) = heard else { return };
    let io = TokioIo::new(stream);
    match speech {
        Speech::Http1 => {
            let service = service_fn(move |request| guarded(station.clone(), request));
            let connection = http1_builder(patience).serve_connection(io, service).with_upgrades();
            until_stopped(connection, http1::UpgradeableConnection::graceful_shutdown, stop).await;
        }
        // in memory of its own: there are few of them, and each has many streams
        Speech::Http2 => {
            let service = service_fn(move |request| guarded(station.clone(), request));
            let connection = http2_builder(patience).serve_connection(io, service);
            Box::pin(until_stopped(connection, http2::Connection::graceful_shutdown, stop)).await;
        }
    }
}

fn http1_builder(patience: Patience) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience.headers)
        .half_close(patience.waits_for_half_closed)
        .max_buf_size(H1_BUFFER)
        // a date that the upstream did not send is not ours to add
        .auto_date_header(false);
    builder
}

fn http2_builder(patience: Patience) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams { patience });
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .keep_alive_interval(H2_PING_EVERY)
        .max_concurrent_streams(H2_MAX_STREAMS)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(H2_WINDOW);
    builder
}

/// Serves a connection to its end. Told to stop, it finishes the requests at work.
async fn until_stopped<C: Future>(
    connection: C,
    finish: impl FnOnce(Pin<&mut C>),
    stop: &mut watch::Receiver<bool>,
) {
    let news = stop.clone();
    let (mut connection, mut stopped) = (pin!(connection), pin!(stop.wait_for(|stop| *stop)));
    let mut is_listening = false;
    // whether there is news costs less to see than to ask for it again at each event of the connection
    let is_over = poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let has_news = news.has_changed().unwrap_or(true);
        if std::mem::replace(&mut is_listening, true) && !has_news {
            return Poll::Pending;
        }
        stopped.as_mut().poll(cx).map(|_| false)
    });
    // a broken connection has been recorded by the requests it carried; there is nobody to tell
    if !is_over.await {
        finish(connection.as_mut());
        connection.await;
    }
}

async fn guarded(
    station: Arc<Station>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, Infallible> {
    let signals = station.door.signals.clone();
    Ok(PanicGuard { serving: proxy::handle(station, request) }.await.unwrap_or_else(|_| {
        signals.panicked();
        tracing::error!("a request panicked; it was answered 500");
        let mut response = Response::new(Outgoing::ready(bytes::Bytes::from_static(PANIC_BODY)));
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }))
}

const PANIC_BODY: &[u8] =
    br#"{"error":{"message":"the gateway failed on this request","type":"server_error","param":null,"code":"internal_error"}}"#;

/// A panic costs one request (invariant I12): the future's panic becomes an error.
struct PanicGuard<F> {
    serving: F,
}

impl<F: Future + Unpin> Future for PanicGuard<F> {
    type Output = thread::Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.serving).poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
