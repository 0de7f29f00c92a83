//! Single paths, each with inputs that never change.

use std::hint::black_box;

use bytes::Bytes;
use http::Method;
use tempfile::TempDir;
use tollgate::base::chance::Chance;
use tollgate::base::clock::Timestamp;
use tollgate::base::id::RequestId;
use tollgate::dialect::meter::Meter;
use tollgate::dialect::path::{Operation, classify};
use tollgate::dialect::request::scan;
use tollgate::dialect::unask::Unask;
use tollgate::identity::Pepper;
use tollgate::ledger::section::Durability;
use tollgate::store::ledger::{Checkpoint, LedgerStore as _};
use tollgate::store::record::Record;
use tollgate::store::sqlite::SqliteLedger;

use crate::Failure;
use crate::house::{House, record};
use crate::samples::{ANSWER, events, request};

/// One path.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// How often it runs in the shorter of two runs.
    pub(crate) times: u64,
    /// Everything that does not count; what it gives is what does.
    pub(crate) prepare: fn() -> Result<Work, Failure>,
}

type Work = Box<dyn FnMut()>;

pub(crate) const PATHS: &[Path] = &[
    Path { name: "classify a path", times: 2_000, prepare: || Ok(classifying()) },
    Path { name: "hash a key", times: 1_000, prepare: || Ok(hashing()) },
    Path { name: "scan a request of 400 bytes", times: 1_000, prepare: || Ok(scanning(400)) },
    Path { name: "scan a request of 200 KB", times: 20, prepare: || Ok(scanning(200_000)) },
    Path { name: "reserve and settle", times: 1_000, prepare: reserving },
    Path { name: "journal an intent and an outcome", times: 500, prepare: journaling },
    Path { name: "meter a JSON answer", times: 500, prepare: || Ok(metering()) },
    Path { name: "meter and filter a stream of 20 chunks", times: 100, prepare: || Ok(filtering()) },
    Path { name: "save 100 rows", times: 5, prepare: saving },
];

fn classifying() -> Work {
    Box::new(|| {
        black_box(classify(&Method::POST, black_box("/v1/chat/completions")));
    })
}

fn hashing() -> Work {
    let pepper = Pepper::from_bytes(&[7; 32]);
    Box::new(move || {
        black_box(pepper.hash(black_box("tg_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL")));
    })
}

fn scanning(prompt: usize) -> Work {
    let endpoint = classify(&Method::POST, "/v1/chat/completions");
    let body = request(prompt, false);
    Box::new(move || {
        let facts = scan(&endpoint, Some("application/json"), black_box(body.as_bytes()));
        black_box(facts.expect("the request is one"));
    })
}

fn reserving() -> Result<Work, Failure> {
    let house = House::open(None, Durability::Process)?;
    Ok(Box::new(move || {
        let (admission, reservation) = house.reserve();
        house.settle(admission, reservation);
    }))
}

fn journaling() -> Result<Work, Failure> {
    let house = House::open(None, Durability::Process)?;
    let mut record = record();
    Ok(Box::new(move || {
        record.id += 1;
        house.journal.intend(&record).expect("the journal takes it");
        house.journal.close(&record).expect("the journal takes it");
    }))
}

fn metering() -> Work {
    Box::new(|| {
        let mut meter = Meter::new(Operation::ChatCompletions, 200, Some("application/json"), None);
        meter.observe(black_box(ANSWER.as_bytes()));
        black_box(meter.finish());
    })
}

fn filtering() -> Work {
    let events: Vec<Bytes> = events(20).into_iter().map(Bytes::from).collect();
    Box::new(move || {
        let mut meter = Meter::new(Operation::ChatCompletions, 200, Some("text/event-stream"), None);
        let mut unask = Unask::new();
        let mut out = Vec::new();
        for event in &events {
            meter.observe(event);
            unask.push(event.clone(), &mut out);
            black_box(&out);
            out.clear();
        }
        unask.finish(&mut out);
        black_box(meter.finish());
    })
}

fn saving() -> Result<Work, Failure> {
    let folder = TempDir::new()?;
    let mut ledger = SqliteLedger::open(folder.path())?;
    let chance = Chance::seeded(1);
    let mut at = Timestamp::from_secs(1_790_000_000);
    Ok(Box::new(move || {
        // the folder is to live as long as the ledger in it
        let _ = &folder;
        let rows: Vec<Record> = (0..100)
            .map(|_| {
                at = at.plus(std::time::Duration::from_millis(3));
                Record { id: RequestId::new(at, &chance).as_u128(), started_at: at.as_nanos(), ..record() }
            })
            .collect();
        ledger.append(&rows, &Checkpoint::default()).expect("the ledger takes it");
    }))
}
