//! Loading of the next batch while the model works on the current one.

use crate::Result;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// Time that the work waited for data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waiting {
    /// Time spent waiting for the next batch.
    pub waited: Duration,
    /// Time from the first request to the end.
    pub total: Duration,
}

impl Waiting {
    /// Share of the time spent waiting, in `[0, 1]`; 0 if no time has passed.
    pub fn share(self) -> f64 {
        if self.total.is_zero() { 0.0 } else { self.waited.as_secs_f64() / self.total.as_secs_f64() }
    }
}

/// Calls `work` with the result of `load` for every job, in order. `load` runs one job ahead on its own thread; its rayon calls
/// run in a separate pool of as many threads as the caller's, so decoding never takes a thread from the model. At most two
/// batches are in memory, the current one and the next. Results do not depend on the timing.
///
/// # Errors
/// The first error of `load` or `work`, in the order of the jobs; no further job is started.
pub fn read_ahead<J: Send, T: Send>(
    jobs: impl Iterator<Item = J> + Send,
    mut load: impl FnMut(J) -> Result<T> + Send,
    mut work: impl FnMut(T) -> Result<()>,
) -> Result<Waiting> {
    // If the pool cannot be built, `load` runs without it.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(rayon::current_num_threads()).build();
    // A queue of length 0: the loader holds a loaded batch until `work` takes it.
    let (sender, receiver) = sync_channel(0);
    thread::scope(|scope| {
        // Dropped before the scope joins the thread: the loader stops when its batch has no receiver.
        let receiver = receiver;
        scope.spawn(move || {
            for job in jobs {
                let loaded = match &pool {
                    Ok(pool) => pool.install(|| load(job)),
                    Err(_) => load(job),
                };
                let last = loaded.is_err();
                // The send fails when the work has ended early.
                if sender.send(loaded).is_err() || last {
                    break;
                }
            }
        });
        let mut waiting = Waiting::default();
        let start = Instant::now();
        loop {
            let before = Instant::now();
            let next = receiver.recv();
            waiting.waited += before.elapsed();
            match next {
                Ok(loaded) => work(loaded?)?,
                Err(_) => break,
            }
        }
        waiting.total = start.elapsed();
        Ok(waiting)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const PAUSE: Duration = Duration::from_millis(20);

    #[test]
    fn jobs_come_in_order_while_the_next_is_loaded() {
        let mut seen = Vec::new();
        let start = Instant::now();
        let load = |job| {
            thread::sleep(PAUSE);
            Ok(10 * job)
        };
        let waiting = read_ahead(0..10, load, |loaded| {
            seen.push(loaded);
            thread::sleep(PAUSE);
            Ok(())
        });
        let (waiting, elapsed) = (waiting.unwrap(), start.elapsed());
        assert_eq!(seen, (0..10).map(|job| 10 * job).collect::<Vec<_>>());
        assert!(waiting.waited >= PAUSE && waiting.waited < waiting.total && waiting.total <= elapsed, "{waiting:?}");
        assert!((0.0..1.0).contains(&waiting.share()));
        assert_eq!(Waiting::default().share(), 0.0);
    }

    #[test]
    fn never_more_than_one_batch_ahead() {
        let loaded = AtomicUsize::new(0);
        let mut worked = 0;
        let load = |_| Ok(loaded.fetch_add(1, Ordering::SeqCst));
        read_ahead(0..50, load, |_| {
            worked += 1;
            thread::sleep(Duration::from_millis(1));
            // The current batch and the next.
            assert!(loaded.load(Ordering::SeqCst) <= worked + 1);
            Ok(())
        })
        .unwrap();
        assert_eq!(worked, 50);
    }

    #[test]
    fn the_first_error_ends_everything() {
        let loads = AtomicUsize::new(0);
        let load = |job| {
            loads.fetch_add(1, Ordering::SeqCst);
            if job == 3 { Err(Error::Empty("loads")) } else { Ok(job) }
        };
        let mut worked = 0;
        let outcome = read_ahead(0..1000, load, |_| {
            worked += 1;
            Ok(())
        });
        assert!(matches!(outcome, Err(Error::Empty("loads"))) && worked == 3 && loads.load(Ordering::SeqCst) == 4);

        let outcome = read_ahead(0..1000, Ok, |job| if job == 3 { Err(Error::Interrupted) } else { Ok(()) });
        assert!(matches!(outcome, Err(Error::Interrupted)));
    }

    /// Also inside a pool of one thread, where a loader that needed that pool would wait forever.
    #[test]
    fn the_pool_of_the_caller_is_left_alone() {
        use rayon::prelude::*;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let load = |job: u64| Ok((0..100).into_par_iter().map(|n| n * job).sum::<u64>());
        let mut sum = 0;
        pool.install(|| {
            read_ahead(1..4, load, |loaded| {
                sum += loaded;
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(sum, 6 * 4950);
    }
}
