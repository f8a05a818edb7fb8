//! Progress of a pass over every image of a dataset.

use crate::{interrupt, progress};
use indicatif::ProgressBar;
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// A progress bar that appears with the first image and disappears when dropped.
#[derive(Default)]
pub(crate) struct Pass {
    bar: OnceLock<ProgressBar>,
}

impl Pass {
    /// Shows that `done` of `of` images were read, and returns whether to go on.
    pub(crate) fn show(&self, done: usize, of: usize) -> ControlFlow<()> {
        let bar = self.bar.get_or_init(|| progress::bar(of as u64).with_message("looking at the images"));
        bar.set_position(done as u64);
        interrupt::flow()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
