//! Who looks on while bytes move.

use crate::{Error, Result};
use std::ops::ControlFlow;

/// Asked between small pieces of work, with what is done and, where that is known, what there is to do, in bytes; it may
/// want everything to end.
pub type Watch<'a> = &'a mut dyn Watcher;

/// What can look on: most easily a closure `FnMut(u64, Option<u64>) -> ControlFlow<()>`.
pub trait Watcher {
    /// `done` of `total` bytes are downloaded or unpacked.
    fn moved(&mut self, done: u64, total: Option<u64>) -> ControlFlow<()>;

    /// # Errors
    /// [`Error::Interrupted`] when it wants an end.
    fn see(&mut self, done: u64, total: Option<u64>) -> Result<()> {
        match self.moved(done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }

    /// As [`Watcher::see`], while something is done that is not counted.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when it wants an end.
    fn look(&mut self) -> Result<()> {
        self.see(0, None)
    }
}

impl<F: FnMut(u64, Option<u64>) -> ControlFlow<()>> Watcher for F {
    fn moved(&mut self, done: u64, total: Option<u64>) -> ControlFlow<()> {
        self(done, total)
    }
}

/// Nobody looks on.
pub fn unwatched() -> impl Watcher {
    |_, _| ControlFlow::Continue(())
}
