//! Sends a request to an upstream and names what went wrong. Knows nothing of money or dialects.

use std::error::Error as _;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tower::Service;

use super::body::{OutBody, Progress};
use super::endpoint::Upstream;
use super::marked::{Mark, Marked};
use crate::base::failpoint::Failpoint;

/// Pooled connections to upstreams. One per worker: a pool belongs to the runtime that uses it.
#[derive(Debug)]
pub struct Client {
    tls: Arc<rustls::ClientConfig>,
    /// One pool per connect timeout and freshness: few, so a list that is searched.
    pools: Mutex<Vec<(Duration, Freshness, Pool)>>,
}

/// On which connection a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// One that is idle, if there is one.
    Any,
    /// One that nobody has used and nobody will use again: for a request that met a stale one.
    New,
    /// A new one that becomes a WebSocket: only HTTP/1.1 can.
    Upgrade,
}

type Connector = HttpsConnector<HttpConnector>;
type Stream = TokioIo<Marked<TokioIo<<Connector as Service<Uri>>::Response>>>;
type Pool = legacy::Client<Timed, OutBody>;

/// A connector with a limit on connecting, TLS included.
#[derive(Debug, Clone)]
struct Timed {
    connector: Connector,
    limit: Duration,
}

impl Service<Uri> for Timed {
    type Response = Stream;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, place: Uri) -> Self::Future {
        let connecting = self.connector.call(place);
        let limit = self.limit;
        Box::pin(async move {
            let connected = timeout(limit, connecting).await??;
            Failpoint::AfterConnect.reach();
            Ok(TokioIo::new(Marked::new(TokioIo::new(connected))))
        })
    }
}

/// Why no answer came. The words are `error.type` on the attempt's span (TELEMETRY 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SendFault {
    /// The host's name has no address.
    #[error("dns_error")]
    Dns,
    /// Nobody listens there.
    #[error("connection_refused")]
    Refused,
    /// Connecting took longer than `connect_timeout`.
    #[error("connect_timeout")]
    ConnectTimeout,
    /// The TLS handshake failed, or the certificate does not fit.
    #[error("tls_error")]
    Tls,
    /// Connecting failed otherwise.
    #[error("connect_error")]
    Connect,
    /// The connection ended before the answer's head.
    #[error("connection_reset")]
    Reset,
    /// A pooled connection had ended when the request was sent on it: not one byte of an answer came.
    #[error("stale_connection")]
    Stale,
    /// The answer's head took longer than `first_byte_timeout`.
    #[error("first_byte_timeout")]
    FirstByteTimeout,
    /// The answer is not HTTP.
    #[error("invalid_response")]
    InvalidResponse,
    /// The path cannot be asked of this upstream.
    #[error("unaddressable")]
    Unaddressable,
    /// The client's own body broke off while it was streamed through.
    #[error("request_body_broken")]
    RequestBody,
}

impl SendFault {
    /// Whether the upstream surely did not begin to work on the request.
    #[must_use]
    pub const fn is_connect(self) -> bool {
        match self {
            Self::Dns | Self::Refused | Self::ConnectTimeout | Self::Tls | Self::Connect => true,
            Self::Reset
            | Self::Stale
            | Self::FirstByteTimeout
            | Self::InvalidResponse
            | Self::Unaddressable
            | Self::RequestBody => false,
        }
    }

    /// Whether the whole request may have reached the upstream, which may have worked on it and bill it.
    #[must_use]
    pub const fn may_have_worked(self) -> bool {
        matches!(self, Self::Reset | Self::FirstByteTimeout | Self::InvalidResponse)
    }

    /// Whether it was time that ran out.
    #[must_use]
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::FirstByteTimeout)
    }
}

/// TLS to upstreams could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("no usable TLS for upstreams: {0}")]
pub struct TlsFault(String);

/// The trust anchors of the system (or of `SSL_CERT_FILE`), loaded once and shared by all workers.
///
/// # Errors
/// When no protocol version can be offered.
pub fn tls_config() -> Result<Arc<rustls::ClientConfig>, TlsFault> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for fault in &found.errors {
        tracing::warn!(%fault, "a system trust anchor could not be read");
    }
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|fault| TlsFault(fault.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Client {
    /// A client with no connections yet.
    #[must_use]
    pub fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self { tls, pools: Mutex::default() }
    }

    /// Sends `request` (its URI absolute) and waits for the answer's head. The limit on that runs from the last
    /// piece of the body that went, where there is word of its progress.
    ///
    /// # Errors
    /// When no answer came; see [`SendFault`].
    pub async fn send(
        &self,
        upstream: &Upstream,
        mut request: Request<OutBody>,
        freshness: Freshness,
        progress: Option<Progress>,
    ) -> Result<Response<Incoming>, SendFault> {
        let began = Instant::now();
        let too_many_hints = count_hints(&mut request);
        let answer = self.pool(upstream.connect_timeout, freshness).request(request);
        let answered = tokio::select! {
            biased;
            () = too_many_hints.notified() => return Err(SendFault::InvalidResponse),
            answered = head_of(answer, progress, upstream.first_byte_timeout) => answered,
        };
        match answered {
            Some(Ok(response)) => {
                if let Some(mark) = response.extensions().get::<Mark>() {
                    mark.note_answer();
                }
                Ok(response)
            }
            Some(Err(fault)) => match name_fault(&fault) {
                SendFault::Reset if was_stale(&fault) && began.elapsed() < AT_ONCE => Err(SendFault::Stale),
                named => Err(named),
            },
            None => Err(SendFault::FirstByteTimeout),
        }
    }

    fn pool(&self, connect_timeout: Duration, freshness: Freshness) -> Pool {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |pool: &&(Duration, Freshness, Pool)| (pool.0, pool.1) == (connect_timeout, freshness);
        if let Some((_, _, pool)) = pools.iter().find(fits) {
            return pool.clone();
        }
        let pool = build_pool(self.tls.as_ref().clone(), connect_timeout, freshness);
        pools.push((connect_timeout, freshness, pool.clone()));
        pool
    }
}

