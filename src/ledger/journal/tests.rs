use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::base::units::Size;
use crate::ledger::journal::Follower;
use crate::store::samples::{any_record, intent, record};

use super::*;

fn section(segment_size: u64) -> LedgerSection {
    LedgerSection { segment_size: Size(segment_size), reserve: Size(0), ..LedgerSection::default() }
}

fn open(dir: &TempDir) -> Journal {
    Journal::open(dir.path(), &section(64 << 20)).unwrap()
}

/// All that is in the journal, from its beginning.
fn read(journal: &Journal) -> Vec<(Kind, Record)> {
    let from = segment::oldest(journal.data_dir(), journal.end()).unwrap();
    let mut follower = Follower::new(journal.data_dir(), from);
    let mut all = Vec::new();
    while let Some(entry) = follower.next(journal.end()).unwrap() {
        all.push((entry.kind, entry.record().unwrap()));
    }
    all
}

fn file(dir: &TempDir, segment: u64) -> PathBuf {
    segment::path(&segment::dir_in(dir.path()), segment)
}

#[test]
fn what_was_written_is_there_after_the_process_died() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    journal.intend(&intent(1)).unwrap();
    journal.close(&record(1)).unwrap();
    journal.intend(&intent(2)).unwrap();
    drop(journal);
    let told = [(Kind::Intent, intent(1)), (Kind::Outcome, record(1)), (Kind::Intent, intent(2))];
    assert_eq!(read(&open(&dir)), told);
}

#[test]
fn a_record_torn_at_any_byte_is_cut_off_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    journal.intend(&intent(1)).unwrap();
    let before = usize::try_from(journal.end().offset).unwrap();
    journal.close(&record(1)).unwrap();
    drop(journal);
    let whole = fs::read(file(&dir, 1)).unwrap();
    for length in before..whole.len() {
        fs::write(file(&dir, 1), &whole[..length]).unwrap();
        let journal = open(&dir);
        assert_eq!(journal.end().offset, before as u64, "torn at {length}");
        journal.close(&record(9)).unwrap();
        assert_eq!(read(&journal), [(Kind::Intent, intent(1)), (Kind::Outcome, record(9))]);
    }
}

#[test]
fn a_segment_torn_in_its_header_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    for length in 0..segment::HEADER.len() {
        fs::write(file(&dir, 1), &segment::HEADER[..length]).unwrap();
        let journal = open(&dir);
        journal.close(&record(1)).unwrap();
        assert_eq!(read(&journal).len(), 1, "torn at {length}");
    }
}

#[test]
fn damage_in_the_middle_costs_only_the_record_it_hit() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    journal.close(&record(1)).unwrap();
    let from = usize::try_from(journal.end().offset).unwrap();
    journal.close(&record(2)).unwrap();
    let to = usize::try_from(journal.end().offset).unwrap();
    journal.close(&record(3)).unwrap();
    drop(journal);
    let whole = fs::read(file(&dir, 1)).unwrap();
    for place in from..to {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x55;
        fs::write(file(&dir, 1), &damaged).unwrap();
        let kept: Vec<u128> = read(&open(&dir)).iter().map(|(_, record)| record.id).collect();
        assert_eq!(kept, [1, 3], "damaged at {place}");
    }
}

#[test]
fn two_processes_cannot_share_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_in_use(dir.path()).unwrap());
    let first = open(&dir);
    assert!(is_in_use(dir.path()).unwrap());
    let fault = Journal::open(dir.path(), &LedgerSection::default()).unwrap_err();
    assert!(matches!(fault, JournalFault::InUse { .. }) && fault.to_string().contains("data_dir"), "{fault}");
    drop(first);
    assert!(!is_in_use(dir.path()).unwrap());
    open(&dir);
}

#[test]
fn segments_end_at_their_size_and_are_read_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), &section(400)).unwrap();
    for id in 0..20 {
        journal.close(&record(id)).unwrap();
    }
    assert!(journal.end().segment > 5);
    let ids: Vec<u128> = read(&journal).iter().map(|(_, record)| record.id).collect();
    assert_eq!(ids, (0..20).collect::<Vec<_>>());
    drop(journal);
    let journal = Journal::open(dir.path(), &section(400)).unwrap();
    assert_eq!(read(&journal).len(), 20);
}

#[test]
fn a_journal_of_a_newer_tollgate_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let newer = b"tg-jrnl\x09 whatever it means";
    fs::write(file(&dir, 1), newer).unwrap();
    let fault = Journal::open(dir.path(), &LedgerSection::default()).unwrap_err();
    assert!(matches!(fault, JournalFault::Newer { found: 9, .. }), "{fault}");
    assert_eq!(fs::read(file(&dir, 1)).unwrap(), newer);
}

#[test]
fn records_of_many_threads_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), &section(10_000)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u128 {
            let journal = &journal;
            scope.spawn(move || (0..200).for_each(|n| journal.close(&record(thread * 1_000 + n)).unwrap()));
        }
    });
    let mut ids: Vec<u128> = read(&journal).iter().map(|(_, record)| record.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..4).flat_map(|t| (0..200).map(move |n| t * 1_000 + n)).collect::<Vec<_>>());
}

