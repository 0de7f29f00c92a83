//! Loss of power: of all that was written only what was synced is there afterwards. Files whose names were
//! not synced are gone, and files that were never synced are empty.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use crate::base::units::Size;
use crate::ledger::section::{Durability, LedgerSection};
use crate::store::samples::{intent, record};

use super::append::{Journal, Ticket};
use super::follow::Follower;
use super::frame::Kind;
use super::segment;
use super::sync::{Disk, Durable};

/// Remembers what would be there after a loss of power, by inode.
#[derive(Debug, Default)]
struct Survivors {
    contents: HashMap<u64, Vec<u8>>,
    names: BTreeMap<OsString, u64>,
}

impl Survivors {
    /// Makes a data directory as it would be found.
    fn put_into(&self, data_dir: &Path) {
        let dir = segment::dir_in(data_dir);
        fs::create_dir(&dir).unwrap();
        for (name, inode) in &self.names {
            fs::write(dir.join(name), self.contents.get(inode).map_or(&[][..], Vec::as_slice)).unwrap();
        }
    }
}

/// A disk that really syncs, and notes what.
#[derive(Debug, Clone, Default)]
struct Witness(Arc<(Mutex<Survivors>, Condvar)>);

impl Durable for Witness {
    fn sync_file(&self, file: &File) -> io::Result<()> {
        let about = file.metadata()?;
        let mut content = vec![0; usize::try_from(about.len()).unwrap()];
        file.read_exact_at(&mut content, 0)?;
        Disk.sync_file(file)?;
        self.0.0.lock().unwrap().contents.insert(about.ino(), content);
        self.0.1.notify_all();
        Ok(())
    }

    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            names.insert(entry.file_name(), entry.metadata()?.ino());
        }
        Disk.sync_names(dir)?;
        self.0.0.lock().unwrap().names = names;
        self.0.1.notify_all();
        Ok(())
    }
}

impl Witness {
    /// Ids of the intents and of the outcomes that are there after a loss of power at this moment.
    fn after_a_cut(&self) -> (Vec<u128>, Vec<u128>) {
        let dir = tempfile::tempdir().unwrap();
        self.0.0.lock().unwrap().put_into(dir.path());
        let journal = Journal::open(dir.path(), &section(Durability::Process)).unwrap();
        let from = segment::oldest(dir.path(), journal.end()).unwrap();
        let mut follower = Follower::new(dir.path(), from);
        let (mut intents, mut outcomes) = (Vec::new(), Vec::new());
        while let Some(entry) = follower.next(journal.end()).unwrap() {
            match entry.kind {
                Kind::Intent => intents.push(entry.id),
                Kind::Outcome => outcomes.push(entry.id),
            }
        }
        (intents, outcomes)
    }

    /// Waits until `count` intents would be there.
    fn wait_for(&self, count: usize) {
        let (survivors, changed) = &*self.0;
        let mut held = survivors.lock().unwrap();
        loop {
            drop(held);
            if self.after_a_cut().0.len() >= count {
                return;
            }
            held = changed.wait_timeout(survivors.lock().unwrap(), PATIENCE).unwrap().0;
        }
    }
}

/// Only ever waited out by a journal that does not sync at all.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
const REQUESTS: u128 = 200;

/// Small segments, so that the cut also falls into their change.
fn section(durability: Durability) -> LedgerSection {
    let segment_size = Size(4_000);
    LedgerSection { durability, segment_size, reserve: Size(0), ..LedgerSection::default() }
}

fn wait(journal: &Journal, ticket: Ticket) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(journal.durable(ticket)).unwrap();
}

// FAULTS L3
#[test]
fn a_power_cut_at_any_write_loses_no_request_that_was_told_durable() {
    let (dir, witness) = (tempfile::tempdir().unwrap(), Witness::default());
    let section = section(Durability::Power);
    let journal = Journal::open_on(dir.path(), &section, Box::new(witness.clone())).unwrap();
    let mut told = Vec::new();
    let is_kept = |told: &[u128]| {
        let (intents, _) = witness.after_a_cut();
        assert!(intents.len() >= told.len() && intents[..told.len()] == *told, "{intents:?} of {told:?}");
    };
    for id in 0..REQUESTS {
        let ticket = journal.intend(&intent(id)).unwrap();
        is_kept(&told);
        wait(&journal, ticket);
        told.push(id);
        is_kept(&told);
        journal.close(&record(id)).unwrap();
        is_kept(&told);
    }
    assert!(journal.end().segment > 10);
}

// FAULTS L3
#[test]
fn without_waiting_for_the_disk_a_power_cut_takes_a_tail_and_nothing_before_it() {
    let (dir, witness) = (tempfile::tempdir().unwrap(), Witness::default());
    let section = section(Durability::Process);
    let journal = Journal::open_on(dir.path(), &section, Box::new(witness.clone())).unwrap();
    for id in 0..REQUESTS / 2 {
        wait(&journal, journal.intend(&intent(id)).unwrap());
        journal.close(&record(id)).unwrap();
    }
    // nobody asks for it
    witness.wait_for(100);
    for id in REQUESTS / 2..REQUESTS {
        journal.intend(&intent(id)).unwrap();
        journal.close(&record(id)).unwrap();
        let (intents, outcomes) = witness.after_a_cut();
        assert!(intents.len() >= 100 && intents.iter().copied().eq(0..intents.len() as u128), "{intents:?}");
        assert!(outcomes.iter().copied().eq(0..outcomes.len() as u128), "{outcomes:?}");
    }
    drop(journal);
    assert_eq!(witness.after_a_cut().1.len(), 200, "an end in order loses nothing");
}
