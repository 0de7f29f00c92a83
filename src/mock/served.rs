//! The mock's own book: what it served, written before the first byte and again at the end. Tests hold
//! the gateway's ledger against it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::json;

use crate::base::usage::Usage;

use super::log::{Log, Written};

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Still being sent.
    Open,
    /// All of it was handed to the connection.
    Clean,
    /// The client went away first.
    ClientGone,
    /// The mock broke it off, as the model name asked.
    Cut,
}

/// One answer of the mock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Served {
    /// The answer's `x-request-id`.
    pub id: String,
    /// Operation, as in Tollgate's ledger: `chat_completions`, `embeddings`; `echo` for unknown paths.
    pub operation: &'static str,
    /// Model that was asked for, with its knobs; empty without one.
    pub model: String,
    /// Model that the answer names; what tests bill.
    pub reported_model: String,
    /// SHA-256 of the request body, hexadecimal.
    pub body_sha256: String,
    /// What stands between `[[mark:` and `]]` in the request body; empty without it. Tells whose request this
    /// is, whatever a gateway does to its headers.
    pub mark: String,
    /// First 8 hex digits of the SHA-256 of the credential that came; empty without one.
    pub credential: String,
    /// Status of the answer.
    pub status: u16,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// What the answer used, all parts; totals include their parts.
    pub usage: Usage,
    /// Whether the answer mentions that usage, spelt right.
    pub usage_reported: bool,
    /// Visible output tokens handed to the connection so far.
    pub tokens_emitted: u64,
    /// Body bytes handed to the connection so far.
    pub bytes: u64,
    /// How it ended.
    pub end: End,
}

/// Sums over answers with status below 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Answers.
    pub requests: u64,
    /// Input tokens, cached ones included.
    pub input_tokens: u64,
    /// Cached input tokens.
    pub cached_input_tokens: u64,
    /// Output tokens, reasoning included.
    pub output_tokens: u64,
}

/// The book, shared by all connections.
#[derive(Debug)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    /// Number of the first entry still held.
    first: u64,
    held: VecDeque<Served>,
    log: Log,
}

/// An entry that is still open. Dropping it before it is closed says that the client went away.
#[derive(Debug)]
pub(super) struct Entry {
    book: Arc<Book>,
    number: u64,
    tokens: u64,
    bytes: u64,
    end: End,
}

impl Book {
    /// A book that also writes to `log`, if there is one; `synced` to the disk before each first byte.
    pub(super) fn open(log: Option<&Path>, synced: bool) -> io::Result<Self> {
        let log = Log::open(log, synced)?;
        Ok(Self { pages: Mutex::new(Pages { first: 0, held: VecDeque::new(), log }) })
    }

    /// Writes the first line of an answer; its `id` is given here. No byte may go out before [`Written`] ends.
    pub(super) fn begin(self: &Arc<Self>, mut served: Served) -> (String, Entry, Written) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let number = pages.first + pages.held.len() as u64;
        served.id = format!("req_mock_{number:08}");
        let written = pages.log.write(&json!({"event": "begin", "served": served}));
        let id = served.id.clone();
        pages.held.push_back(served);
        if pages.held.len() > MAX_HELD {
            pages.held.pop_front();
            pages.first += 1;
        }
        (id, Entry { book: Arc::clone(self), number, tokens: 0, bytes: 0, end: End::Open }, written)
    }

    /// All entries still held, oldest first.
    pub(super) fn served(&self) -> Vec<Served> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.held.iter().cloned().collect()
    }

    /// The entries from the `first`th ever on, as far as they are still held; and how many were ever begun.
    pub(super) fn served_from(&self, first: u64) -> (Vec<Served>, u64) {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(first.saturating_sub(pages.first)).unwrap_or(usize::MAX);
        let entries = pages.held.iter().skip(skip).cloned().collect();
        (entries, pages.first + pages.held.len() as u64)
    }

    /// Sums by reported model.
    pub(super) fn totals(&self) -> BTreeMap<String, Totals> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_model: BTreeMap<String, Totals> = BTreeMap::new();
        for served in pages.held.iter().filter(|served| served.status < 400) {
            let totals = by_model.entry(served.reported_model.clone()).or_default();
            totals.requests += 1;
            totals.input_tokens += served.usage.input_tokens;
            totals.cached_input_tokens += served.usage.cached_input_tokens;
            totals.output_tokens += served.usage.output_tokens;
        }
        by_model
    }
}

impl Entry {
    /// Counts what was handed to the connection.
    pub(super) fn sent(&mut self, bytes: usize, tokens: u64) {
        self.bytes += bytes as u64;
        self.tokens += tokens;
    }

    /// Says how the answer ended.
    pub(super) fn close(&mut self, end: End) {
        self.end = end;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let end = if self.end == End::Open { End::ClientGone } else { self.end };
        let mut pages = self.book.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.number.checked_sub(pages.first).and_then(|place| usize::try_from(place).ok());
        let Some(served) = place.and_then(|place| pages.held.get_mut(place)) else { return };
        (served.tokens_emitted, served.bytes, served.end) = (self.tokens, self.bytes, end);
        let line = json!({"event": "end", "id": served.id, "tokens_emitted": self.tokens,
            "bytes": self.bytes, "end": end});
        // nobody waits for this line: the answer is over
        let _ = pages.log.write(&line);
    }
}

/// About 500 MB of entries: more than the longest soak run serves.
const MAX_HELD: usize = 1_000_000;
