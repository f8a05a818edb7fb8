//! How far a look at every image of a dataset is.

use crate::{interrupt, progress};
use indicatif::ProgressBar;
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// A bar over the images, which begins with the first of them and goes with this.
#[derive(Default)]
pub(crate) struct Pass {
    bar: OnceLock<ProgressBar>,
}

impl Pass {
    /// Shows that `done` of the images were looked at, and says whether to go on.
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
