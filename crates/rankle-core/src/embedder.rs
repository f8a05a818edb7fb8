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
    /// [`Error::NoGradient`] when no gradient reaches the images, and whatever `upstream` reports.
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    /// Embeds by one operation.
    struct By(fn(&Tensor) -> candle_core::Result<Tensor>);

    impl Embedder for By {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            Ok((self.0)(&images.flatten_from(1)?)?)
        }
        fn distance(&self) -> Distance {
            Distance::Euclidean
        }
    }

    /// It was said that the embedding does not depend on the images, which of these only the last does not.
    #[test]
    fn operations_without_a_gradient_are_named() {
        let images = Tensor::ones((2, 1, 2, 2), DType::F32, &Device::Cpu).unwrap();
        let gradient = |embed| By(embed).input_gradient(&images, &mut |embeddings| Ok(embeddings.ones_like()?));
        assert!(gradient(|images| images * 2.0).is_ok());
        for embed in [
            |images: &Tensor| Ok(images.detach()),
            |images: &Tensor| images.to_dtype(DType::U32)?.to_dtype(DType::F32),
            |images: &Tensor| Tensor::new(images.to_vec2::<f32>()?, images.device()),
            |images: &Tensor| images.zeros_like(),
        ] {
            let message = gradient(embed).unwrap_err().to_string();
            for part in ["does not depend on them, or an operation", "detach", "argmax", "a cast to integers", "read back"] {
                assert!(message.contains(part) && message.lines().count() == 1, "{part} in {message}");
            }
        }
    }
}
