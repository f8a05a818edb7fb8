//! The two seams: what an attacker wants, and how it is searched for.

use crate::Threat;
use candle_core::Tensor;
use rankle_core::{Embedder, Result, Seed};

/// A loss and its slope at the embeddings of one batch.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// One loss per image; lower is better for the attacker.
    pub loss: Vec<f64>,
    /// `(n, d)`: the derivative of each image's own loss with respect to its raw embedding.
    pub slope: Tensor,
}

/// What a search tries to lower. Bound to one batch: row `i` of the embeddings is image `i` of that batch.
pub trait Aim: Send + Sync {
    /// Raw embeddings `(n, d)`, as the embedder returns them, to a loss per image and its exact slope.
    ///
    /// # Errors
    /// [`rankle_core::Error::Shape`] when the embeddings are not those of the batch it is bound to.
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation>;

    /// The slope `(n, d)` to follow in the first step of a search that starts at the clean images, for a loss that has no
    /// slope there (the embedding shift under cosine distance). `None`, as for all others: follow the loss.
    ///
    /// # Errors
    /// As [`Aim::evaluate`].
    fn first_slope(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        let _ = raw;
        Ok(None)
    }
}

/// Searches the ball around each image for the lowest loss.
pub trait Solver: Send + Sync {
    /// What the search may do to an image.
    fn threat(&self) -> Threat;

    /// Moves `images` `(n, c, h, w)`, pixels in `[0, 1]`, inside the ball. `keys` are the images' indices in their dataset:
    /// they key every random draw, so that no result depends on the batch an image is in.
    ///
    /// # Errors
    /// [`rankle_core::Error::Shape`] when there is not one key per image, and what the embedder and the aim report.
    fn solve(&self, embedder: &dyn Embedder, images: &Tensor, keys: &[u64], aim: &dyn Aim, seed: Seed) -> Result<Tensor>;
}
