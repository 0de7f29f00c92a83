//! A client that leaves before its answer: where the upstream's `on_disconnect` asks for it, the rest of the
//! request goes on without the client, bounded in number and time, and a stopping process waits for it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::body::Outgoing;
use super::policy::Door;

/// Requests that go on without their clients.
#[derive(Debug)]
pub struct Drains {
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// At once, in the process: each holds an upstream's connection and its reservation for a client that is
/// gone. A thousand is more than ever leave at once but in an attack.
const MOST_DRAINS: usize = 1_000;
/// Long enough for the rest of most answers; who leaves early should not hold money for longer.
pub(super) const DRAIN_AT_MOST: Duration = Duration::from_secs(60);

/// A place among the requests that go on.
pub(super) struct DrainPlace<'a> {
    permit: OwnedSemaphorePermit,
    runtime: Handle,
    tasks: &'a TaskTracker,
}

impl Default for Drains {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MOST_DRAINS)), tasks: TaskTracker::new() }
    }
}

impl Drains {
    /// A place, if there is one left and a runtime to go on in.
    pub(super) fn place(&self) -> Option<DrainPlace<'_>> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let runtime = Handle::try_current().ok()?;
        Some(DrainPlace { permit, runtime, tasks: &self.tasks })
    }

    /// Waits until none is under way; what the runtime ends before has its books closed by its drop.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl DrainPlace<'_> {
    /// Runs `rest` to its end, or drops it when its time is over.
    pub(super) fn go_on(self, rest: impl Future<Output = ()> + Send + 'static) {
        self.go_on_for(DRAIN_AT_MOST, rest);
    }

    /// The same with a time of its own.
    pub(super) fn go_on_for(self, limit: Duration, rest: impl Future<Output = ()> + Send + 'static) {
        let permit = self.permit;
        let bounded = async move {
            let _ = timeout(limit, rest).await;
            drop(permit);
        };
        self.tasks.spawn_on(bounded, &self.runtime);
    }
}

/// What the client's side and the request's side of one request tell each other.
#[derive(Debug, Default)]
pub(super) struct Leaving(AtomicU8);

/// The client is there, and the request ends when it leaves.
const ENDS: u8 = 0;
/// The client is there; an upstream was asked that is to be read on.
const WOULD_GO_ON: u8 = 1;
/// The client is gone and the request goes on.
const GOES_ON: u8 = 2;

impl Leaving {
    /// Notes whether the upstream that is now asked is read on without a client.
    pub(super) fn note_asked(&self, is_drained: bool) {
        let (other, now) = if is_drained { (ENDS, WOULD_GO_ON) } else { (WOULD_GO_ON, ENDS) };
        // once the client is gone, it stays gone
        let _ = self.0.compare_exchange(other, now, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether the request goes on without its client.
    pub(super) fn goes_on(&self) -> bool {
        self.0.load(Ordering::Acquire) == GOES_ON
    }

    fn would_go_on(&self) -> bool {
        self.0.load(Ordering::Acquire) == WOULD_GO_ON
    }
}

/// One request being served, until its answer's head is there.
pub struct Serving {
    /// `None` while it is polled, so that a panic cannot bring it back, and at its end.
    rest: Option<Rest>,
    leaving: Arc<Leaving>,
    door: Arc<Door>,
}

type Rest = Pin<Box<dyn Future<Output = Response<Outgoing>> + Send>>;

impl Serving {
    pub(super) fn of(
        door: Arc<Door>,
        leaving: Arc<Leaving>,
        rest: impl Future<Output = Response<Outgoing>> + Send + 'static,
    ) -> Self {
        Self { rest: Some(Box::pin(rest)), leaving, door }
    }
}

impl Future for Serving {
    type Output = Response<Outgoing>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut rest = self.rest.take().expect("nothing is polled after its end");
        let polled = rest.as_mut().poll(cx);
        if polled.is_pending() {
            self.rest = Some(rest);
        }
        polled
    }
}

impl Drop for Serving {
    /// The client is gone, and its answer is not there yet.
    fn drop(&mut self) {
        let Some(rest) = self.rest.take().filter(|_| self.leaving.would_go_on()) else { return };
        let Some(place) = self.door.drains.place() else { return };
        self.leaving.0.store(GOES_ON, Ordering::Release);
        place.go_on(async move { rest.await.into_body().read_on().await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_on_only_behind_an_upstream_that_is_drained() {
        let leaving = Leaving::default();
        assert!(!leaving.would_go_on());
        leaving.note_asked(true);
        assert!(leaving.would_go_on() && !leaving.goes_on());
        leaving.note_asked(false);
        assert!(!leaving.would_go_on());
    }

    #[test]
    fn a_client_that_is_gone_stays_gone() {
        let leaving = Leaving::default();
        leaving.note_asked(true);
        leaving.0.store(GOES_ON, Ordering::Release);
        leaving.note_asked(false);
        assert!(leaving.goes_on());
    }

    #[tokio::test]
    async fn there_are_a_thousand_places_and_they_come_back() {
        let drains = Drains::default();
        let held: Vec<_> = (0..MOST_DRAINS).map(|_| drains.place().unwrap()).collect();
        assert!(drains.place().is_none());
        for place in held {
            place.go_on(async {});
        }
        drains.finish().await;
        assert!(drains.place().is_some());
    }

    #[tokio::test]
    async fn what_does_not_end_is_dropped_when_its_time_is_over() {
        let drains = Drains::default();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        drains.place().unwrap().go_on_for(Duration::ZERO, async move {
            let _held = held;
            std::future::pending().await
        });
        drains.finish().await;
        assert!(dropped.await.is_err());
    }
}
