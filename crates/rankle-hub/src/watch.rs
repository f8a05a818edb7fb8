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

    /// A line for a person: for whom it waits, for example. Nobody hears it unless it was asked for, as [`telling`] does.
    fn tell(&mut self, line: &str) {
        let _ = line;
    }

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

/// Looks on as `watch` does, and hands every line that is for a person to `tell`.
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
