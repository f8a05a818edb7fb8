//! The one trait to implement to bring another backbone.

use crate::{Distance, Error, Result};
use candle_core::{Tensor, Var};

/// What an input gradient needs to know: `(n, d)` embeddings in, `(n, d)` slope of the loss with respect to them out.
pub type Upstream<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// Turns images into points whose distances define a ranking. Evaluation mode: one image, one embedding.
///
/// One method is enough for a new backbone built from candle operations; [`Embedder::input_gradient`] then goes through
/// candle's automatic differentiation. A model with kernels of its own overrides it.
pub trait Embedder: Send + Sync {
    /// `(n, c, h, w)`, pixels in `[0, 1]` -> `(n, d)`, not normalised.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Tensor`] when the images do not fit the model.
    fn embed(&self, images: &Tensor) -> Result<Tensor>;

    /// The distance this embedder was trained for.
    fn distance(&self) -> Distance;

    /// The slope of a per-image loss with respect to the pixels, `(n, c, h, w)`. The weights are frozen. The provided method
    /// goes through candle, whose backward pass computes their gradients all the same and drops them; a model with
    /// kernels of its own saves that work.
    ///
    /// # Errors
    /// [`Error::NoGradient`] when the embedding does not depend on the images, and whatever `upstream` reports.
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let images = Var::from_tensor(images)?;
        let embeddings = self.embed(images.as_tensor())?;
        let slope = upstream(&embeddings.detach())?;
        let mut gradients = (embeddings * slope)?.sum_all()?.backward()?;
        gradients.remove(images.as_tensor()).ok_or(Error::NoGradient)
    }
}

impl<E: Embedder + ?Sized> Embedder for &E {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        (**self).embed(images)
    }
    fn distance(&self) -> Distance {
        (**self).distance()
    }
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        (**self).input_gradient(images, upstream)
    }
}
