//! How far a look at every image of a dataset is.

use crate::{interrupt, progress};
use indicatif::ProgressBar;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// From here on it is worth a line.
const LONG: Duration = Duration::from_secs(5);

/// A bar over the images, which begins with the first of them and goes with this; without a terminal, a line for every tenth.
pub(crate) struct Pass {
    start: Instant,
    bar: OnceLock<ProgressBar>,
}

impl Pass {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), bar: OnceLock::new() }
    }

    /// Shows that `done` of the images were looked at, and says whether to go on.
    pub(crate) fn show(&self, done: usize, of: usize) -> ControlFlow<()> {
        let bar = self.bar.get_or_init(|| progress::bar(of as u64).with_message("looking at the images"));
        bar.set_position(done as u64);
        let tenth = |done: usize| 10 * done / of.max(1);
        if !progress::visible() && tenth(done) > tenth(done.saturating_sub(1)) && self.start.elapsed() > LONG {
            tracing::info!("{done} of {of} images looked at, {:.0} s left", bar.eta().as_secs_f64());
        }
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
