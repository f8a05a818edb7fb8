//! Size of a run.

use rankle_report::{Protocol, RunSetting};
use std::fmt;

/// Choice of the cells, and the number of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Number of attacked images per cell.
    pub(crate) images: usize,
    /// Seed of the images and their targets.
    pub(crate) seed: u64,
    /// Runs only a slice of the cells, and no long training.
    pub(crate) quick: bool,
}

impl Default for Scope {
    fn default() -> Self {
        Self { images: 1000, seed: 0, quick: false }
    }
}

impl Scope {
    /// Scope of `--quick`.
    pub(crate) const QUICK: Self = Self { images: 100, seed: 0, quick: true };
    /// Scope of `--full`.
    pub(crate) const FULL: Self = Self { images: 10_000, seed: 0, quick: false };

    /// Settings that all cells share.
    pub(crate) fn setting(&self) -> RunSetting {
        RunSetting { protocol: Protocol::Paper, eight_bit: false, images: self.images, seed: self.seed }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = if self.quick { "a slice of the cells" } else { "all cells" };
        write!(f, "{cells}, {} images attacked per cell, seed {}", self.images, self.seed)
    }
}
