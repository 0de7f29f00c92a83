//! Counts the visible output of one answer as it comes: each choice, its reasoning and each of its tool calls is a
//! text of its own, and their tokens are summed.

use std::collections::HashMap;

use super::{Count, StreamCount};
use crate::dialect::grounds::{Ground, Grounds};
use crate::dialect::shown::{Lane, Shown};

/// The count of one answer's output under way.
#[derive(Debug)]
pub struct OutputCount {
    model: String,
    lanes: HashMap<Lane, StreamCount>,
    grounds: Grounds,
}

/// `n` goes up to 128, with words and reasoning for each.
const MAX_LANES: usize = 256;

impl OutputCount {
    /// Begins the count of an answer of `model`.
    #[must_use]
    pub fn new(model: &str) -> Self {
        Self { model: model.to_owned(), lanes: HashMap::new(), grounds: Grounds::default() }
    }

    /// Takes in what comes next.
    pub fn push(&mut self, shown: &Shown) {
        for (lane, text) in shown.runs() {
            let is_full = self.lanes.len() >= MAX_LANES && !self.lanes.contains_key(&lane);
            if is_full {
                // where merged across, a word may be lost or won
                self.grounds.add(Ground::Run);
            }
            let lane = if is_full { Lane::default() } else { lane };
            self.lanes.entry(lane).or_insert_with(|| StreamCount::new(&self.model)).push(text);
        }
    }

    /// The tokens of all that was taken in, as if it ended here.
    pub fn count(&mut self) -> Count {
        let start = Count { tokens: 0, grounds: self.grounds };
        self.lanes.values_mut().map(StreamCount::count).fold(start, |sum, lane| Count {
            tokens: sum.tokens.saturating_add(lane.tokens),
            grounds: sum.grounds.with(lane.grounds),
        })
    }
}
