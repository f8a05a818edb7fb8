//! The interface of searches inside a ball.

use crate::{Objective, Threat};
use candle_core::Tensor;
use rankle_core::{Differentiable, Embedder, Error, Place, Result, Seed};

/// The images of one batch and the loss that a solver lowers on them.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The clean images, `(n, c, h, w)`, pixels in `[0, 1]`.
    pub images: &'a Tensor,
    /// Indices of the images in their dataset. They key every random draw, so that no result depends on the batch of an image.
    pub keys: &'a [u64],
    /// The loss to lower.
    pub objective: &'a dyn Objective,
    /// The seed of every draw.
    pub seed: Seed,
    /// Compute backend of the search, which holds the images.
    pub place: &'a Place,
}

impl Problem<'_> {
    /// Checks that there is one key per image.
    pub(crate) fn check(&self) -> Result<()> {
        if self.images.dims().first() == Some(&self.keys.len()) {
            return Ok(());
        }
        let expected = format!("({}, c, h, w), one image per key", self.keys.len());
        Err(Error::Shape { what: "the batch of images", actual: self.images.dims().to_vec(), expected })
    }
}

/// Searches the ball around each image for the lowest loss. `M` is the model interface that it needs: [`Differentiable`] for a
/// white-box search, [`Embedder`] for a black-box search. A solver that does not use the model takes any.
pub trait Solver<M: Embedder + ?Sized = dyn Differentiable>: Send + Sync {
    /// Norm and radius of the ball.
    fn threat(&self) -> Threat;

    /// Moves the images of a problem inside the ball.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one key per image, and the errors of the model and the objective.
    fn solve(&self, model: &M, problem: &Problem<'_>) -> Result<Tensor>;
}
