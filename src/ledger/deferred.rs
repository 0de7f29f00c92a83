//! What is still to be billed: answers that only said that the work has begun. Each is billed once, by whoever
//! takes it out: a read that tells its usage, or its deadline.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::clock::Timestamp;
use crate::store::record::Record;

/// One answer that is still to be billed, and what is held for it.
#[derive(Debug)]
pub struct Owed<H> {
    /// The row that deferred it.
    pub row: Record,
    /// What its bill is settled with.
    pub held: H,
}

/// All of them, by upstream and the upstream's id of the answer.
#[derive(Debug)]
pub struct Deferred<H> {
    entries: Mutex<Entries<H>>,
    most: usize,
}

#[derive(Debug)]
struct Entries<H> {
    by_answer: HashMap<Answer, Owed<H>>,
    /// Oldest first.
    in_order: BTreeMap<(i64, u128), Answer>,
    /// Files that batches wrote their answers to.
    by_file: HashMap<Answer, Answer>,
}

/// An upstream, and its id of something.
type Answer = (Box<str>, Box<str>);

impl<H> Deferred<H> {
    /// None yet, and never more than `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let entries =
            Entries { by_answer: HashMap::new(), in_order: BTreeMap::new(), by_file: HashMap::new() };
        Self { entries: Mutex::new(entries), most }
    }

    /// Notes what is owed. Returns what has no place beside it, to be billed at once: when there are too many, the
    /// oldest of the team that has most, so that no team can push out another's; or an earlier one of the same id.
    #[must_use = "what has no place is billed now or never"]
    pub fn note(&self, owed: Owed<H>) -> Option<Owed<H>> {
        let mut entries = self.lock();
        let answer = key(&owed.row.upstream, &owed.row.answer_id);
        let same = entries.take(&answer);
        let displaced = same
            .or_else(|| if entries.by_answer.len() >= self.most { entries.oldest_of_most() } else { None });
        entries.in_order.insert((owed.row.started_at, owed.row.id), answer.clone());
        entries.by_answer.insert(answer, owed);
        displaced
    }

    /// Takes an answer out to be billed: whoever gets it bills it, and nobody else does.
    pub fn take(&self, upstream: &str, answer_id: &str) -> Option<Owed<H>> {
        self.lock().take(&key(upstream, answer_id))
    }

    /// Takes a batch out by the file that has its answers.
    pub fn take_by_file(&self, upstream: &str, file: &str) -> Option<Owed<H>> {
        let mut entries = self.lock();
        let answer = entries.by_file.get(&key(upstream, file))?.clone();
        entries.take(&answer)
    }

    /// Takes out the oldest one that began at `before` or earlier and that `is_due`.
    pub fn take_due(&self, before: Timestamp, is_due: impl Fn(&Record) -> bool) -> Option<Owed<H>> {
        let mut entries = self.lock();
        let old = entries.in_order.range(..=(before.as_nanos(), u128::MAX)).map(|(_, answer)| answer);
        let is_due = |answer: &&Answer| entries.by_answer.get(*answer).is_some_and(|owed| is_due(&owed.row));
        let answer = old.clone().find(is_due)?.clone();
        entries.take(&answer)
    }

    /// Whether the file has the answers of a batch that is still to be billed.
    #[must_use]
    pub fn knows_file(&self, upstream: &str, file: &str) -> bool {
        let entries = self.lock();
        !entries.by_file.is_empty() && entries.by_file.contains_key(&key(upstream, file))
    }

    /// Notes which file has the answers of a batch: one, the last that was named. Returns the id of its row, if that is news.
    pub fn note_file(&self, upstream: &str, answer_id: &str, file: &str) -> Option<u128> {
        let mut entries = self.lock();
        let answer = key(upstream, answer_id);
        let id = entries.by_answer.get(&answer)?.row.id;
        let file = key(upstream, file);
        if entries.by_file.get(&file) == Some(&answer) {
            return None;
        }
        entries.by_file.retain(|_, of| *of != answer);
        entries.by_file.insert(file, answer);
        Some(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().by_answer.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Entries<H>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> Entries<H> {
    fn take(&mut self, answer: &Answer) -> Option<Owed<H>> {
        let owed = self.by_answer.remove(answer)?;
        self.in_order.remove(&(owed.row.started_at, owed.row.id));
        self.by_file.retain(|_, of| of != answer);
        Some(owed)
    }

    /// Only when all places are taken: a look at each is dear.
    fn oldest_of_most(&mut self) -> Option<Owed<H>> {
        let mut by_team = BTreeMap::<&str, usize>::new();
        for owed in self.by_answer.values() {
            *by_team.entry(&owed.row.team).or_default() += 1;
        }
        let (team, _) = by_team.into_iter().max_by_key(|(_, count)| *count)?;
        let is_theirs =
            |answer: &&Answer| self.by_answer.get(*answer).is_some_and(|owed| owed.row.team == team);
        let answer = self.in_order.values().find(is_theirs)?.clone();
        self.take(&answer)
    }
}

fn key(upstream: &str, id: &str) -> Answer {
    (upstream.into(), id.into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::samples::record;

    fn owed(id: u128, answer_id: &str) -> Owed<()> {
        let started_at = i64::try_from(id).unwrap();
        let row = Record { upstream: "a".into(), answer_id: answer_id.into(), started_at, ..record(id) };
        Owed { row, held: () }
    }

    fn ids(found: Option<Owed<()>>) -> Option<u128> {
        found.map(|owed| owed.row.id)
    }

    #[test]
    fn each_is_taken_once_and_only_at_its_own_upstream() {
        let deferred = Deferred::new(10);
        assert!(deferred.note(owed(1, "resp_1")).is_none());
        assert!(deferred.take("b", "resp_1").is_none() && deferred.take("a", "resp_2").is_none());
        assert_eq!(ids(deferred.take("a", "resp_1")), Some(1));
        assert!(deferred.take("a", "resp_1").is_none() && deferred.is_empty());
    }

    #[test]
    fn two_reads_at_one_moment_bill_once() {
        let deferred = Deferred::new(1_000);
        (0..1_000).for_each(|id| assert!(deferred.note(owed(id, &id.to_string())).is_none()));
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let found = (0..1_000).filter(|id: &u32| deferred.take("a", &id.to_string()).is_some());
                    taken.fetch_add(found.count(), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(taken.load(Ordering::Relaxed), 1_000);
    }

    #[test]
    fn what_has_no_place_is_handed_back_the_oldest_first() {
        let deferred = Deferred::new(2);
        assert!(deferred.note(owed(2, "b")).is_none() && deferred.note(owed(1, "a")).is_none());
        assert_eq!(ids(deferred.note(owed(3, "c"))), Some(1));
        assert_eq!(ids(deferred.note(owed(4, "b"))), Some(2), "an id that comes again");
        assert_eq!(deferred.len(), 2);
    }

    #[test]
    fn no_team_pushes_out_another_ones() {
        let deferred = Deferred::new(3);
        let of = |team: &str, id: u128| {
            let owed = owed(id, &id.to_string());
            Owed { row: Record { team: team.into(), ..owed.row }, ..owed }
        };
        assert!(deferred.note(of("quiet", 1)).is_none());
        assert!(deferred.note(of("busy", 2)).is_none() && deferred.note(of("busy", 3)).is_none());
        assert_eq!(ids(deferred.note(of("busy", 4))), Some(2));
        assert_eq!(ids(deferred.note(of("quiet", 5))), Some(3));
    }

    #[test]
    fn what_nobody_fetched_falls_due_in_order() {
        let deferred = Deferred::new(10);
        (1..=4).for_each(|id| assert!(deferred.note(owed(id, &id.to_string())).is_none()));
        let due = |before| ids(deferred.take_due(Timestamp::from_nanos(before), |row| row.id != 2));
        assert_eq!((due(0), due(3), due(3), due(3)), (None, Some(1), Some(3), None));
        assert_eq!(deferred.len(), 2);
    }

    #[test]
    fn a_batch_is_found_by_its_file_as_long_as_it_is_not_billed() {
        let deferred = Deferred::new(10);
        assert!(deferred.note(owed(1, "batch_1")).is_none());
        assert_eq!(deferred.note_file("a", "batch_2", "file_1"), None);
        assert_eq!(deferred.note_file("a", "batch_1", "file_1"), Some(1));
        assert_eq!(deferred.note_file("a", "batch_1", "file_1"), None, "no news");
        assert_eq!(deferred.note_file("a", "batch_1", "file_0"), Some(1));
        assert!(!deferred.knows_file("a", "file_1"), "the files of one batch do not pile up");
        assert_eq!(deferred.note_file("a", "batch_1", "file_1"), Some(1));
        assert!(deferred.knows_file("a", "file_1") && !deferred.knows_file("b", "file_1"));
        assert_eq!(ids(deferred.take_by_file("a", "file_1")), Some(1));
        assert!(!deferred.knows_file("a", "file_1") && deferred.take("a", "batch_1").is_none());
    }
}
