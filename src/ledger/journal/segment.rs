//! The journal's files: names, headers, which there are, where the last whole record ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::store::ledger::{Checkpoint, Position};

use super::fault::JournalFault;

/// Every segment begins with these bytes, the last of which is the format's version.
pub(super) const HEADER: [u8; 8] = [b't', b'g', b'-', b'j', b'r', b'n', b'l', VERSION];

/// Where a segment's first record stands.
pub(super) const FIRST: u64 = HEADER.len() as u64;

const VERSION: u8 = 1;

/// The directory of segments within a data directory.
pub(super) fn dir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// The segment's file.
pub(super) fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("journal-{segment:010}.log"))
}

/// The numbers of all segments, ascending. None when the directory is not there.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, JournalFault> {
    let fault = || JournalFault::file("list the journal in", dir);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(fault()(source)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(fault())?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".log")?.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a new segment with its header. Mode 0600.
pub(super) fn create(dir: &Path, segment: u64) -> Result<File, JournalFault> {
    let path = path(dir, segment);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(JournalFault::file("make", &path))?;
    if let Err(source) = file.write_all_at(&HEADER, 0) {
        // half a segment would be in the way of the next try
        let _ = fs::remove_file(&path);
        return Err(JournalFault::file("write", &path)(source));
    }
    Ok(file)
}

/// Opens a segment to read.
pub(super) fn open(dir: &Path, segment: u64) -> Result<File, JournalFault> {
    let path = path(dir, segment);
    match File::open(&path) {
        Ok(file) => Ok(file),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Err(JournalFault::Missing { segment }),
        Err(source) => Err(JournalFault::file("open", &path)(source)),
    }
}

/// Checks a segment's header. `false` when it is shorter than one: nothing was written yet.
pub(super) fn has_header(file: &File, path: &Path) -> Result<bool, JournalFault> {
    let mut header = [0; HEADER.len()];
    match file.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(short) if short.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(source) => return Err(JournalFault::file("read", path)(source)),
    }
    if header[..7] == HEADER[..7] && header[7] > VERSION {
        return Err(JournalFault::Newer { path: path.to_owned(), found: header[7] });
    }
    // a damaged header is damage like any other: the records behind it have their own marks
    Ok(true)
}

/// Where the journal in `data_dir` ends on disk at this moment; `None` when there is none.
///
/// # Errors
/// When the directory or the last segment cannot be read.
pub fn end_on_disk(data_dir: &Path) -> Result<Option<Position>, JournalFault> {
    let dir = dir_in(data_dir);
    let Some(segment) = list(&dir)?.pop() else {
        return Ok(None);
    };
    let offset = open(&dir, segment)?
        .metadata()
        .map_err(JournalFault::file("measure", &path(&dir, segment)))?
        .len()
        .max(FIRST);
    Ok(Some(Position { segment, offset }))
}

/// Where to begin reading after `checkpoint` in a journal that ends at `end`; `None` when the journal is
/// not the one that the checkpoint was noted in (it was lost, or cut by a loss of power), and all of it
/// must be read.
#[must_use]
pub fn resume(checkpoint: Checkpoint, end: Position) -> Option<Checkpoint> {
    (checkpoint != Checkpoint::default() && checkpoint.settled_to <= end).then_some(checkpoint)
}

/// The oldest record's place; `end` when there is no segment.
///
/// # Errors
/// When the directory cannot be read.
pub fn oldest(data_dir: &Path, end: Position) -> Result<Position, JournalFault> {
    let first = list(&dir_in(data_dir))?.first().copied();
    Ok(first.map_or(end, |segment| Position { segment, offset: FIRST }))
}

/// Deletes all segments before number `keep`; returns how many.
///
/// # Errors
/// When one cannot be deleted; it is tried again next time.
pub fn remove_before(data_dir: &Path, keep: u64) -> Result<u64, JournalFault> {
    let dir = dir_in(data_dir);
    let mut removed = 0;
    for segment in list(&dir)?.into_iter().filter(|segment| *segment < keep) {
        let path = path(&dir, segment);
        fs::remove_file(&path).map_err(JournalFault::file("delete", &path))?;
        removed += 1;
    }
    Ok(removed)
}
