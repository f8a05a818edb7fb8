//! What an attacker wants of a batch of images.

use candle_core::Tensor;
use rankle_core::{Evaluation, Result};

/// A loss of embeddings, lower for a stronger attack, bound to one batch: row `i` of the embeddings is image `i` of that batch.
pub trait Objective: Send + Sync {
    /// The loss of each image and its exact gradient, at raw embeddings `(n, d)` as the embedder returns them.
    ///
    /// # Errors
    /// [`rankle_core::Error::Shape`] when the embeddings are not those of the batch it is bound to.
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation>;

    /// The gradient `(n, d)` to follow in the first step of a search that starts at the clean images, for a loss that has none
    /// there (the embedding shift under cosine distance). `None`, as for all others: follow the loss.
    ///
    /// # Errors
    /// As [`Objective::evaluate`].
    fn first_gradient(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        let _ = raw;
        Ok(None)
    }
}
