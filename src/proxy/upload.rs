//! Forms with files in them: small ones are read whole; of larger ones as much as tells where they go, and
//! the rest passes through (`passing`). Where that is not enough they go by way of the disk (`spool`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as _;
use hyper::body::Incoming;

use super::error::Refusal;
use super::exchange::Exchange;
use super::intake::{Arriving, Gathered, MemoryTaken, read_whole};
use super::passing::Passing;
use super::request::RequestBody;
use super::spool::Spool;
use crate::dialect::form::Form;
use crate::dialect::outline::InputCeiling;
use crate::dialect::path::Operation;
use crate::dialect::request::RequestFacts;

/// Up to this size a form is read whole, and so much of a larger one is looked at before it goes on.
const FORM_HEAD: u64 = 1 << 20;

/// A body that was received as far as it has to be.
pub(super) enum Received {
    /// All of it, in memory.
    Whole(Bytes),
    /// A form that is not in memory.
    Form(Box<ReadForm>),
}

/// A form of which enough is known.
pub(super) struct ReadForm {
    pub(super) body: RequestBody,
    pub(super) facts: RequestFacts,
    pub(super) ceiling: InputCeiling,
    pub(super) upload: Arc<Upload>,
}

/// What is known of a form that is not in memory, also by those who look at the books.
#[derive(Debug)]
pub(super) struct Upload {
    /// Its size, where that is known.
    size: Option<u64>,
    came: AtomicU64,
    /// Images that are made, as far as the form has said.
    choices: AtomicU64,
    /// Whether the upstream that was asked last could have all of it.
    is_whole: AtomicBool,
    /// Why it broke off.
    fault: OnceLock<Refusal>,
    /// The most input tokens.
    input: u64,
}

impl Upload {
    pub(super) fn new(size: Option<u64>, facts: &RequestFacts, input: u64) -> Self {
        Self {
            size,
            came: AtomicU64::new(0),
            choices: AtomicU64::new(facts.choices),
            is_whole: AtomicBool::new(false),
            fault: OnceLock::new(),
            input,
        }
    }

    /// Bytes of it: all, or those that have come.
    pub(super) fn bytes(&self) -> u64 {
        self.size.unwrap_or_else(|| self.came.load(Ordering::Acquire))
    }

    pub(super) const fn input(&self) -> u64 {
        self.input
    }

    pub(super) fn choices(&self) -> u64 {
        self.choices.load(Ordering::Acquire)
    }

    /// Whether the upstream that was asked last may have had all of it.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Acquire)
    }

    /// Why it broke off, if that was not the upstream's doing.
    pub(super) fn fault(&self) -> Option<Refusal> {
        self.fault.get().cloned()
    }

    pub(super) fn note_came(&self, bytes: u64) {
        self.came.store(bytes, Ordering::Release);
    }

    pub(super) fn note_choices(&self, choices: u64) {
        self.choices.fetch_max(choices, Ordering::AcqRel);
    }

    pub(super) fn note_whole(&self, is_whole: bool) {
        self.is_whole.store(is_whole, Ordering::Release);
    }

    /// The first reason is the one that is told.
    pub(super) fn note_fault(&self, fault: Refusal) {
        let _ = self.fault.set(fault);
    }
}

/// Receives a body that is read: whole, or as far as its form has to be known.
pub(super) async fn receive(
    x: &mut Exchange,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Received, Refusal> {
    let bounds = x.policy.bounds;
    let size = body.size_hint().exact();
    let most_in_memory = FORM_HEAD.min(bounds.max_body);
    let form = form_of(x, headers).filter(|_| size.is_none_or(|size| size > most_in_memory));
    match form {
        None => read_whole(x, body).await.map(Received::Whole),
        // on the heap: every request would be as large as what this takes
        Some(form) => Box::pin(receive_form(x, form, body)).await,
    }
}

async fn receive_form(x: &mut Exchange, mut form: Form, body: Incoming) -> Result<Received, Refusal> {
    let bounds = x.policy.bounds;
    let size = body.size_hint().exact();
    let most_in_memory = FORM_HEAD.min(bounds.max_body);
    let mut arriving = Arriving::new(x, body, bounds.upload_limit())?;
    let (mut head, mut memory) = (Gathered::default(), MemoryTaken::default());
    while (head.len() as u64) < most_in_memory {
        let Some(data) = arriving.next().await? else { return Ok(Received::Whole(head.finish())) };
        form.push(&data);
        head.push(data, None);
        memory.grow(x, head.len() as u64).await?;
    }
    let facts = said(&form)?;
    let head = head.finish();
    if facts.model.is_some() && may_pass(x, size) {
        let ceiling = ceiling(&form, &facts, size.unwrap_or(bounds.max_upload));
        let upload = Arc::new(Upload::new(size, &facts, ceiling.tokens));
        let body = RequestBody::Uploading(Passing::new(head, arriving, form, Arc::clone(&upload)));
        return Ok(Received::Form(Box::new(ReadForm { body, facts, ceiling, upload })));
    }
    let spool = Spool::receive(x, head, arriving, &mut form).await?;
    // it is on the disk now
    x.memory = None;
    let facts = said(&form)?;
    let ceiling = ceiling(&form, &facts, spool.length());
    let upload = Arc::new(Upload::new(Some(spool.length()), &facts, ceiling.tokens));
    let body = RequestBody::Spooled(Arc::new(spool));
    Ok(Received::Form(Box::new(ReadForm { body, facts, ceiling, upload })))
}

/// A form that can be read here: on a path that takes files, and not compressed.
fn form_of(x: &Exchange, headers: &HeaderMap) -> Option<Form> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let is_plain = match headers.get(header::CONTENT_ENCODING) {
        None => true,
        Some(encoding) => encoding.as_bytes().eq_ignore_ascii_case(b"identity"),
    };
    text(header::CONTENT_TYPE).filter(|_| is_plain).and_then(|kind| Form::of(&x.endpoint, kind))
}

fn said(form: &Form) -> Result<RequestFacts, Refusal> {
    form.facts().map_err(|fault| Refusal::BadRequest(fault.message))
}

fn ceiling(form: &Form, facts: &RequestFacts, size: u64) -> InputCeiling {
    form.ceiling(facts.model.as_deref().unwrap_or_default(), size)
}

/// Whether what is held for it is known before its end. Audio costs by its size; of images the number may
/// stand at the very end of the form, which matters to budgets.
fn may_pass(x: &Exchange, size: Option<u64>) -> bool {
    match x.endpoint.operation {
        Operation::Images => !x.has_budget(),
        _ => size.is_some(),
    }
}
