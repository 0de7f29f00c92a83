//! The gateway's books as the judge reads them: rows by the marks of the questions.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::ledger::books::Books;
use crate::store::ledger::{Filter, LedgerReader as _, StoreFault};
use crate::store::record::Record;

/// Rows by session, which is the mark.
pub(in crate::torture) type Rows = HashMap<String, Vec<Record>>;

/// All rows that began at `since` or later, as anyone may read them from the data directory.
pub(in crate::torture) fn rows(data_dir: &Path, since: Timestamp) -> Result<Rows, StoreFault> {
    let filter = Filter { since: Some(since), ..Filter::default() };
    let mut tries = 0;
    loop {
        let mut rows = Rows::new();
        let read = Books::open(data_dir).and_then(|mut books| {
            books.scan(&filter, &mut |row| rows.entry(row.session.clone()).or_default().push(row.clone()))
        });
        match read {
            Ok(()) => return Ok(rows),
            Err(StoreFault::Moved) if tries < MAX_TRIES => tries += 1,
            Err(fault) => return Err(fault),
        }
    }
}

/// Waits until no request of a running gateway is begun and not ended, or for a while.
pub(in crate::torture) async fn are_closed(data_dir: &Path) -> Result<bool, StoreFault> {
    for _ in 0..MAX_LOOKS {
        match Books::open(data_dir)?.open_intents() {
            Ok(0) => return Ok(true),
            Ok(_) | Err(StoreFault::Moved) => tokio::time::sleep(PAUSE).await,
            Err(fault) => return Err(fault),
        }
    }
    Ok(false)
}

/// The journal moves on at most a few times a second.
const MAX_TRIES: u32 = 20;
/// Fifteen seconds: the tokenizer may have a long queue.
const MAX_LOOKS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(50);
