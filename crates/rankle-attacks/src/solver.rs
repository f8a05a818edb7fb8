//! How a ball is searched.

use crate::{Objective, Threat};
use candle_core::Tensor;
use rankle_core::{Differentiable, Embedder, Error, Place, Result, Seed};

/// The images of one batch, and what a solver is to do with them.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// The clean images, `(n, c, h, w)`, pixels in `[0, 1]`.
    pub images: &'a Tensor,
    /// The images' indices in their dataset: they key every random draw, so that no result depends on the batch an image is in.
    pub keys: &'a [u64],
    /// The loss to lower.
    pub objective: &'a dyn Objective,
    /// The seed of every draw.
    pub seed: Seed,
    /// Where losses are compared, and the images are.
    pub place: &'a Place,
}

impl Problem<'_> {
    /// Whether there is a key for each image.
    pub(crate) fn check(&self) -> Result<()> {
        if self.images.dims().first() == Some(&self.keys.len()) {
            return Ok(());
        }
        let expected = format!("({}, c, h, w), one image per key", self.keys.len());
        Err(Error::Shape { what: "the batch of images", actual: self.images.dims().to_vec(), expected })
    }
}

/// Searches the ball around each image for the lowest loss. `M` is what it must know of the model: a white-box search asks for a
/// [`Differentiable`] one, a black-box search for an [`Embedder`], and what asks nothing takes any.
pub trait Solver<M: Embedder + ?Sized = dyn Differentiable>: Send + Sync {
    /// What the search may do to an image.
    fn threat(&self) -> Threat;

    /// Moves the images of a problem inside the ball.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one key per image, and what the model and the objective report.
    fn solve(&self, model: &M, problem: &Problem<'_>) -> Result<Tensor>;
}
