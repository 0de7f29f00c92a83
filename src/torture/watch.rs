//! Looks at the gateway again and again while a scenario runs: its health, its budgets. On threads of their
//! own, so that a busy crowd of clients does not blind them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

/// A running watch; what it found is had by ending it.
#[derive(Debug)]
pub(super) struct Watch<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<T>>,
}

/// What the health probe saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Health {
    pub(super) looks: u64,
    pub(super) missed: u64,
    /// Two in a row.
    pub(super) missed_twice: u64,
}

/// What the budget sampler saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    pub(super) looks: u64,
    /// The most that one budget had spent and reserved, in per mille of its limit.
    pub(super) highest_per_mille: i64,
    /// Budgets that were over their limit, as shown.
    pub(super) over: Vec<String>,
}

impl<T: Default + Send + 'static> Watch<T> {
    /// Calls `look` every `period` until it is ended.
    pub(super) fn start(period: Duration, mut look: impl FnMut(&mut T) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("watch".into()).spawn(move || {
            let mut found = T::default();
            while !stopped.load(Ordering::Acquire) {
                look(&mut found);
                thread::park_timeout(period);
            }
            found
        });
        Self { stop, thread: thread.ok() }
    }

    /// Ends it and yields what it found.
    pub(super) fn end(mut self) -> T {
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return T::default() };
        thread.thread().unpark();
        thread.join().unwrap_or_default()
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Asks once a second whether the gateway lives: `/healthz` of ours, any answer at all of another.
pub(super) fn health(address: SocketAddr, path: &'static str) -> Watch<Health> {
    let mut missed_before = false;
    Watch::start(Duration::from_secs(1), move |found: &mut Health| {
        let missed = get(address, path).is_none();
        found.looks += 1;
        found.missed += u64::from(missed);
        found.missed_twice += u64::from(missed && missed_before);
        missed_before = missed;
    })
}

/// Looks at all budgets as fast as they can be had.
pub(super) fn budgets(admin: SocketAddr) -> Watch<Samples> {
    Watch::start(Duration::from_millis(1), move |found: &mut Samples| {
        let Some(shown) = get(admin, "/api/v1/budgets").and_then(|body| serde_json::from_str(&body).ok())
        else {
            return;
        };
        found.looks += 1;
        for budget in rows(&shown) {
            let figure = |name: &str| budget[name].as_i64().unwrap_or(0);
            let (held, limit) = (figure("spent") + figure("reserved"), figure("limit"));
            found.highest_per_mille = found.highest_per_mille.max(held.saturating_mul(1000) / limit.max(1));
            if held > limit && found.over.len() < 5 {
                found.over.push(budget.to_string());
            }
        }
    })
}

/// The budgets of an answer of `/api/v1/budgets`.
pub(super) fn rows(shown: &Value) -> impl Iterator<Item = &Value> {
    shown["budgets"].as_array().into_iter().flatten()
}

/// The body of an answer below 500, or nothing within a while.
pub(super) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    (&stream).take(MAX_ANSWER).read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    (status < 500).then(|| body.to_owned())
}

const LIMIT: Duration = Duration::from_secs(2);
const MAX_ANSWER: u64 = 4 << 20;
