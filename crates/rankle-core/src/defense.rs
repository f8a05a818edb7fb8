//! What happens to a training batch before the model learns from it.

use crate::{Differentiable, Result, Seed};
use candle_core::Tensor;

/// Prepares a batch of training images. Plain training changes nothing; a defense replaces images by adversarial ones.
pub trait Defense: Send + Sync {
    /// `(n, c, h, w)` to the same shape, pixels in `[0, 1]`. `frozen` is the model in training as it stands, `keys` are the
    /// images' indices in the training set; with the epoch they key every random draw.
    ///
    /// # Errors
    /// Whatever the model or the search reports.
    fn perturb(&self, frozen: &dyn Differentiable, images: &Tensor, keys: &[u64], epoch: u64, seed: Seed) -> Result<Tensor>;
}
