//! Room on the disk that is held back, so that what is at work can be recorded to its end when the disk
//! is full: a file of the reserve's size, deleted when its room is needed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::store::place;

use super::fault::JournalFault;

/// The reserve of one data directory.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    size: u64,
    is_held: bool,
}

impl Reserve {
    /// Takes the room. Where it cannot be taken it is tried again later.
    pub(super) fn open(data_dir: &Path, size: u64) -> Self {
        let mut reserve = Self { path: data_dir.join(FILE_NAME), size, is_held: false };
        if let Err(fault) = reserve.take() {
            tracing::error!(error = %fault, "the journal's reserve cannot be taken");
        }
        reserve
    }

    /// Whether a reserve is wanted and there is none: the disk is full, or was until a moment ago.
    pub(super) const fn is_gone(&self) -> bool {
        !self.is_held
    }

    /// Takes the room, if it is not held.
    pub(super) fn take(&mut self) -> Result<(), JournalFault> {
        if self.is_held {
            return Ok(());
        }
        if let Err(source) = self.allocate() {
            // half a reserve would only be in the way
            let _ = fs::remove_file(&self.path);
            return Err(JournalFault::file("reserve room in", &self.path)(source));
        }
        self.is_held = true;
        Ok(())
    }

    /// Lets the room go. Returns whether there was any.
    pub(super) fn give_up(&mut self) -> bool {
        if !self.is_held || self.size == 0 {
            return false;
        }
        self.is_held = false;
        match fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::warn!(bytes = self.size, "the disk is full; the journal's reserve is given up");
                true
            }
            Err(fault) => {
                tracing::error!(error = %fault, "the journal's reserve cannot be given up");
                false
            }
        }
    }

    fn allocate(&self) -> io::Result<()> {
        if self.size == 0 {
            return match fs::remove_file(&self.path) {
                Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
                _ => Ok(()),
            };
        }
        let file = place::private_file(&self.path)?;
        file.set_len(self.size)?;
        if file.metadata()?.blocks() * BLOCK >= self.size {
            return Ok(());
        }
        match fallocate(&file, FallocateFlags::empty(), 0, self.size) {
            Err(Errno::OPNOTSUPP) => fill(&file, self.size),
            taken => Ok(taken?),
        }
    }
}

/// For file systems that cannot be asked for room.
fn fill(file: &File, size: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < size {
        let part = usize::try_from(size - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

const FILE_NAME: &str = "reserve";
/// What the system counts blocks in, whatever those of the disk are.
const BLOCK: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_really_taken_and_really_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let mut reserve = Reserve::open(dir.path(), 1 << 20);
        let blocks = || fs::metadata(&path).unwrap().blocks() * BLOCK;
        assert!(!reserve.is_gone() && blocks() >= 1 << 20);
        assert!(reserve.give_up() && reserve.is_gone() && !path.exists());
        assert!(!reserve.give_up(), "there is no second one");
        reserve.take().unwrap();
        assert!(!reserve.is_gone() && blocks() >= 1 << 20);
        // a backup that was put back has holes
        fs::remove_file(&path).unwrap();
        File::create(&path).unwrap().set_len(1 << 20).unwrap();
        assert!(!Reserve::open(dir.path(), 1 << 20).is_gone() && blocks() >= 1 << 20);
    }

    #[test]
    fn no_reserve_is_never_gone_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        drop(Reserve::open(dir.path(), 4_096));
        let mut none = Reserve::open(dir.path(), 0);
        assert!(!none.is_gone() && !none.give_up() && !none.is_gone());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_disk_without_the_room_is_told_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        // more than any disk has
        let mut reserve = Reserve::open(dir.path(), 1 << 60);
        assert!(reserve.is_gone());
        let fault = reserve.take().unwrap_err();
        assert!(fault.to_string().contains("reserve"), "{fault}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_system_that_cannot_be_asked_is_filled() {
        let file = tempfile::tempfile().unwrap();
        fill(&file, (1 << 20) + 7).unwrap();
        assert_eq!(file.metadata().unwrap().len(), (1 << 20) + 7);
    }
}
