//! One HTTP/1.1 connection to an upstream, driven by whoever asks on it: no task of its own, so no chunk is
//! handed from one task to another.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::task::coop::unconstrained;
use tokio::time::{Duration, Instant};

use super::body::OutBody;
use super::connect::Stream;
use super::fault::{SendFault, name_fault};
use super::marked::Mark;
use super::origin::Origin;
use super::wait::{Wait, head_of};

/// A connection and the right to ask on it.
pub(super) struct Line {
    sender: http1::SendRequest<OutBody>,
    /// `None` once it has ended.
    connection: Option<Driving>,
    mark: Mark,
    /// Interim answers to the present request.
    hints: Arc<AtomicU32>,
    pub(super) idle_since: Instant,
    pub(super) origin: Arc<Origin>,
}

/// What must be polled for anything to move.
#[expect(clippy::large_enum_variant, reason = "nearly all are plain, and each is in the box of its line")]
enum Driving {
    /// Ends with its connection.
    Plain(http1::Connection<Stream, OutBody>),
    /// Ends when the connection has ended or become something else.
    Upgradeable(Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>),
}

/// Why there is no answer.
#[expect(clippy::large_enum_variant, reason = "it is handed on once, and rarely")]
pub(super) enum Unanswered {
    /// Not one byte of the request was sent: it can be sent elsewhere.
    Unsent(Request<OutBody>),
    Failed(SendFault),
}

impl From<SendFault> for Unanswered {
    fn from(fault: SendFault) -> Self {
        Self::Failed(fault)
    }
}

impl From<TrySendError<Request<OutBody>>> for Unanswered {
    fn from(mut fault: TrySendError<Request<OutBody>>) -> Self {
        match fault.take_message() {
            Some(request) => Self::Unsent(request),
            None => Self::Failed(name_fault(&fault.into_error(), SendFault::Reset)),
        }
    }
}

impl Line {
    pub(super) fn new(
        sender: http1::SendRequest<OutBody>,
        connection: http1::Connection<Stream, OutBody>,
        mark: Mark,
        origin: Arc<Origin>,
    ) -> Self {
        Self {
            sender,
            connection: Some(Driving::Plain(connection)),
            mark,
            hints: Arc::default(),
            idle_since: Instant::now(),
            origin,
        }
    }

    /// The same, and may become a WebSocket.
    pub(super) fn upgradeable(mut self: Box<Self>) -> Box<Self> {
        self.connection = self.connection.map(|driving| match driving {
            Driving::Plain(connection) => Driving::Upgradeable(Box::pin(connection.with_upgrades())),
            Driving::Upgradeable(_) => driving,
        });
        self
    }

    /// Sends `request` and waits for its answer's head.
    pub(super) async fn ask(
        &mut self,
        mut request: Request<OutBody>,
        wait: &mut Wait,
    ) -> Result<Response<Incoming>, Unanswered> {
        let began = Instant::now();
        prepare(&mut request, &self.origin);
        self.count_hints(&mut request);
        let mut answering = pin!(unconstrained(self.sender.try_send_request(request)));
        let answered = poll_fn(|cx| {
            // what is moved without a waker wakes nobody when it is taken or dropped; only if there is nothing
            // to take, the connection is told whom to wake
            for cx in [&mut Context::from_waker(Waker::noop()), cx] {
                self.drive(cx);
                if self.hints.load(Ordering::Relaxed) > MOST_HINTS {
                    return Poll::Ready(Err(SendFault::InvalidResponse.into()));
                }
                match answering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(answered) => return Poll::Ready(answered.map_err(Unanswered::from)),
                    Poll::Pending if self.connection.is_none() => {
                        return Poll::Ready(Err(SendFault::Reset.into()));
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        });
        let answered = head_of(answered, wait).await.unwrap_or(Err(SendFault::FirstByteTimeout.into()));
        match answered {
            Ok(response) => {
                self.mark.note_answer();
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    head_of(poll_fn(|cx| self.poll_end(cx)), wait).await;
                }
                Ok(response)
            }
            Err(Unanswered::Failed(SendFault::Reset))
                if self.mark.was_stale() && began.elapsed() < AT_ONCE =>
            {
                Err(SendFault::Stale.into())
            }
            Err(otherwise) => Err(otherwise),
        }
    }

    /// The next frame of the answer's body. The connection is first driven without a waker, so that taking
    /// what it has read wakes nobody; only if it has nothing it is told whom to wake.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut quiet = Context::from_waker(Waker::noop());
        self.drive(&mut quiet);
        if let Poll::Ready(next) = Pin::new(&mut *body).poll_frame(&mut quiet) {
            return Poll::Ready(next);
        }
        self.drive(cx);
        Pin::new(body).poll_frame(&mut quiet)
    }

    /// Whether it has nothing under way and is well. Whoever is behind `cx` is woken when that ends.
    pub(super) fn is_idle(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        self.connection.is_some() && self.sender.is_ready()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.connection.is_none()
    }

    /// Sends what is left of a request whose answer has come before its end.
    pub(super) async fn finish(mut self: Box<Self>) {
        poll_fn(|cx| if self.is_idle(cx) || self.has_ended() { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// Does what can be done at once.
    fn drive(&mut self, cx: &mut Context<'_>) {
        let _ = self.poll_end(cx);
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = match &mut self.connection {
            None => return Poll::Ready(()),
            Some(Driving::Plain(connection)) => Pin::new(connection).poll(cx),
            Some(Driving::Upgradeable(connection)) => connection.as_mut().poll(cx),
        };
        // a body that is under way learns of the end, and of its reason, when what feeds it is dropped
        let _ = ready!(polled);
        self.connection = None;
        Poll::Ready(())
    }

    /// Counts the interim answers (1xx) to `request`.
    fn count_hints(&mut self, request: &mut Request<OutBody>) {
        self.hints.store(0, Ordering::Relaxed);
        let hints = Arc::clone(&self.hints);
        hyper::ext::on_informational(request, move |_| {
            hints.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// FAULTS S13. Servers send a `100` and a few `103`.
const MOST_HINTS: u32 = 16;

/// The end of a stale connection is on its way when the request is: it is here within a round trip. One that
/// ends later may have ended under an upstream at work.
const AT_ONCE: Duration = Duration::from_secs(1);

/// As HTTP/1.1 writes it: the target alone, the host in a header.
fn prepare(request: &mut Request<OutBody>, origin: &Origin) {
    let target = request.uri_mut();
    *target = std::mem::take(target).into_parts().path_and_query.map_or_else(Uri::default, Uri::from);
    let headers: &mut HeaderMap = request.headers_mut();
    headers.entry(header::HOST).or_insert_with(|| origin.host.clone());
}
