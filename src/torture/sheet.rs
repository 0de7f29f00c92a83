//! The judge's sheet: what was checked of each invariant, and what was found.

use std::collections::BTreeMap;

/// What must always hold; the numbers of the project's design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Every request that the upstream saw has exactly one final record.
    I1,
    /// What the upstream reported is what is charged, to the token and the nano-USD.
    I2,
    /// An estimate lies between what was relayed and what was reserved.
    I3,
    /// Spent and reserved together never pass a hard limit.
    I4,
    /// At rest counters are the sum of the records, and no reservation is open.
    I5,
    /// Clients get the upstream's bytes, or an exact beginning of them.
    I6,
    /// A broken end never looks like a normal one.
    I7,
    /// Memory is bounded, descriptors return to their base.
    I8,
    /// The gateway itself causes no failed request.
    I11,
    /// Normal service is back soon after a fault is gone.
    I12,
    /// Nothing panics, aborts or hangs.
    I13,
}

/// What the judge says of one invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It held each time.
    Held {
        /// How often it was checked.
        checked: u64,
    },
    /// It did not.
    Broken {
        /// How often it was checked.
        checked: u64,
        /// How often it was found broken.
        broken: u64,
        /// The first few counter-examples.
        examples: Vec<String>,
    },
    /// Nobody could see.
    NotJudged {
        /// Why not.
        why: String,
    },
}

/// One scenario's findings so far.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    tallies: BTreeMap<Invariant, Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    checked: u64,
    broken: u64,
    examples: Vec<String>,
    why_not: Option<String>,
}

impl Invariant {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I11,
        Self::I12,
        Self::I13,
    ];

    /// Its number in the design, and in reports.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::I1 => "I1",
            Self::I2 => "I2",
            Self::I3 => "I3",
            Self::I4 => "I4",
            Self::I5 => "I5",
            Self::I6 => "I6",
            Self::I7 => "I7",
            Self::I8 => "I8",
            Self::I11 => "I11",
            Self::I12 => "I12",
            Self::I13 => "I13",
        }
    }

    /// What it promises, in a few words.
    #[must_use]
    pub const fn promise(self) -> &'static str {
        match self {
            Self::I1 => "one record per request",
            Self::I2 => "charged as reported",
            Self::I3 => "estimates within bounds",
            Self::I4 => "no limit passed",
            Self::I5 => "counters equal records",
            Self::I6 => "bytes untouched",
            Self::I7 => "a break looks broken",
            Self::I8 => "memory and descriptors bounded",
            Self::I11 => "no failure of its own",
            Self::I12 => "back in service",
            Self::I13 => "no panic, no hang",
        }
    }
}

impl Sheet {
    /// Notes one check; `example` says what was seen if it failed.
    pub(super) fn check(&mut self, invariant: Invariant, holds: bool, example: impl FnOnce() -> String) {
        let tally = self.tallies.entry(invariant).or_default();
        tally.checked += 1;
        if !holds {
            tally.broken += 1;
            if tally.examples.len() < MAX_EXAMPLES {
                tally.examples.push(example());
            }
        }
    }

    /// Says why an invariant cannot be judged here, unless something was seen of it all the same.
    pub(super) fn cannot(&mut self, invariant: Invariant, why: &str) {
        self.tallies.entry(invariant).or_default().why_not = Some(why.into());
    }

    /// How often an invariant was found broken so far.
    pub(super) fn broken(&self, invariant: Invariant) -> u64 {
        self.tallies.get(&invariant).map_or(0, |tally| tally.broken)
    }

    pub(super) fn verdicts(self) -> Vec<(Invariant, Verdict)> {
        let verdict = |tally: Tally| match tally {
            Tally { checked: 0, why_not: Some(why), .. } => Some(Verdict::NotJudged { why }),
            Tally { checked: 0, .. } => None,
            Tally { checked, broken: 0, .. } => Some(Verdict::Held { checked }),
            Tally { checked, broken, examples, .. } => Some(Verdict::Broken { checked, broken, examples }),
        };
        let said = self.tallies.into_iter();
        said.filter_map(|(invariant, tally)| verdict(tally).map(|said| (invariant, said))).collect()
    }
}

/// Enough to see a pattern.
const MAX_EXAMPLES: usize = 5;
