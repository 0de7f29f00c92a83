//! A few threads that count, behind a short queue: counting never runs on an async worker, a full
//! queue says so at once, and a job that panics costs only itself.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::Tokenizer;

/// Something to count. What it finds it sends on itself.
pub type Job = Box<dyn FnOnce(&Tokenizer) + Send>;

/// The counting threads.
pub struct CountingPool {
    queue: Mutex<Option<SyncSender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl CountingPool {
    /// Starts `threads` threads (at least one) behind a queue of `queue` waiting jobs.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(threads: usize, queue: usize) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        let threads = (0..threads.max(1))
            .map(|number| {
                let receiver = Arc::clone(&receiver);
                thread::Builder::new().name(format!("tokens-{number}")).spawn(move || work(&receiver))
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self { queue: Mutex::new(Some(sender)), threads: Mutex::new(threads) })
    }

    /// Queues a job.
    ///
    /// # Errors
    /// Gives the job back when the queue is full or the pool is closed; [`super::rough`] is the way out.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        match held(&self.queue).as_ref() {
            None => Err(job),
            Some(queue) => queue.try_send(job).map_err(|refused| match refused {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }),
        }
    }

    /// Takes no more jobs, finishes the queued ones and ends the threads. Blocks until then; a second
    /// call finds nothing to do.
    pub fn close(&self) {
        drop(held(&self.queue).take());
        let threads = std::mem::take(&mut *held(&self.threads));
        let own = thread::current().id();
        // a job may hold the pool's last reference: its thread must not wait for itself
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != own) {
            // the work loop catches every panic, so there is none to hand on
            let _ = thread.join();
        }
    }
}

impl Drop for CountingPool {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for CountingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountingPool").finish_non_exhaustive()
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // bound first: the lock must be free again before the job runs
        let job = held(queue).recv();
        let Ok(job) = job else { return };
        // what the job holds is dropped by the unwinding, so whoever waits for it hears of it
        let _ = catch_unwind(AssertUnwindSafe(|| job(&Tokenizer)));
    }
}

/// A poisoned lock is taken as it is: no code under these locks can leave them half done.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_closed_pool_has_done_every_job_it_took() {
        let pool = CountingPool::start(2, 64).unwrap();
        let done = Arc::new(AtomicU64::new(0));
        for _ in 0..64 {
            let done = Arc::clone(&done);
            let taken = pool.submit(Box::new(move |tokenizer| {
                done.fetch_add(tokenizer.count("gpt-4o", "hello world").tokens, Ordering::Relaxed);
            }));
            assert!(taken.is_ok());
        }
        pool.close();
        assert_eq!(done.load(Ordering::Relaxed), 128);
        assert!(pool.submit(Box::new(|_| {})).is_err(), "a closed pool takes nothing");
    }

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let pool = CountingPool::start(1, 1).unwrap();
        let gate = Arc::new(Barrier::new(2));
        let running = Arc::new(Barrier::new(2));
        let (inner_gate, inner_running) = (Arc::clone(&gate), Arc::clone(&running));
        let busy: Job = Box::new(move |_| {
            inner_running.wait();
            inner_gate.wait();
        });
        assert!(pool.submit(busy).is_ok());
        running.wait();
        assert!(pool.submit(Box::new(|_| {})).is_ok(), "one may wait");
        assert!(pool.submit(Box::new(|_| {})).is_err(), "a second one may not");
        gate.wait();
    }

    #[test]
    fn a_pool_may_end_in_one_of_its_own_jobs() {
        let pool = Arc::new(CountingPool::start(2, 8).unwrap());
        let (answer, heard) = sync_channel(1);
        let gate = Arc::new(Barrier::new(2));
        let (last, inner_gate) = (Arc::clone(&pool), Arc::clone(&gate));
        let job: Job = Box::new(move |_| {
            inner_gate.wait();
            drop(last);
            answer.send(7).unwrap();
        });
        assert!(pool.submit(job).is_ok());
        drop(pool);
        gate.wait();
        assert_eq!(heard.recv(), Ok(7));
    }

    #[test]
    fn a_job_that_panics_costs_only_itself() {
        let pool = CountingPool::start(1, 8).unwrap();
        let (answer, heard) = sync_channel(1);
        assert!(pool.submit(Box::new(|_| panic!("a job's own fault"))).is_ok());
        assert!(pool.submit(Box::new(move |_| answer.send(7).unwrap())).is_ok());
        assert_eq!(heard.recv(), Ok(7));
    }
}
