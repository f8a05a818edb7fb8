//! A model and a defense under watch: every pass is counted, and an interrupt is obeyed before the next one.

use crate::interrupt;
use candle_core::Tensor;
use indicatif::ProgressBar;
use rankle_core::{Defense, Distance, Embedder, Error, Result, Seed, Upstream};
use std::sync::atomic::{AtomicU64, Ordering};

/// Passes through to the model, or answers [`Error::Interrupted`]: no search runs longer than one pass after Ctrl-C.
pub(crate) struct Watched<'a> {
    inner: Box<dyn Embedder + 'a>,
    bar: ProgressBar,
    /// What one image of an input gradient counts for; one embedding counts for one.
    gradient: AtomicU64,
}

impl<'a> Watched<'a> {
    /// Counts into `bar`.
    pub(crate) fn new(inner: Box<dyn Embedder + 'a>, bar: ProgressBar) -> Self {
        Self { inner, bar, gradient: AtomicU64::new(2) }
    }
    /// From here on an input gradient counts for so much.
    pub(crate) fn gradient_counts(&self, units: u64) {
        self.gradient.store(units, Ordering::Relaxed);
    }

    fn pass(&self, images: &Tensor, units: u64) -> Result<()> {
        if interrupt::asked() {
            return Err(Error::Interrupted);
        }
        self.bar.inc(units * images.dims().first().map_or(0, |&n| n as u64));
        Ok(())
    }
}

impl Embedder for Watched<'_> {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        self.pass(images, 1)?;
        self.inner.embed(images)
    }
    fn distance(&self) -> Distance {
        self.inner.distance()
    }
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        self.pass(images, self.gradient.load(Ordering::Relaxed))?;
        self.inner.input_gradient(images, upstream)
    }
}

/// Lets a defense see the model only under watch: its inner search can be interrupted between two passes.
pub(crate) struct WatchedDefense(pub(crate) Box<dyn Defense>);

impl Defense for WatchedDefense {
    fn harden(&self, frozen: &dyn Embedder, images: &Tensor, keys: &[u64], epoch: u64, seed: Seed) -> Result<Tensor> {
        self.0.harden(&Watched::new(Box::new(frozen), ProgressBar::hidden()), images, keys, epoch, seed)
    }
}
