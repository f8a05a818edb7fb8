//! A memory budget shared by all threads of the process.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A number of bytes. A thread takes a share before it allocates memory, and waits until that share is free.
///
/// A thread that holds a share never waits for another thread, so every share is returned and no thread waits forever. Shares of
/// two budgets are always taken in the same order.
pub(super) struct Budget {
    all: u64,
    taken: Mutex<u64>,
    returned: Condvar,
}

/// A part of a budget; returned when dropped.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(super) const fn new(all: u64) -> Self {
        Self { all, taken: Mutex::new(0), returned: Condvar::new() }
    }

    /// Waits until `bytes` are free. A request above the whole budget takes all of it, so it runs alone.
    pub(super) fn take(&self, bytes: u64) -> Share<'_> {
        let bytes = bytes.min(self.all);
        let mut taken = self.lock();
        while bytes > self.all - *taken {
            taken = self.returned.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += bytes;
        Share { budget: self, bytes }
    }

    /// Locks the count. It is never half-written, so it is usable after a panic, too.
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.lock() -= self.bytes;
        self.budget.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::thread;

    #[test]
    fn no_more_than_everything_is_taken_and_who_wants_more_is_alone() {
        let budget = Budget::new(10);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..8u64 {
                let (budget, now, most) = (&budget, &now, &most);
                scope.spawn(move || {
                    for turn in 0..50 {
                        let wanted = [1, 3, 6, 25][(thread + turn) as usize % 4];
                        let share = budget.take(wanted);
                        let together = now.fetch_add(wanted, SeqCst) + wanted;
                        most.fetch_max(together, SeqCst);
                        assert!(together <= 10 || together == 25, "{together}");
                        thread::yield_now();
                        now.fetch_sub(wanted, SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!((*budget.lock(), most.load(SeqCst)), (0, 25));
    }
}
