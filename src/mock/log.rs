//! The served log on disk: lines in order, and on demand on the disk itself before the answer goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use tokio::sync::oneshot;

/// Where the lines go.
#[derive(Debug)]
pub(super) enum Log {
    None,
    Plain(File),
    /// To the thread that writes and syncs for all who wait.
    Synced(SyncSender<Line>),
}

/// One line, and whom to tell when it is safe.
#[derive(Debug)]
pub(super) struct Line {
    text: String,
    told: oneshot::Sender<()>,
}

/// Ends when the line is as safe as was asked for.
pub(super) type Written = Option<oneshot::Receiver<()>>;

impl Log {
    /// Opens the log at `path` to append; `synced` lines are on the disk when [`Written`] ends.
    pub(super) fn open(path: Option<&Path>, synced: bool) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::None) };
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if !synced {
            return Ok(Self::Plain(file));
        }
        let (lines, queue) = sync_channel(MAX_WAITING);
        // it ends when the book, and with it the sender, is gone
        thread::Builder::new().name("mock-log".into()).spawn(move || write_all(file, &queue))?;
        Ok(Self::Synced(lines))
    }

    pub(super) fn write(&mut self, line: &serde_json::Value) -> Written {
        let text = format!("{line}\n");
        match self {
            Self::None => None,
            Self::Plain(file) => {
                // a full disk must not look like a fault of the gateway under test
                let _ = file.write_all(text.as_bytes());
                None
            }
            Self::Synced(lines) => {
                let (told, written) = oneshot::channel();
                match lines.try_send(Line { text, told }) {
                    Ok(()) => Some(written),
                    Err(TrySendError::Full(line)) => {
                        // slower than the disk for a moment: waiting here is what a full queue means
                        lines.send(line).is_ok().then_some(written)
                    }
                    Err(TrySendError::Disconnected(_)) => None,
                }
            }
        }
    }
}

/// One sync for all lines that wait.
fn write_all(mut file: File, queue: &Receiver<Line>) {
    while let Ok(first) = queue.recv() {
        let mut batch = vec![first];
        batch.extend(queue.try_iter().take(MAX_WAITING));
        let text: String = batch.iter().map(|line| line.text.as_str()).collect();
        // as above: what cannot be written is no fault of the gateway under test
        let _ = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        for line in batch {
            // who asked may have gone
            let _ = line.told.send(());
        }
    }
}

/// Lines between two syncs.
const MAX_WAITING: usize = 8_192;
