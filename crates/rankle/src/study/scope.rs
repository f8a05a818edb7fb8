//! How much is reproduced.

use rankle_report::{Protocol, RunSetting};
use std::fmt;

/// Which cells, on how many images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// How many images are attacked.
    pub(crate) images: usize,
    /// The seed of the images and their targets.
    pub(crate) seed: u64,
    /// Only a slice of the cells, and no long training.
    pub(crate) quick: bool,
}

impl Default for Scope {
    fn default() -> Self {
        Self { images: 1000, seed: 0, quick: false }
    }
}

impl Scope {
    /// The scope of `--quick`.
    pub(crate) const QUICK: Self = Self { images: 100, seed: 0, quick: true };
    /// The scope of `--full`.
    pub(crate) const FULL: Self = Self { images: 10_000, seed: 0, quick: false };

    /// What all cells share.
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
