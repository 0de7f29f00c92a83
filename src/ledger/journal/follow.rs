//! Reading the journal in order, from the files alone: while it grows, after a crash, past damage.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::store::ledger::Position;
use crate::store::record::Record;

use super::fault::JournalFault;
use super::frame::{self, Kind, Look};
use super::{codec, segment};

/// Reads one record after another. Holds one window of one file, however long the journal is.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    at: Position,
    file: Option<File>,
    /// Bytes of the file from `window_at` on.
    window: Vec<u8>,
    window_at: u64,
    whole_to: Position,
    damage: Option<Position>,
    pass_over_gaps: bool,
    end_moves: bool,
}

/// A whole record in the journal.
#[derive(Debug)]
pub struct Entry<'f> {
    /// Where it begins.
    pub at: Position,
    /// Which half of the story it is.
    pub kind: Kind,
    /// Whose story.
    pub id: u128,
    body: &'f [u8],
}

impl Entry<'_> {
    /// The record itself; `None` (and an error in the log) when its checksum is right but its words
    /// are not known here.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        let record = codec::decode(self.body);
        if record.is_none() {
            tracing::error!(at = ?self.at, "a journal record cannot be read by this version");
        }
        record
    }
}

impl Follower {
    /// A follower of the journal in `data_dir` that begins at `from`.
    #[must_use]
    pub fn new(data_dir: &Path, from: Position) -> Self {
        Self {
            dir: segment::dir_in(data_dir),
            at: from,
            file: None,
            window: Vec::new(),
            window_at: 0,
            whole_to: from,
            damage: None,
            pass_over_gaps: false,
            end_moves: false,
        }
    }

    /// Goes on behind a segment that is missing, with an error in the log, instead of stopping there.
    #[must_use]
    pub fn passing_over_gaps(self) -> Self {
        Self { pass_over_gaps: true, ..self }
    }

    /// For readers beside a writer: what is not whole at the very end is being written, and is no damage.
    #[must_use]
    pub fn to_a_moving_end(self) -> Self {
        Self { end_moves: true, ..self }
    }

    /// Where the next record will be looked for.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.at
    }

    /// The end of the last whole record seen.
    #[must_use]
    pub const fn whole_to(&self) -> Position {
        self.whole_to
    }

    /// The next whole record before `limit`; `None` when there is none (yet). What is damaged is passed
    /// over, with an error in the log.
    ///
    /// # Errors
    /// When a file cannot be read, is missing, or is of a newer Tollgate.
    pub fn next(&mut self, limit: Position) -> Result<Option<Entry<'_>>, JournalFault> {
        let found = self.find(limit)?;
        Ok(found.map(|Found { at, kind, id, body }| Entry { at, kind, id, body: &self.window[body] }))
    }

    fn find(&mut self, limit: Position) -> Result<Option<Found>, JournalFault> {
        while self.at < limit {
            if self.enter()? {
                let end = self.end_of_segment(limit)?;
                if let Some(found) = self.find_in_segment(end)? {
                    return Ok(Some(found));
                }
            }
            if self.end_moves && self.at.segment == limit.segment {
                self.damage = None;
            }
            self.report_damage();
            if self.at.segment == limit.segment {
                break;
            }
            self.file = None;
            self.at = Position { segment: self.at.segment + 1, offset: segment::FIRST };
        }
        Ok(None)
    }

    /// Opens the file at hand; `false` when it is missing and to be passed over.
    fn enter(&mut self) -> Result<bool, JournalFault> {
        if self.file.is_some() {
            return Ok(true);
        }
        let file = match segment::open(&self.dir, self.at.segment) {
            Ok(file) => file,
            Err(JournalFault::Missing { segment }) if self.pass_over_gaps => {
                tracing::error!(segment, "a journal segment is missing: its records cannot be settled");
                return Ok(false);
            }
            Err(fault) => return Err(fault),
        };
        segment::has_header(&file, &segment::path(&self.dir, self.at.segment))?;
        self.at.offset = self.at.offset.max(segment::FIRST);
        self.file = Some(file);
        self.window.clear();
        self.window_at = self.at.offset;
        Ok(true)
    }

    fn end_of_segment(&self, limit: Position) -> Result<u64, JournalFault> {
        let (Some(file), true) = (&self.file, self.at.segment < limit.segment) else {
            return Ok(limit.offset);
        };
        let path = segment::path(&self.dir, self.at.segment);
        Ok(file.metadata().map_err(JournalFault::file("measure", &path))?.len())
    }

    fn find_in_segment(&mut self, end: u64) -> Result<Option<Found>, JournalFault> {
        let mut need = frame::HEAD;
        while self.at.offset < end {
            let ahead = self.fill(need, end)?;
            match frame::look(&self.window[ahead.clone()]) {
                Look::Whole { kind, body } => {
                    let (id, length) = (codec::id(body), frame::HEAD + body.len());
                    let at = self.at;
                    self.report_damage();
                    self.at.offset += length as u64;
                    self.whole_to = self.at;
                    if let Some(id) = id {
                        let body = ahead.start + frame::HEAD..ahead.start + length;
                        return Ok(Some(Found { at, kind, id, body }));
                    }
                    need = frame::HEAD;
                }
                Look::Needs(more) if more > ahead.len() && self.at.offset + (ahead.len() as u64) < end => {
                    need = more;
                }
                // what claims to go on past the end is as good as damaged
                Look::Needs(_) | Look::Damaged => {
                    self.damage.get_or_insert(self.at);
                    let skip = frame::next_marker(&self.window[ahead.clone()]);
                    // a marker may lie across the window's edge
                    let skip = skip.unwrap_or_else(|| ahead.len().saturating_sub(3).max(1));
                    self.at.offset = end.min(self.at.offset + skip as u64);
                    need = frame::HEAD;
                }
            }
        }
        Ok(None)
    }

    /// Makes the window hold `need` bytes from here on, or all there are before `end`. Returns where in
    /// the window they are.
    fn fill(&mut self, need: usize, end: u64) -> Result<Range<usize>, JournalFault> {
        let there = usize::try_from(self.at.offset - self.window_at).expect("the window is in memory");
        let left = usize::try_from(end - self.at.offset).unwrap_or(usize::MAX);
        let held = self.window.len().saturating_sub(there);
        if held >= need.min(left) {
            return Ok(there..there + held.min(left));
        }
        self.window.drain(..there.min(self.window.len()));
        self.window_at = self.at.offset;
        let wanted = need.max(WINDOW).min(left);
        self.window.resize(wanted, 0);
        let path = segment::path(&self.dir, self.at.segment);
        let file = self.file.as_ref().expect("a segment is entered before it is read");
        file.read_exact_at(&mut self.window[held..], self.window_at + held as u64)
            .map_err(JournalFault::file("read", &path))?;
        Ok(0..wanted)
    }

    fn report_damage(&mut self) {
        if let Some(from) = self.damage.take() {
            tracing::error!(?from, to = ?self.at, "damaged bytes in the journal were passed over");
        }
    }
}

struct Found {
    at: Position,
    kind: Kind,
    id: u128,
    body: Range<usize>,
}

/// Large enough that reading costs little, small enough to hold always.
const WINDOW: usize = 256 << 10;
