//! After a crash, before the listener opens: every request whose end nobody saw is closed.

use std::collections::HashMap;

use crate::base::money::NanoUsd;
use crate::base::usage::{Usage, UsageSource};
use crate::dialect::grounds::Ground;
use crate::store::ledger::{Checkpoint, Position};
use crate::store::record::{Intent, Outcome, Record};

use super::journal::{Follower, Journal, JournalFault, Kind, oldest, resume};

/// What was found open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Requests closed as interrupted.
    pub interrupted: u64,
    /// What they were charged together.
    pub cost: NanoUsd,
}

/// Closes every intent without an outcome as [`Outcome::Interrupted`], charged at its reservation and
/// flagged `estimated`. `checkpoint` is the ledger's; `None` reads the journal from its beginning.
///
/// Holds an id and a place per open intent, not the intents: those are read again in order.
///
/// # Errors
/// When the journal cannot be read or written. What was closed by then stays closed.
pub fn recover(journal: &Journal, checkpoint: Option<Checkpoint>) -> Result<Recovered, JournalFault> {
    let end = journal.end();
    let from = match resume(checkpoint.unwrap_or_default(), end) {
        Some(checkpoint) => checkpoint.replay_from,
        None => oldest(journal.data_dir(), end)?,
    };
    let open = open_intents(journal, from, end)?;
    let mut recovered = Recovered::default();
    let mut batch = Vec::with_capacity(AT_ONCE);
    if let Some(first) = open.values().min().copied() {
        let mut follower = Follower::new(journal.data_dir(), first).passing_over_gaps();
        while let Some(entry) = follower.next(end)? {
            if entry.kind != Kind::Intent || open.get(&entry.id) != Some(&entry.at) {
                continue;
            }
            let Some(intent) = entry.record() else { continue };
            recovered.interrupted += 1;
            recovered.cost = recovered.cost + intent.reserved;
            batch.push(interrupted(intent));
            if batch.len() == AT_ONCE {
                journal.close_all(&batch)?;
                batch.clear();
            }
        }
    }
    if !batch.is_empty() {
        journal.close_all(&batch)?;
    }
    Ok(recovered)
}

/// Where each intent without an outcome stands.
fn open_intents(
    journal: &Journal,
    from: Position,
    end: Position,
) -> Result<HashMap<u128, Position>, JournalFault> {
    let mut open = HashMap::new();
    let mut follower = Follower::new(journal.data_dir(), from).passing_over_gaps();
    while let Some(entry) = follower.next(end)? {
        match entry.kind {
            Kind::Intent => drop(open.insert(entry.id, entry.at)),
            Kind::Outcome => drop(open.remove(&entry.id)),
        }
    }
    Ok(open)
}

/// The outcome of a request that the process did not survive: what it reserved is what it is charged,
/// since the upstream may have answered in full.
fn interrupted(intent: Intent) -> Record {
    // without a price there was nothing to reserve, and the cost is unknown rather than 0
    let priced = !intent.catalogue.is_empty() || intent.reserved > NanoUsd::ZERO;
    let mut record = Record {
        outcome: Outcome::Interrupted,
        error: "interrupted".into(),
        cost: priced.then_some(intent.reserved),
        // how they divide into input and output is not known any more
        usage: Usage { input_tokens: intent.reserved_tokens, ..Usage::default() },
        usage_source: UsageSource::Estimated,
        ..intent
    };
    record.note_grounds(Ground::Ceiling.into());
    record
}

/// Records per `write`: about 64 KiB.
const AT_ONCE: usize = 256;

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
