//! Progress and interruption of a study.

use std::ops::ControlFlow;

/// Receives every pass of a model before it runs, and may end the study there. One unit is the embedding of one image. A monitor
/// that only ends studies needs no other method than [`Monitor::advance`]; the others serve a progress bar.
pub trait Monitor: Send + Sync {
    /// Announces work of this many units; [`ControlFlow::Break`] ends the study with [`rankle_core::Error::Interrupted`].
    fn advance(&self, units: u64) -> ControlFlow<()>;
    /// Number of units done; 0 if they are not counted.
    fn done(&self) -> u64 {
        0
    }
    /// Sets the number of units done, to correct it after a cell.
    fn set_done(&self, _units: u64) {}
    /// Counts units that an earlier run or another process has done, which must not change the estimated pace.
    fn skip(&self, _units: u64) {}
    /// Number of units in all; 0 if unknown.
    fn total(&self) -> u64 {
        0
    }
    /// Names the current work.
    fn enter(&self, _what: &str) {}
    /// Reports finished work if no progress bar is visible.
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
