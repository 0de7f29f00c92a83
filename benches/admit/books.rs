//! Requests that pass through the books: by how many threads, at what cost.

use std::sync::Barrier;

use tollgate::store::record::Record;

use crate::Failure;
use crate::house::{House, record};
use crate::report::Figures;

impl House {
    /// CPU per request by so many threads at once on the same key; each in the order of a request, and then
    /// part by part.
    pub(crate) fn measure(&self, threads: usize, requests: u64) -> Result<Figures, Failure> {
        let start = Barrier::new(threads);
        let each = std::thread::scope(|scope| {
            let worker = |number: usize| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    self.work(number, requests / threads as u64)
                })
            };
            let spawned: Vec<_> = (0..threads).map(worker).collect();
            spawned
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
                .collect::<Result<Vec<_>, Failure>>()
        })?;
        Ok(Figures::mean(&each))
    }

    fn work(&self, number: usize, requests: u64) -> Result<Figures, Failure> {
        let mut record = record();
        let next = |record: &mut Record| record.id = record.id.wrapping_add(1 + number as u128 * (1 << 64));
        let (began, clock) = (thread_cpu()?, self.clock.tick());
        for _ in 0..requests {
            next(&mut record);
            let (admission, reservation) = self.reserve();
            self.journal.intend(&record)?;
            self.journal.close(&record)?;
            self.settle(admission, reservation);
        }
        let all = thread_cpu()? - began;
        let wall = self.clock.tick().since(clock);
        let mut parts = [0; 4];
        for _ in 0..requests / BATCH {
            let mut at = thread_cpu()?;
            let mut lap = |part: &mut u64| -> Result<(), Failure> {
                let now = thread_cpu()?;
                *part += now - at;
                at = now;
                Ok(())
            };
            let held: Vec<_> = (0..BATCH).map(|_| self.reserve()).collect();
            lap(&mut parts[0])?;
            for _ in 0..BATCH {
                next(&mut record);
                self.journal.intend(&record)?;
            }
            lap(&mut parts[1])?;
            for _ in 0..BATCH {
                self.journal.close(&record)?;
            }
            lap(&mut parts[2])?;
            for (admission, reservation) in held {
                self.settle(admission, reservation);
            }
            lap(&mut parts[3])?;
        }
        let batched = requests / BATCH * BATCH;
        let wall = u64::try_from(wall.as_nanos())?;
        Ok(Figures { all: all / requests, parts: parts.map(|part| part / batched), wall: wall / requests })
    }
}

/// Requests whose parts are taken together, so that reading the clock costs them nothing.
const BATCH: u64 = 1_000;

/// Nanoseconds that this thread has been on a CPU. The kernel brings the figure up to date when the thread
/// gives way; otherwise it may be as old as the last tick.
fn thread_cpu() -> Result<u64, Failure> {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = text.split(' ').next().ok_or("schedstat is empty")?;
    Ok(first.parse()?)
}
