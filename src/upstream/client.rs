//! Sends a request to an upstream on a connection that fits. Knows nothing of money or dialects.

use std::fmt;
use std::sync::Arc;

use http::{Request, Response};
use hyper::client::conn::http2;
use tokio::time::timeout;

use super::answer::{Home, Incoming};
use super::body::{OutBody, Progress};
use super::connect::{Connected, Connectors};
use super::endpoint::Upstream;
use super::line::{Line, Unanswered};
use super::origin::Origin;
use super::pool::{Pool, Turn, Waiting};
use super::wait::{Wait, head_of};

pub use super::connect::{TlsFault, tls_config};
pub use super::fault::SendFault;

/// Connections to upstreams. One per worker: a pool belongs to the runtime that uses it.
pub struct Client {
    connectors: Connectors,
    pub(super) pool: Arc<Pool>,
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

/// A connection on which a request goes out.
enum Way {
    /// For this request alone, and then to where it belongs.
    Line(Box<Line>, Home),
    /// Beside others.
    Shared(http2::SendRequest<OutBody>),
}

/// Per origin. A pool smaller than the number of clients doubles the CPU per request (CRATES.md).
const MOST_IDLE: usize = 1_024;

impl Client {
    /// A client with no connections yet.
    #[must_use]
    pub fn new(tls: &rustls::ClientConfig) -> Self {
        Self { connectors: Connectors::new(tls), pool: Pool::keeping(MOST_IDLE) }
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
        let origin = &upstream.origin;
        // the parts are boxed: this future is part of each request's, which is moved about
        let mut wait = Wait { limit: upstream.first_byte_timeout, progress };
        loop {
            let (way, is_new) = match freshness {
                Freshness::Any => match self.pool.take(origin) {
                    Waiting::Line(line) => (self.pooled(line), false),
                    Waiting::Shared(sender) => (Way::Shared(sender), false),
                    Waiting::Nothing(turn) => Box::pin(self.connect(origin, turn)).await?,
                },
                Freshness::New => (Box::pin(self.alone(origin)).await?, true),
                Freshness::Upgrade => {
                    let line = Box::pin(self.connectors.connect_http1(origin)).await?;
                    (self.lone(line.upgradeable()), true)
                }
            };
            let answered = match way {
                Way::Line(line, home) => Box::pin(ask_on(line, home, request, &mut wait)).await,
                Way::Shared(sender) => Box::pin(ask_beside(sender, origin, request, &mut wait)).await,
            };
            request = match answered {
                Ok(answer) => return Ok(answer),
                // it ended between two polls; there are as many tries as there are pooled connections
                Err(Unanswered::Unsent(request)) if !is_new => request,
                Err(Unanswered::Unsent(_)) => return Err(SendFault::Reset),
                Err(Unanswered::Failed(fault)) => return Err(fault),
            };
        }
    }

    /// A new connection, which others may use after this request or beside it; or one that was made meanwhile. Who
    /// waits for another's connection waits no longer than connecting may take.
    async fn connect(&self, origin: &Arc<Origin>, turn: Option<Turn>) -> Result<(Way, bool), SendFault> {
        let Some(turn) = turn else { return self.connect_now(origin).await };
        let in_turn = async {
            let held = turn.lock().await;
            match self.pool.take(origin) {
                Waiting::Line(line) => Ok((self.pooled(line), false)),
                Waiting::Shared(sender) => Ok((Way::Shared(sender), false)),
                Waiting::Nothing(still) => {
                    let _held = still.map(|_| held);
                    self.connect_now(origin).await
                }
            }
        };
        timeout(origin.connect_timeout, in_turn).await.unwrap_or(Err(SendFault::ConnectTimeout))
    }

    async fn connect_now(&self, origin: &Arc<Origin>) -> Result<(Way, bool), SendFault> {
        match self.connectors.connect(origin).await? {
            Connected::Line(line) => {
                self.pool.end_turns(origin);
                Ok((self.pooled(line), true))
            }
            Connected::Shared { sender, connection } => {
                self.drive(connection);
                Ok((Way::Shared(self.pool.share(origin, sender)), true))
            }
        }
    }

    /// A new connection that nobody else will use.
    async fn alone(&self, origin: &Arc<Origin>) -> Result<Way, SendFault> {
        match self.connectors.connect(origin).await? {
            Connected::Line(line) => Ok(self.lone(line)),
            Connected::Shared { sender, connection } => {
                self.drive(connection);
                Ok(Way::Shared(sender))
            }
        }
    }

    fn pooled(&self, line: Box<Line>) -> Way {
        Way::Line(line, Home { pool: Arc::clone(&self.pool), is_kept: true })
    }

    fn lone(&self, line: Box<Line>) -> Way {
        Way::Line(line, Home { pool: Arc::clone(&self.pool), is_kept: false })
    }

    fn drive(&self, connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
        self.pool.drive(async {
            if let Err(fault) = connection.await {
                tracing::debug!(%fault, "a connection to an upstream has ended");
            }
        });
    }
}

/// Asks on a connection of its own.
async fn ask_on(
    mut line: Box<Line>,
    home: Home,
    request: Request<OutBody>,
    wait: &mut Wait,
) -> Result<Response<Incoming>, Unanswered> {
    let answer = line.ask(request, wait).await?;
    Ok(answer.map(|body| Incoming::on(line, body, home)))
}

/// Asks on a connection that others use, too.
async fn ask_beside(
    mut sender: http2::SendRequest<OutBody>,
    origin: &Origin,
    mut request: Request<OutBody>,
    wait: &mut Wait,
) -> Result<Response<Incoming>, Unanswered> {
    if let Some(target) = request.uri().path_and_query().filter(|_| request.uri().authority().is_none()) {
        *request.uri_mut() = origin.absolute(target.clone());
    }
    match head_of(sender.try_send_request(request), wait).await {
        Some(Ok(answer)) => Ok(answer.map(Incoming::driven)),
        Some(Err(fault)) => Err(fault.into()),
        None => Err(SendFault::FirstByteTimeout.into()),
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
