//! A form on its way from the client to the upstream, read in passing. One frame at a time: a slow upstream
//! slows the client down.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

use super::error::Refusal;
use super::intake::Arriving;
use super::upload::Upload;
use crate::dialect::form::Form;
use crate::dialect::splice::{Edit, apply};
use crate::upstream::body::OutBody;

/// A form of which the beginning is here. It can be sent once; again only if nobody took a byte of it.
#[derive(Debug, Clone)]
pub(super) struct Passing {
    head: Bytes,
    source: Arc<Mutex<Source>>,
}

/// Where the rest comes from.
#[derive(Debug)]
struct Source {
    arriving: Arriving,
    form: Form,
    upload: Arc<Upload>,
    is_touched: bool,
}

/// One sending of it.
struct PassingBody {
    /// `None` once it was sent.
    head: Option<Bytes>,
    source: Arc<Mutex<Source>>,
    moved: watch::Sender<()>,
}

impl Passing {
    pub(super) fn new(head: Bytes, arriving: Arriving, mut form: Form, upload: Arc<Upload>) -> Self {
        // what the head says is known
        form.news();
        let source = Source { arriving, form, upload, is_touched: false };
        Self { head, source: Arc::new(Mutex::new(source)) }
    }

    /// Whether it can still be sent.
    pub(super) fn is_untouched(&self) -> bool {
        !locked(&self.source).is_touched
    }

    /// The body to send, with an edit at a place in its head; and word of each piece that is taken.
    pub(super) fn body(&self, edit: Option<Edit>) -> (OutBody, watch::Receiver<()>) {
        let (moved, progress) = watch::channel(());
        let head = Some(apply(&self.head, edit.into_iter().collect()));
        (OutBody::streamed(PassingBody { head, source: Arc::clone(&self.source), moved }), progress)
    }
}

fn locked(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let next = ready!(self.arriving.poll_next(cx));
        Poll::Ready(match next.and_then(|data| self.check(data)) {
            Ok(data) => data.map(Ok),
            Err(refusal) => {
                self.upload.note_fault(refusal);
                Some(Err(io::Error::other("the form broke off")))
            }
        })
    }

    /// Looks at what comes before anybody gets it: a form that says now what it has not said before must not
    /// come to its end.
    fn check(&mut self, data: Option<Bytes>) -> Result<Option<Bytes>, Refusal> {
        if let Some(data) = &data {
            self.form.push(data);
            self.upload.note_came(self.arriving.came());
            if let Some(news) = self.form.news() {
                let facts = news.map_err(|fault| Refusal::BadRequest(fault.message))?;
                self.upload.note_choices(facts.choices);
            }
        }
        if data.is_none() || self.arriving.is_over() {
            self.upload.note_whole(true);
        }
        Ok(data)
    }
}

impl Body for PassingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let head = self.head.take();
        let mut source = locked(&self.source);
        source.is_touched = true;
        let data = match head {
            Some(head) => Some(Ok(head)),
            None => ready!(source.poll_data(cx)),
        };
        // nobody listens once the answer's head is there
        self.moved.send_replace(());
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_none() && locked(&self.source).arriving.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let head = self.head.as_ref().map_or(0, |head| head.len() as u64);
        match locked(&self.source).arriving.left() {
            Some(left) => SizeHint::with_exact(head + left),
            None => SizeHint::new(),
        }
    }
}
