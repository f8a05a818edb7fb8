//! How far a study is, and whether it is to go on.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

/// Hears of every pass of a model before it is made, and may end the study there. The units are those of one embedding.
pub trait Monitor: Send + Sync {
    /// So many units of work are begun; [`ControlFlow::Break`] ends the study with [`rankle_core::Error::Interrupted`].
    fn advance(&self, units: u64) -> ControlFlow<()>;
    /// How many units are done.
    fn done(&self) -> u64;
    /// Sets how many are done: what was estimated is put right, and what was remembered is counted.
    fn set_done(&self, units: u64);
    /// Counts what an earlier run has done: it says nothing of the pace.
    fn skip(&self, units: u64);
    /// How many there will be in all; 0 where nobody knows.
    fn total(&self) -> u64;
    /// Says what is worked on.
    fn enter(&self, what: &str);
    /// Tells of something that is done, where nobody sees a bar.
    fn news(&self, line: &str);
}

/// A monitor that counts and says nothing.
#[derive(Debug, Default)]
pub struct Unwatched(AtomicU64);

impl Monitor for Unwatched {
    fn advance(&self, units: u64) -> ControlFlow<()> {
        self.0.fetch_add(units, Ordering::Relaxed);
        ControlFlow::Continue(())
    }
    fn done(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn set_done(&self, units: u64) {
        self.0.store(units, Ordering::Relaxed);
    }
    fn skip(&self, units: u64) {
        self.0.fetch_add(units, Ordering::Relaxed);
    }
    fn total(&self) -> u64 {
        0
    }
    fn enter(&self, _what: &str) {}
    fn news(&self, _line: &str) {}
}
