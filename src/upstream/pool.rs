//! Connections that wait for their next request, by origin: those of HTTP/1.1 that are idle, and the shared one
//! of HTTP/2. A pool belongs to one worker.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::body::OutBody;
use super::line::Line;
use super::origin::Origin;

/// Whose turn it is to connect.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// The idle connections of a worker.
pub(super) struct Pool {
    /// Per origin.
    most_idle: usize,
    places: Mutex<Places>,
    bell: Arc<Bell>,
    /// Who sweeps, and who drives connections that several requests share.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Places {
    list: Vec<Place>,
    is_swept: bool,
}

/// What there is at one origin.
struct Place {
    origin: Arc<Origin>,
    /// The last one back is the first to go.
    idle: VecDeque<Box<Line>>,
    shared: Option<Shared>,
    /// Held while a connection is made to an origin that speaks HTTP/2: one is enough.
    connecting: Option<Turn>,
}

/// A connection for many requests at once.
struct Shared {
    sender: http2::SendRequest<OutBody>,
    used: Instant,
}

/// What waits at an origin.
pub(super) enum Waiting {
    Line(Box<Line>),
    Shared(http2::SendRequest<OutBody>),
    /// Nothing; who connects holds the turn, if there is one.
    Nothing(Option<Turn>),
}

impl Pool {
    pub(super) fn keeping(most_idle: usize) -> Arc<Self> {
        Arc::new(Self { most_idle, places: Mutex::default(), bell: Arc::default(), tasks: Mutex::default() })
    }

    /// A connection to `origin` that is well, as far as one can tell.
    pub(super) fn take(&self, origin: &Arc<Origin>) -> Waiting {
        loop {
            let mut line = match self.find(origin) {
                Waiting::Line(line) => line,
                other => return other,
            };
            // the waker of its idle time must not be woken by what now follows
            let mut quiet = Context::from_waker(Waker::noop());
            if line.is_idle(&mut quiet) {
                return Waiting::Line(line);
            }
        }
    }

    fn find(&self, origin: &Arc<Origin>) -> Waiting {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = places.find(origin) else { return Waiting::Nothing(None) };
        if let Some(shared) = place.shared.as_mut().filter(|shared| !shared.sender.is_closed()) {
            shared.used = Instant::now();
            return Waiting::Shared(shared.sender.clone());
        }
        place.shared = None;
        match place.idle.pop_back() {
            Some(line) => Waiting::Line(line),
            None => Waiting::Nothing(place.connecting.clone()),
        }
    }

    /// Takes back a connection whose answer has come to its end, if another request may use it and can. What
    /// still goes up on it comes to its own end.
    pub(super) fn take_back(self: &Arc<Self>, mut line: Box<Line>, is_kept: bool) {
        let is_idle = line.is_idle(&mut Context::from_waker(&Waker::from(Arc::clone(&self.bell))));
        if !is_idle && !line.has_ended() {
            return self.drive(async move { line.finish().await });
        }
        if !(is_idle && is_kept) {
            return;
        }
        line.idle_since = Instant::now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.find_or_add(&line.origin);
        if place.idle.len() >= self.most_idle {
            place.idle.pop_front();
        }
        place.idle.push_back(line);
        self.be_swept(&mut places);
    }

    /// Shares a new connection, which `connection` drives, unless another came first.
    pub(super) fn share(
        self: &Arc<Self>,
        origin: &Arc<Origin>,
        sender: http2::SendRequest<OutBody>,
    ) -> http2::SendRequest<OutBody> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.find_or_add(origin);
        place.connecting.get_or_insert_default();
        let used = Instant::now();
        let sender = match place.shared.take().filter(|shared| !shared.sender.is_closed()) {
            Some(first) => first.sender,
            None => sender,
        };
        place.shared = Some(Shared { sender: sender.clone(), used });
        self.be_swept(&mut places);
        sender
    }

    /// At `origin` each request needs a connection of its own, which nobody has to wait for.
    pub(super) fn end_turns(&self, origin: &Arc<Origin>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.find(origin) {
            place.connecting = None;
        }
    }

    /// Runs what drives a connection.
    pub(super) fn drive(&self, driving: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(driving);
    }

    /// Sees to it that somebody looks after what is idle.
    fn be_swept(self: &Arc<Self>, places: &mut Places) {
        if !places.is_swept {
            places.is_swept = true;
            self.drive(sweep(Arc::downgrade(self), Arc::clone(&self.bell)));
        }
    }

    /// Lets go what has ended, what has said something unasked, and what nobody has used for too long.
    fn sweep(&self, now: Instant) -> Swept {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut cx = Context::from_waker(&waker);
        let is_fresh = |since: Instant| now.saturating_duration_since(since) < IDLE;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.list.retain_mut(|place| {
            place.idle.retain_mut(|line| is_fresh(line.idle_since) && line.is_idle(&mut cx));
            place.shared.take_if(|shared| shared.sender.is_closed() || !is_fresh(shared.used));
            !place.idle.is_empty() || place.shared.is_some()
        });
        places.is_swept = !places.list.is_empty();
        if places.is_swept { Swept::SomeLeft } else { Swept::NothingLeft }
    }

    #[cfg(test)]
    fn idle(&self) -> usize {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.list.iter().map(|place| place.idle.len()).sum()
    }
}

enum Swept {
    SomeLeft,
    NothingLeft,
}

impl Places {
    fn find(&mut self, origin: &Arc<Origin>) -> Option<&mut Place> {
        self.list.iter_mut().find(|place| place.origin == *origin)
    }

    fn find_or_add(&mut self, origin: &Arc<Origin>) -> &mut Place {
        let at = self.list.iter().position(|place| place.origin == *origin).unwrap_or_else(|| {
            let origin = Arc::clone(origin);
            self.list.push(Place { origin, idle: VecDeque::new(), shared: None, connecting: None });
            self.list.len() - 1
        });
        &mut self.list[at]
    }
}

/// Sweeps when an idle connection has something to say, and now and then, until nothing is idle.
async fn sweep(pool: Weak<Pool>, bell: Arc<Bell>) {
    loop {
        let _ = timeout(SWEEP_EVERY, bell.rung.notified()).await;
        let Some(pool) = pool.upgrade() else { return };
        if let Swept::NothingLeft = pool.sweep(Instant::now()) {
            return;
        }
    }
}

/// Rung by idle connections: one for all, so that a connection that comes back needs no waker of its own.
#[derive(Debug, Default)]
struct Bell {
    rung: Notify,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.notify_one();
    }
}

/// Below the 75 s of nginx and most load balancers; a connection is dropped by us, not under us.
const IDLE: Duration = Duration::from_secs(50);
const SWEEP_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
