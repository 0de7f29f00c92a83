//! Connects to an origin: name, TCP, TLS, and which HTTP is spoken there.

use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use tower::Service as _;

use super::body::OutBody;
use super::fault::{SendFault, name_fault};
use super::line::Line;
use super::marked::Marked;
use super::origin::Origin;
use crate::base::failpoint::Failpoint;

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

type Connector = HttpsConnector<HttpConnector>;
/// Bytes to and from an upstream.
pub(super) type Stream = TokioIo<Marked<TokioIo<<Connector as tower::Service<http::Uri>>::Response>>>;

/// Makes connections.
#[derive(Debug)]
pub(super) struct Connectors {
    /// Offers HTTP/2 where there is TLS.
    any: Connector,
    /// Speaks HTTP/1.1 only.
    http1: Connector,
}

/// A new connection.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, once per connection")]
pub(super) enum Connected {
    /// HTTP/1.1: one request at a time.
    Line(Box<Line>),
    /// HTTP/2: many at once, driven by `connection`.
    Shared {
        sender: http2::SendRequest<OutBody>,
        connection: http2::Connection<Stream, OutBody, TokioExecutor>,
    },
}

impl Connectors {
    pub(super) fn new(tls: &rustls::ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        // without it every small event of a stream waits 40 ms for an acknowledgement
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let https =
            || HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
        Self { any: https().enable_http2().wrap_connector(tcp.clone()), http1: https().wrap_connector(tcp) }
    }

    /// Connects to `origin`, which speaks HTTP/2 if it likes.
    pub(super) async fn connect(&self, origin: &Arc<Origin>) -> Result<Connected, SendFault> {
        let (stream, is_http2) = open(self.any.clone(), origin).await?;
        if !is_http2 {
            return Ok(Connected::Line(line(stream, origin).await?));
        }
        let shaken = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .keep_alive_interval(H2_PING_EVERY)
            .handshake(stream.0)
            .await;
        let (sender, connection) = shaken.map_err(|fault| name_fault(&fault, SendFault::Connect))?;
        Ok(Connected::Shared { sender, connection })
    }

    /// Connects to `origin` in HTTP/1.1.
    pub(super) async fn connect_http1(&self, origin: &Arc<Origin>) -> Result<Box<Line>, SendFault> {
        let (stream, _) = open(self.http1.clone(), origin).await?;
        line(stream, origin).await
    }
}

/// A stream and the memory of what passed on it.
type Opened = (Stream, super::marked::Mark);

/// Opens a stream; whether HTTP/2 was agreed on there.
async fn open(mut connector: Connector, origin: &Origin) -> Result<(Opened, bool), SendFault> {
    let connecting = timeout(origin.connect_timeout, connector.call(origin.uri()));
    let connected = connecting.await.map_err(|_| SendFault::ConnectTimeout)?;
    let stream = connected.map_err(|fault| name_fault(fault.as_ref(), SendFault::Connect))?;
    Failpoint::AfterConnect.reach();
    let is_http2 = stream.connected().is_negotiated_h2();
    let marked = Marked::new(TokioIo::new(stream));
    let mark = marked.mark();
    Ok(((TokioIo::new(marked), mark), is_http2))
}

async fn line((stream, mark): Opened, origin: &Arc<Origin>) -> Result<Box<Line>, SendFault> {
    let shaken = http1::Builder::new().max_buf_size(H1_BUFFER).handshake(stream).await;
    let (sender, connection) = shaken.map_err(|fault| name_fault(&fault, SendFault::Connect))?;
    Ok(Box::new(Line::new(sender, connection, mark, Arc::clone(origin))))
}

/// The largest head of an answer, and what is read at once: a piece that waits for its client holds all of it.
const H1_BUFFER: usize = 32 << 10;
/// What is read ahead of a client (FAULTS S9).
const H2_STREAM_WINDOW: u32 = 256 << 10;
/// Credit for 256 streams: those whose clients do not read must not hold up the others of their connection.
const H2_CONNECTION_WINDOW: u32 = 256 * H2_STREAM_WINDOW;
const H2_PING_EVERY: Duration = Duration::from_secs(30);
