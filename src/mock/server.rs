//! The mock's listener and its connections: its own thread and runtime, so that it runs beside any test.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::served::{Book, Served, Totals};
use super::service::{self, Service};
use super::stored::Shelf;

/// How a mock is set up; everything about single answers is in the model name.
#[derive(Debug, Clone)]
pub struct MockConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// File to which the served log is appended.
    pub served_log: Option<PathBuf>,
    /// Whether the log's first line of an answer is on the disk (`fdatasync`) before the answer's first byte.
    pub sync_log: bool,
    /// Changes ids and words, so that two mocks differ.
    pub seed: u64,
    /// Pause between stream events where the model name asks for none.
    pub pace: Duration,
    /// Output tokens where the model name asks for none; default: 12 to 24, by the question.
    pub tokens: Option<u64>,
    /// The only credential accepted; default: any, or none.
    pub key: Option<String>,
}

impl Default for MockConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            served_log: None,
            sync_log: false,
            seed: 0,
            pace: Duration::ZERO,
            tokens: None,
            key: None,
        }
    }
}

/// The fake upstream.
#[derive(Debug, Clone, Copy)]
pub struct Mock;

/// A running mock. Dropping it stops it.
#[derive(Debug)]
pub struct MockHandle {
    /// Where it listens.
    pub addr: SocketAddr,
    book: Arc<Book>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Mock {
    /// Starts a mock on a thread of its own; it listens when this returns.
    ///
    /// # Errors
    /// When the address cannot be bound, the log cannot be opened or a thread cannot be started.
    pub fn start(config: MockConfig) -> io::Result<MockHandle> {
        let listener = TcpListener::bind(config.listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let book = Arc::new(Book::open(config.served_log.as_deref(), config.sync_log)?);
        let stop = CancellationToken::new();
        let service = Arc::new(Service {
            book: Arc::clone(&book),
            seed: config.seed,
            pace: config.pace,
            tokens: config.tokens,
            key: config.key,
            failures: Mutex::new(HashMap::new()),
            sockets: TaskTracker::new(),
            stop: stop.clone(),
            shelf: Shelf::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("mock".into()).spawn(move || {
            runtime.block_on(async {
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    accept(listener, service, stopped).await;
                }
            });
        })?;
        Ok(MockHandle { addr, book, stop, thread: Some(thread) })
    }
}

/// What a mock says to one question, without its pauses and cuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The body of the answer, as coded.
    pub whole: Vec<u8>,
    /// The body of the refusal, if the question asks for an error status.
    pub refusal: Option<Vec<u8>>,
}

impl Mock {
    /// What a mock with seed 0 says to a `POST` of `body` to `path`, worked out without a connection: what a
    /// client gets that stands right before it. `None` for what it refuses to understand.
    #[must_use]
    pub fn says(path: &str, body: &[u8]) -> Option<Said> {
        service::says(path, body)
    }

    /// Output tokens in the whole events of as much of a stream as a client got: there is one in each that has text.
    #[must_use]
    pub fn tokens_in(stream: &[u8]) -> u64 {
        super::wire::tokens_in(stream)
    }
}

impl MockHandle {
    /// The base URL for `OpenAI` SDKs and for an upstream of Tollgate.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Every answer so far, oldest first; the last million.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        self.book.served()
    }

    /// The answers from the `first`th ever on, and how many were ever begun: the next `first`.
    #[must_use]
    pub fn served_from(&self, first: u64) -> (Vec<Served>, u64) {
        self.book.served_from(first)
    }

    /// Sums of the answers with status below 400, by the model that they name.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, Totals> {
        self.book.totals()
    }

    /// Breaks all connections off and frees the port.
    pub fn stop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // a panic on that thread was already printed by it
            let _ = thread.join();
        }
    }
}

impl Drop for MockHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn accept(listener: tokio::net::TcpListener, service: Arc<Service>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&service), stop.clone()));
            }
            // out of descriptors: let some connections end
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    service.sockets.close();
    service.sockets.wait().await;
}

async fn connection(stream: TcpStream, service: Arc<Service>, stop: CancellationToken) {
    let reset = Arc::new(AtomicBool::new(false));
    // a socket that refuses the option is already broken and says so on the first read
    let _ = stream.set_nodelay(true);
    let wire = TokioIo::new(Wire { stream, reset: Arc::clone(&reset) });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http2().max_concurrent_streams(MAX_STREAMS);
    let serve = server.serve_connection_with_upgrades(
        wire,
        service_fn(move |request| Arc::clone(&service).call(request, Arc::clone(&reset))),
    );
    tokio::select! {
        () = stop.cancelled() => {}
        // clients that go away and answers that are cut end here with an error, as they should
        _ = serve => {}
    }
}

/// A socket that ends with a TCP reset when told to.
struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Wire {
    fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.is_reset() {
            // lingering for no time at all makes the kernel send RST in place of FIN
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_reset() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }
}

/// Far above what a gateway's pool opens on one connection.
const MAX_STREAMS: u32 = 10_000;
