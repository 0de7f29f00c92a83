//! Forms whose facts stand behind their files: they wait on the disk, in a file without a name that goes with
//! its last user, however the process ends.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future as _;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::error::Refusal;
use super::exchange::Exchange;
use super::intake::Arriving;
use super::upload::Upload;
use crate::dialect::form::Form;
use crate::dialect::splice::Edit;
use crate::upstream::body::OutBody;

/// Where forms wait, and how much of the disk all of them together may take.
#[derive(Debug)]
pub struct Spools {
    folder: PathBuf,
    /// In KiB.
    room: Arc<Semaphore>,
    /// Held by the form that waits for more of it.
    turn: Semaphore,
}

/// A form on the disk.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    length: u64,
    /// Whether the client said how long it is.
    is_sized: bool,
    _room: OwnedSemaphorePermit,
}

/// Room on the disk is taken in steps of this size, as bytes arrive.
const ROOM_STEP: u64 = 1 << 20;
/// How long a form waits for room among the others.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(5);
/// Written to the disk, and read from it, at once.
const PIECE_LENGTH: usize = 256 << 10;
const PIECE: u64 = PIECE_LENGTH as u64;
const KIB: u64 = 1024;

impl Spools {
    /// Forms wait in files without names in `folder`, all together in at most `most` bytes.
    #[must_use]
    pub fn new(folder: PathBuf, most: u64) -> Self {
        let kib = usize::try_from(most.div_ceil(KIB)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { folder, room: Arc::new(Semaphore::new(kib)), turn: Semaphore::new(1) }
    }

    async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Refusal> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).map_err(|_| Refusal::UploadsFull)?;
        let wait = Arc::clone(&self.room).acquire_many_owned(kib);
        let Ok(Ok(permit)) = timeout(WAIT_FOR_ROOM, wait).await else { return Err(Refusal::UploadsFull) };
        Ok(permit)
    }

    /// Room for more of a form that holds some. If all who hold some waited for the rest, none would come to its
    /// end: one waits, and whoever else finds none gives back what it has.
    async fn more_room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Refusal> {
        let kib = u32::try_from(bytes.div_ceil(KIB)).map_err(|_| Refusal::UploadsFull)?;
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(kib) {
            return Ok(permit);
        }
        let _turn = self.turn.try_acquire().map_err(|_| Refusal::UploadsFull)?;
        self.room(bytes).await
    }

    async fn file(&self) -> io::Result<tokio::fs::File> {
        let folder = self.folder.clone();
        let made = spawn_blocking(move || tempfile::tempfile_in(folder)).await;
        Ok(tokio::fs::File::from_std(made.map_err(io::Error::other)??))
    }
}

impl Spool {
    /// Takes in what has come of a form and all that is still to come.
    pub(super) async fn receive(
        x: &Exchange,
        head: Bytes,
        mut arriving: Arriving,
        form: &mut Form,
    ) -> Result<Self, Refusal> {
        let spools = &x.door.spools;
        let is_sized = arriving.left().is_some();
        // the last step is smaller: one form may have all of the room there is
        let step = |held: u64| ROOM_STEP.min(x.policy.bounds.max_upload.saturating_sub(held)).max(KIB);
        let mut held = step(0);
        let mut room = spools.room(held).await?;
        let file = spools.file().await.map_err(|fault| not_stored(&fault))?;
        // each write is a thread's work: chunks of one byte must not be a million of them
        let mut file = BufWriter::with_capacity(PIECE_LENGTH, file);
        let (mut length, mut next) = (0, Some(head));
        while let Some(data) = next {
            length += data.len() as u64;
            while held < length {
                let more = step(held);
                room.merge(spools.more_room(more).await?);
                held += more;
            }
            file.write_all(&data).await.map_err(|fault| not_stored(&fault))?;
            next = arriving.next().await?;
            if let Some(data) = &next {
                form.push(data);
            }
        }
        file.flush().await.map_err(|fault| not_stored(&fault))?;
        Ok(Self { file: file.into_inner().into_std().await, length, is_sized, _room: room })
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The body to send, with an edit; and word of each piece that is taken.
    pub(super) fn body(
        self: Arc<Self>,
        edit: Option<Edit>,
        upload: Arc<Upload>,
    ) -> (OutBody, watch::Receiver<()>) {
        let (moved, progress) = watch::channel(());
        upload.note_whole(false);
        let pieces = pieces(self.length, edit);
        let left = pieces.iter().map(Piece::length).sum();
        let body = SpoolBody { spool: self, upload, pieces, reading: None, left, moved };
        (OutBody::streamed(body), progress)
    }

    fn read(&self, at: &Range<u64>) -> io::Result<Bytes> {
        let length = usize::try_from(at.end - at.start).map_err(io::Error::other)?;
        let mut piece = BytesMut::zeroed(length);
        self.file.read_exact_at(&mut piece, at.start)?;
        Ok(piece.freeze())
    }
}

/// Most often the disk is full.
fn not_stored(fault: &io::Error) -> Refusal {
    tracing::error!(%fault, "an upload could not be kept under `data_dir`");
    Refusal::UploadNotStored
}

/// One sending of a form from the disk.
struct SpoolBody {
    spool: Arc<Spool>,
    upload: Arc<Upload>,
    pieces: VecDeque<Piece>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    left: u64,
    moved: watch::Sender<()>,
}

#[derive(Debug)]
enum Piece {
    Text(Bytes),
    OfFile(Range<u64>),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::OfFile(at) => at.end - at.start,
        }
    }
}

fn pieces(length: u64, edit: Option<Edit>) -> VecDeque<Piece> {
    let Some(Edit { range, text }) = edit else { return VecDeque::from([Piece::OfFile(0..length)]) };
    let (start, end) = (range.start as u64, range.end as u64);
    VecDeque::from([Piece::OfFile(0..start), Piece::Text(text.into()), Piece::OfFile(end..length)])
}

impl SpoolBody {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                return Poll::Ready(Some(read.map_err(io::Error::other).and_then(|read| read)));
            }
            match self.pieces.pop_front() {
                None => return Poll::Ready(None),
                Some(piece) if piece.length() == 0 => {}
                Some(Piece::Text(text)) => return Poll::Ready(Some(Ok(text))),
                Some(Piece::OfFile(at)) => {
                    let now = at.start..at.end.min(at.start + PIECE);
                    self.pieces.push_front(Piece::OfFile(now.end..at.end));
                    let spool = Arc::clone(&self.spool);
                    self.reading = Some(spawn_blocking(move || spool.read(&now)));
                }
            }
        }
    }
}

impl Body for SpoolBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = ready!(self.poll_data(cx));
        match &data {
            Some(Ok(data)) => self.left -= data.len() as u64,
            Some(Err(fault)) => self.upload.note_fault(not_stored(fault)),
            None => {}
        }
        if self.left == 0 {
            self.upload.note_whole(true);
        }
        // nobody listens once the answer's head is there
        self.moved.send_replace(());
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.spool.is_sized { SizeHint::with_exact(self.left) } else { SizeHint::new() }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
