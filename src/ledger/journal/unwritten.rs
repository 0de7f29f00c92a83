//! Outcomes that the disk did not take: kept in memory, within a bound, until it does.

use std::collections::VecDeque;

/// Frames in the order in which they wait.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Unwritten {
    /// Takes a frame in, unless there is no room for it. Returns whether it did. Refusals, which anybody
    /// can cause, get a quarter of it, so that they cannot push out outcomes that cost something.
    pub(super) fn keep(&mut self, frame: Vec<u8>, is_refusal: bool) -> bool {
        let bytes = self.bytes.saturating_add(frame.len());
        if bytes > if is_refusal { ROOM / 4 } else { ROOM } {
            return false;
        }
        self.bytes = bytes;
        self.frames.push_back(frame);
        true
    }

    /// Whether a request that begins now will find room at its end; the other half is for those at work.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < ROOM / 2
    }

    /// The frame that waits longest.
    pub(super) fn first(&self) -> Option<&Vec<u8>> {
        self.frames.front()
    }

    /// Lets go of the frame that waits longest.
    pub(super) fn forget_first(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.len();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }
}

/// Some ten thousand outcomes: the requests that were at work when the disk filled up, and minutes of
/// refusals at usual rates.
pub(super) const ROOM: usize = 8 << 20;
