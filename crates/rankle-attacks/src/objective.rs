//! The loss of an attack.

use candle_core::Tensor;
use rankle_core::{Evaluation, Result, Score};

/// A loss of the embeddings of one batch, lower for a stronger attack. Row `i` of the embeddings is image `i` of the batch.
pub trait Objective: Send + Sync {
    /// The loss of each image and its exact gradient, at raw embeddings `(n, d)` as the embedder returns them.
    ///
    /// # Errors
    /// [`rankle_core::Error::Shape`] when the embeddings are not those of the batch.
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation>;

    /// The loss of each image, and its rank if [`Objective::evaluate`] counts it, the same to the last bit: for a search without
    /// gradients. The default computes the gradient, too.
    ///
    /// # Errors
    /// As [`Objective::evaluate`].
    fn score(&self, raw: &Tensor) -> Result<Score> {
        self.evaluate(raw).map(Score::from)
    }

    /// The rank of each image, `(n)`, as in [`Evaluation::rank`], for a loss whose evaluation does not count it. `None`, the default,
    /// for an attack that is after the loss itself.
    ///
    /// # Errors
    /// As [`Objective::evaluate`].
    fn rank(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        let _ = raw;
        Ok(None)
    }

    /// The gradient `(n, d)` of the first step of a search from the clean images, for a loss that has no gradient there (the
    /// embedding shift under cosine distance). `None`, the default, follows the loss.
    ///
    /// # Errors
    /// As [`Objective::evaluate`].
    fn first_gradient(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        let _ = raw;
        Ok(None)
    }
}
