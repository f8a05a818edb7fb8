//! The preparation of training batches.

use crate::{Differentiable, Result, Seed};
use candle_core::Tensor;

/// Prepares a batch of training images. Plain training leaves the images unchanged; a defense replaces them by adversarial ones.
pub trait Defense: Send + Sync {
    /// Perturbs images `(n, c, h, w)` with pixels in `[0, 1]`; shape and range stay the same. `frozen` is the model in training
    /// with its current weights, `keys` are the images' indices in the training set; with the epoch they key every random draw.
    ///
    /// # Errors
    /// Any error of the model or of the search.
    fn perturb(&self, frozen: &dyn Differentiable, images: &Tensor, keys: &[u64], epoch: u64, seed: Seed) -> Result<Tensor>;
}
