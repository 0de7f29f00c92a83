//! Many clients at once, each with its own connection, until the plan is through or somebody says stop.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::ask::Ask;
use super::client::{Leave, Wire};
use super::door::{Caller, Door};
use super::judge::case::Case;

/// What one client does next.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) ask: Ask,
    pub(super) leave: Leave,
    /// How long to wait before asking.
    pub(super) wait: Duration,
}

impl From<Ask> for Planned {
    fn from(ask: Ask) -> Self {
        Self { ask, leave: Leave::Never, wait: Duration::ZERO }
    }
}

/// Clients of one gateway.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    door: Door,
    callers: Arc<[Caller]>,
    at_once: u64,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

impl Crowd {
    /// `at_once` clients of the gateway behind `door`.
    pub(super) fn new(door: Door, callers: &[Caller], at_once: u64) -> Self {
        let (stop, answered) = (Arc::default(), Arc::default());
        Self { door, callers: callers.into(), at_once, stop, answered }
    }

    /// Nobody asks anything new from here on.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// How many answers have come to their end.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Asks everything in `plan`.
    pub(super) async fn ask_these(&self, plan: Vec<Planned>) -> Vec<Case> {
        self.ask_all(move |number| usize::try_from(number).ok().and_then(|at| plan.get(at).cloned())).await
    }

    /// The same clients, who come by another address.
    pub(super) fn by_way_of(mut self, address: SocketAddr) -> Self {
        self.door = self.door.behind(address);
        self
    }

    /// Asks `plan(0)`, `plan(1)`, ... until there is none, and yields every case, in no order.
    pub(super) async fn ask_all(
        &self,
        plan: impl Fn(u64) -> Option<Planned> + Send + Sync + 'static,
    ) -> Vec<Case> {
        let (plan, next) = (Arc::new(plan), Arc::new(AtomicU64::new(0)));
        let cases: Arc<Mutex<Vec<Case>>> = Arc::default();
        let mut clients = JoinSet::new();
        for _ in 0..self.at_once {
            let (crowd, cases) = (self.clone(), Arc::clone(&cases));
            let (plan, next) = (Arc::clone(&plan), Arc::clone(&next));
            clients.spawn(async move {
                let mut wire = Wire::default();
                while !crowd.stop.load(Ordering::Acquire) {
                    let Some(planned) = plan(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let case = crowd.one(&mut wire, planned).await;
                    cases.lock().unwrap_or_else(PoisonError::into_inner).push(case);
                    crowd.answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while clients.join_next().await.is_some() {}
        std::mem::take(&mut *cases.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn one(&self, wire: &mut Wire, planned: Planned) -> Case {
        let Planned { ask, leave, wait } = planned;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let caller = &self.callers[ask.caller % self.callers.len()];
        let seen = wire.ask(&self.door, caller, &ask, leave).await;
        Case::of(ask, leave, &seen)
    }
}