fn wait(journal: &Journal, ticket: Ticket) -> Result<(), JournalFault> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(journal.durable(ticket))
}

#[test]
fn a_ticket_is_kept_at_once_or_by_the_next_sync() {
    for durability in [Durability::Process, Durability::Power] {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), &LedgerSection { durability, ..section(400) }).unwrap();
        for id in 0..10 {
            let ticket = journal.intend(&intent(id)).unwrap();
            wait(&journal, ticket).unwrap();
        }
    }
}

// FAULTS L6
#[test]
fn a_disk_that_does_not_sync_is_reported_and_its_file_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let power = LedgerSection { durability: Durability::Power, ..LedgerSection::default() };
    let journal = Journal::open(dir.path(), &power).unwrap();
    let (pipe, _other_end) = std::io::pipe().unwrap();
    // a pipe cannot be synced: the system answers EINVAL
    let unsyncable = File::from(std::os::fd::OwnedFd::from(pipe));
    tail_of(&journal.tail).left_behind.push(Arc::new(unsyncable));
    let ticket = journal.intend(&intent(1)).unwrap();
    assert!(matches!(wait(&journal, ticket), Err(JournalFault::NotSynced)));
    let segment = journal.end().segment;
    let ticket = journal.intend(&intent(2)).unwrap();
    wait(&journal, ticket).unwrap();
    assert!(journal.end().segment > segment);
    assert_eq!(read(&journal).len(), 2);
}

// FAULTS L6
#[test]
fn a_write_that_failed_leaves_no_half_record() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    journal.close(&record(1)).unwrap();
    // open to read only: the write fails, and so does cutting it off
    let read_only = File::open(file(&dir, 1)).unwrap();
    tail_of(&journal.tail).file = Arc::new(read_only);
    let fault = journal.close_all(&[record(2)]).unwrap_err();
    assert!(matches!(fault, JournalFault::File { doing: "write", .. }), "{fault}");
    journal.close(&record(3)).unwrap();
    let ids: Vec<u128> = read(&journal).iter().map(|(_, record)| record.id).collect();
    assert_eq!((ids, journal.end().segment), (vec![1, 3], 2));
}

/// Fills the journal's disk: neither the open segment nor a new one takes a byte. Returns its folder.
fn full(journal: &Journal) -> PathBuf {
    let folder = segment::dir_in(journal.data_dir());
    fs::rename(&folder, folder.with_extension("away")).unwrap();
    journal.fill_disk();
    folder
}

fn make_room(folder: &Path) {
    fs::rename(folder.with_extension("away"), folder).unwrap();
}

#[test]
fn an_outcome_that_the_disk_does_not_take_is_written_when_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    journal.intend(&intent(1)).unwrap();
    let folder = full(&journal);
    journal.close(&record(1)).unwrap();
    journal.close(&record(2)).unwrap();
    assert_eq!(journal.unwritten(), 2);
    journal.intend(&intent(3)).unwrap_err();
    journal.make_good().unwrap_err();
    assert_eq!(journal.unwritten(), 2, "a try that fails loses nothing");
    assert_eq!(journal.whole_end(), None, "outcomes are closed that no file has");
    make_room(&folder);
    journal.intend(&intent(4)).unwrap();
    assert_eq!(journal.unwritten(), 0);
    assert_eq!(journal.whole_end(), Some(journal.end()));
    let told = [(Kind::Intent, intent(1)), (Kind::Outcome, record(1)), (Kind::Outcome, record(2))];
    assert_eq!(read(&journal), [&told[..], &[(Kind::Intent, intent(4))]].concat());
}

#[test]
fn outcomes_that_wait_have_a_bound_and_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let folder = full(&journal);
    let long = |id| Record { user: "u".repeat(4_000), ..record(id) };
    let kept = (0..).take_while(|id| journal.close(&long(*id)).is_ok()).count();
    assert_eq!(journal.unwritten(), kept);
    assert!((400..600).contains(&kept), "{kept} of about 4 KiB in 2 MiB for refusals");
    make_room(&folder);
    journal.make_good().unwrap();
    assert_eq!((read(&journal).len(), journal.unwritten()), (kept, 0));
}

// FAULTS L5
#[test]
fn a_full_disk_takes_what_is_at_work_and_nothing_new_until_the_reserve_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let with_reserve = LedgerSection { reserve: Size(1 << 20), ..section(64 << 20) };
    let journal = Journal::open(dir.path(), &with_reserve).unwrap();
    let reserve = dir.path().join("reserve");
    assert!(reserve.exists() && journal.takes_intents());
    let served = |id| Record { attempts: 1, ..record(id) };
    journal.fill_disk();
    journal.close(&record(1)).unwrap();
    assert!(reserve.exists(), "a refusal is not worth the reserve");
    journal.fill_disk();
    journal.close(&served(2)).unwrap();
    assert!(!reserve.exists(), "the room is for what was at work");
    assert!(matches!(journal.intend(&intent(3)), Err(JournalFault::OutOfRoom { .. })));
    assert!(!journal.takes_intents());
    journal.close(&served(4)).unwrap();
    journal.close(&record(5)).unwrap();
    assert_eq!(journal.unwritten(), 1, "a refusal gets none of that room");
    journal.make_good().unwrap();
    assert!(reserve.exists() && journal.unwritten() == 0);
    journal.intend(&intent(6)).unwrap();
    let ids: Vec<u128> = read(&journal).iter().map(|(_, record)| record.id).collect();
    assert_eq!((ids, journal.deferred()), (vec![2, 1, 4, 5, 6], 2));
}

