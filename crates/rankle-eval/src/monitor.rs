//! How far a study is, and whether it is to go on.

use std::ops::ControlFlow;

/// Hears of every pass of a model before it is made, and may end the study there. The units are those of one embedding. What only ends
/// studies needs no other method; what shows them has a bar behind all of them.
pub trait Monitor: Send + Sync {
    /// So many units of work are begun; [`ControlFlow::Break`] ends the study with [`rankle_core::Error::Interrupted`].
    fn advance(&self, units: u64) -> ControlFlow<()>;
    /// How many units are done; 0 where nobody counts.
    fn done(&self) -> u64 {
        0
    }
    /// Sets how many are done: what was estimated is put right, and what was remembered is counted.
    fn set_done(&self, _units: u64) {}
    /// Counts what an earlier run has done: it says nothing of the pace.
    fn skip(&self, _units: u64) {}
    /// How many there will be in all; 0 where nobody knows.
    fn total(&self) -> u64 {
        0
    }
    /// Says what is worked on.
    fn enter(&self, _what: &str) {}
    /// Tells of something that is done, where nobody sees a bar.
    fn news(&self, _line: &str) {}
}

/// A monitor that ends nothing and says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Monitor for Unwatched {
    fn advance(&self, _units: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
