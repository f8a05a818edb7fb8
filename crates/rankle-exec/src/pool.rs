//! Copies of a program that work at the same time.

use crate::child::Child;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Running copies, at most `limit`. One is started when all others are at work.
pub(crate) struct Pool {
    limit: usize,
    state: Mutex<State>,
    returned: Condvar,
}

struct State {
    idle: Vec<Child>,
    /// Number of copies, idle or at work.
    running: usize,
}

impl Pool {
    /// A pool that begins with a copy that was started already.
    pub(crate) fn of(first: Child, limit: usize) -> Self {
        Self { limit: limit.max(1), state: Mutex::new(State { idle: vec![first], running: 1 }), returned: Condvar::new() }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Lends a copy to `work`; `start` starts one if need be. A copy that fails is ended.
    pub(crate) fn lend<T, E>(
        &self,
        start: impl FnOnce() -> Result<Child, E>,
        work: impl FnOnce(&mut Child) -> Result<T, E>,
    ) -> Result<T, E> {
        let child = self.take().map_or_else(start, Ok);
        let done = child.and_then(|mut child| work(&mut child).map(|answer| (answer, child)));
        let mut state = self.state();
        let answer = match done {
            Ok((answer, child)) => {
                state.idle.push(child);
                Ok(answer)
            }
            Err(error) => {
                state.running -= 1;
                Err(error)
            }
        };
        self.returned.notify_one();
        answer
    }

    /// An idle copy, or `None` where another one may be started. Waits while all are at work.
    fn take(&self) -> Option<Child> {
        let mut state = self.state();
        loop {
            if let Some(child) = state.idle.pop() {
                return Some(child);
            }
            if state.running < self.limit {
                state.running += 1;
                return None;
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // All at once, so that they end at the same time; each is then waited for.
        self.state().idle.iter_mut().for_each(Child::dismiss);
    }
}
