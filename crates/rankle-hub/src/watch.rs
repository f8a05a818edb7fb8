//! Progress and interruption of downloads.

use crate::{Error, Result};
use std::ops::ControlFlow;

/// Watcher as an argument. It is called between small pieces of work, with the progress in bytes, and may interrupt the work.
pub type Watch<'a> = &'a mut dyn Watcher;

/// Observer of a download or an archive. The simplest is a closure `FnMut(u64, Option<u64>) -> ControlFlow<()>`.
pub trait Watcher {
    /// Reports that `done` of `total` bytes are downloaded or unpacked. `Break` interrupts the work.
    fn moved(&mut self, done: u64, total: Option<u64>) -> ControlFlow<()>;

    /// Receives a line for the user, for example which process has the lock. Ignored by default; [`telling`] passes it on.
    fn tell(&mut self, line: &str) {
        let _ = line;
    }

    /// Calls [`Watcher::moved`].
    ///
    /// # Errors
    /// [`Error::Interrupted`] when it breaks.
    fn see(&mut self, done: u64, total: Option<u64>) -> Result<()> {
        match self.moved(done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        }
    }

    /// Calls [`Watcher::see`] without progress, during work that is not counted in bytes.
    ///
    /// # Errors
    /// As [`Watcher::see`].
    fn look(&mut self) -> Result<()> {
        self.see(0, None)
    }
}

impl<F: FnMut(u64, Option<u64>) -> ControlFlow<()>> Watcher for F {
    fn moved(&mut self, done: u64, total: Option<u64>) -> ControlFlow<()> {
        self(done, total)
    }
}

/// Watcher that ignores progress and never interrupts.
pub fn unwatched() -> impl Watcher {
    |_, _| ControlFlow::Continue(())
}

/// Watcher that reports progress to `watch` and passes lines for the user to `tell`.
pub fn telling(watch: impl Watcher, tell: impl FnMut(&str)) -> impl Watcher {
    Telling { watch, tell }
}

struct Telling<W, T> {
    watch: W,
    tell: T,
}

impl<W: Watcher, T: FnMut(&str)> Watcher for Telling<W, T> {
    fn moved(&mut self, done: u64, total: Option<u64>) -> ControlFlow<()> {
        self.watch.moved(done, total)
    }

    fn tell(&mut self, line: &str) {
        (self.tell)(line);
    }
}
