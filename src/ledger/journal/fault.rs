//! What can go wrong with the journal. Always ours or the machine's, never a caller's.

use std::io;
use std::path::{Path, PathBuf};

/// Failed to keep or read the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// Another process keeps its journal here.
    #[error("another tollgate uses the data directory {}: stop it, or give this one its own `data_dir`", dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("failed to {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full, or was until a moment ago: what room is left is for requests at work.
    #[error("the disk of {} is full: the journal's reserve is not there", dir.display())]
    OutOfRoom {
        /// Where the journal is.
        dir: PathBuf,
    },
    /// The segment was written by a later Tollgate.
    #[error("{} has journal format {found}: use the newer Tollgate that wrote it, or another `data_dir`", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u8,
    },
    /// A segment is not there (any more).
    #[error("journal segment {segment} is missing")]
    Missing {
        /// Its number.
        segment: u64,
    },
    /// At `durability: power`: the record may not survive a loss of power.
    #[error("the journal could not be synced to disk")]
    NotSynced,
}

impl JournalFault {
    /// Whether room on the disk would help.
    pub(super) fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Self::File { source, .. } if full.contains(&source.kind()))
    }

    /// For `map_err`: what was tried on which file.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { doing, path: path.to_owned(), source }
    }
}