#[test]
fn who_would_rather_serve_is_served_as_long_as_memory_holds_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let best_effort = LedgerSection { when_full: WhenFull::BestEffort, ..section(64 << 20) };
    let journal = Journal::open(dir.path(), &best_effort).unwrap();
    let folder = full(&journal);
    let long = |id| Record { attempts: 1, user: "u".repeat(4_000), ..record(id) };
    let served =
        (0..).take_while(|id| journal.intend(&intent(*id)).is_ok() && journal.close(&long(*id)).is_ok());
    let served = served.count();
    assert!((900..1_200).contains(&served), "{served} of about 4 KiB in 4 MiB");
    assert!(!journal.takes_intents(), "the other half is for those at work");
    make_room(&folder);
    journal.make_good().unwrap();
    assert_eq!((read(&journal).len(), journal.deferred()), (served, served as u64));
}

#[test]
fn what_recovery_closes_must_reach_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir);
    let _folder = full(&journal);
    journal.close_all(&[record(1)]).unwrap_err();
    assert_eq!(journal.unwritten(), 0, "budgets are rebuilt from the files");
}

proptest! {
    #[test]
    fn a_record_reads_back_as_it_was(any in any_record()) {
        let mut body = Vec::new();
        codec::encode(&any, &mut body);
        prop_assert_eq!(codec::decode(&body), Some(any));
    }

    #[test]
    fn no_bytes_break_the_codec(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(record) = codec::decode(&body) {
            prop_assert_eq!(Some(record.id), codec::id(&body));
        }
    }

    #[test]
    fn no_file_breaks_the_reader(rubbish in proptest::collection::vec(any::<u8>(), 0..600), cut in 0..200_usize) {
        let dir = tempfile::tempdir().unwrap();
        drop(open(&dir));
        let mut frame = Vec::new();
        frame::append(&mut frame, Kind::Outcome, |body| codec::encode(&record(7), body));
        let cut = &frame[..cut.min(frame.len() - 1)];
        fs::write(file(&dir, 1), [&segment::HEADER[..], &rubbish, cut, &frame].concat()).unwrap();
        prop_assert_eq!(read(&open(&dir)).last().map(|(_, record)| record.id), Some(7));
    }
}

#[test]
fn texts_without_end_are_cut_at_a_character() {
    let endless = Record { user: "\u{e9}".repeat(9_000), ..record(1) };
    let tags = (0..100).map(|n| (format!("{n:03}"), "v".repeat(9_000))).collect();
    let mut body = Vec::new();
    codec::encode(&Record { tags, ..endless }, &mut body);
    assert!(body.len() < frame::LONGEST_BODY / 2);
    let kept = codec::decode(&body).unwrap();
    assert_eq!((kept.user, kept.tags.len()), ("\u{e9}".repeat(2_048), 64));
}

/// The body of a record with one field, as journals before 2026-11-20 had them.
fn old_body(outcome: &str, attempts: u8) -> Vec<u8> {
    let text = [&[128, u8::try_from(outcome.len()).unwrap()], outcome.as_bytes()].concat();
    // started at 8 ns, zigzag
    [&7_u128.to_be_bytes()[..], &[1, 16, 3, attempts], &text].concat()
}

#[test]
fn records_of_older_journals_are_charged_as_they_began() {
    let admitted_at = |outcome, attempts| codec::decode(&old_body(outcome, attempts)).unwrap().admitted_at;
    assert_eq!(admitted_at("completed", 1), 8);
    assert_eq!(admitted_at("refused", 0), 0);
    assert_eq!(admitted_at("refused", 1), 8, "an answer that could not be passed on");
    let mut body = Vec::new();
    codec::encode(&Record { admitted_at: 0, ..record(1) }, &mut body);
    assert_eq!(codec::decode(&body).unwrap().admitted_at, 0, "a new record means what it says");
}

#[test]
fn json_that_is_too_long_is_left_out_whole() {
    let mut body = Vec::new();
    let long = format!("[\"{}\"]", "x".repeat(64 << 10));
    let fits = format!("[\"{}\"]", "x".repeat(60 << 10));
    codec::encode(&Record { attempt_log: long, extra_usage: fits.clone(), ..record(1) }, &mut body);
    let kept = codec::decode(&body).unwrap();
    assert_eq!((kept.attempt_log, kept.extra_usage), (String::new(), fits));
}

#[test]
fn fields_of_a_newer_tollgate_are_passed_over() {
    let mut body = Vec::new();
    codec::encode(&record(1), &mut body);
    body.extend_from_slice(&[99, 0x85, 0x01, 250, 2, b'h', b'i']);
    assert_eq!(codec::decode(&body), Some(record(1)));
}