/// The head of an answer; `None` if nothing moved for as long as `limit`.
async fn head_of(
    mut answer: legacy::ResponseFuture,
    mut progress: Option<Progress>,
    limit: Duration,
) -> Option<Result<Response<Incoming>, legacy::Error>> {
    loop {
        let moved = async {
            match &mut progress {
                Some(progress) => progress.changed().await.is_ok(),
                None => pending().await,
            }
        };
        let next = async {
            tokio::select! {
                biased;
                answered = &mut answer => Next::Answered(answered),
                is_under_way = moved => Next::Moved { is_under_way },
            }
        };
        match timeout(limit, next).await.ok()? {
            Next::Answered(answered) => return Some(answered),
            Next::Moved { is_under_way: true } => {}
            Next::Moved { is_under_way: false } => progress = None,
        }
    }
}

/// What a request under way comes to next.
enum Next {
    Answered(Result<Response<Incoming>, legacy::Error>),
    /// A piece of its body was taken, or the last.
    Moved {
        is_under_way: bool,
    },
}

/// Tells when more interim answers (1xx) have come than any server has a use for.
fn count_hints(request: &mut Request<OutBody>) -> Arc<Notify> {
    let (count, too_many) = (AtomicU32::new(0), Arc::new(Notify::new()));
    let told = Arc::clone(&too_many);
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == MOST_HINTS {
            told.notify_one();
        }
    });
    too_many
}

/// FAULTS S13. Servers send a `100` and a few `103`.
const MOST_HINTS: u32 = 16;

/// Whether a request failed because its connection had ended before, as far as the connection knows.
fn was_stale(fault: &legacy::Error) -> bool {
    let mut known = http::Extensions::new();
    if let Some(connected) = fault.connect_info().filter(|connected| !connected.is_negotiated_h2()) {
        connected.get_extras(&mut known);
    }
    known.get::<Mark>().is_some_and(Mark::was_stale)
}

/// The end of a stale connection is on its way when the request is: it is here within a round trip. One that
/// ends later may have ended under an upstream at work.
const AT_ONCE: Duration = Duration::from_secs(1);

fn build_pool(tls: rustls::ClientConfig, connect_timeout: Duration, freshness: Freshness) -> Pool {
    let max_idle = match freshness {
        Freshness::Any => POOL_MAX_IDLE_PER_HOST,
        Freshness::New | Freshness::Upgrade => 0,
    };
    let mut tcp = HttpConnector::new();
    // without it every small event of a stream waits 40 ms for an acknowledgement
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let https = match freshness {
        Freshness::Upgrade => https.wrap_connector(tcp),
        Freshness::Any | Freshness::New => https.enable_http2().wrap_connector(tcp),
    };
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(max_idle)
        .http1_max_buf_size(H1_BUFFER)
        .http2_initial_stream_window_size(H2_STREAM_WINDOW)
        .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
        .http2_keep_alive_interval(H2_PING_EVERY)
        .build(Timed { connector: https, limit: connect_timeout })
}

/// Below the 75 s of nginx and most load balancers; a connection is dropped by us, not under us.
const POOL_IDLE: Duration = Duration::from_secs(50);
/// A pool smaller than the number of clients doubles the CPU per request (CRATES.md).
const POOL_MAX_IDLE_PER_HOST: usize = 1_024;
/// The largest head of an answer, and what is read at once: a piece that waits for its client holds all of it.
const H1_BUFFER: usize = 32 << 10;
/// What is read ahead of a client (FAULTS S9).
const H2_STREAM_WINDOW: u32 = 256 << 10;
/// Credit for 256 streams: those whose clients do not read must not hold up the others of their connection.
const H2_CONNECTION_WINDOW: u32 = 256 * H2_STREAM_WINDOW;
const H2_PING_EVERY: Duration = Duration::from_secs(30);

fn name_fault(fault: &legacy::Error) -> SendFault {
    let mut cause = fault.source();
    let mut named = if fault.is_connect() { SendFault::Connect } else { SendFault::Reset };
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            named = name_io(io, named);
        } else if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            named = name_hyper(hyper, named);
        } else if error.downcast_ref::<Elapsed>().is_some() {
            return SendFault::ConnectTimeout;
        } else if error.downcast_ref::<rustls::Error>().is_some() {
            return SendFault::Tls;
        } else if error.to_string().contains("dns error") {
            return SendFault::Dns;
        }
        cause = error.source();
    }
    named
}

fn name_io(io: &io::Error, otherwise: SendFault) -> SendFault {
    match io.kind() {
        io::ErrorKind::ConnectionRefused => SendFault::Refused,
        io::ErrorKind::TimedOut if otherwise.is_connect() => SendFault::ConnectTimeout,
        // rustls hands its own errors through io::Error
        io::ErrorKind::InvalidData if otherwise.is_connect() => SendFault::Tls,
        // what an io::Error wraps is not among its sources
        _ => match io.get_ref().map(|inner| (inner.downcast_ref::<io::Error>(), inner.is::<rustls::Error>()))
        {
            Some((Some(inner), _)) => name_io(inner, otherwise),
            Some((None, true)) => SendFault::Tls,
            Some((None, false)) | None => otherwise,
        },
    }
}

fn name_hyper(fault: &hyper::Error, otherwise: SendFault) -> SendFault {
    if fault.is_parse() {
        SendFault::InvalidResponse
    } else if fault.is_user() {
        SendFault::RequestBody
    } else {
        otherwise
    }
}
