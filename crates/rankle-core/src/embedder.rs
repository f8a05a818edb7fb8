//! The two traits of a model.

use crate::{Distance, Error, InputSpec, Result};
use candle_core::{Tensor, Var};

/// The answer to embeddings `(n, d)`: the gradient of a loss with respect to them, `(n, d)`.
pub type Upstream<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// Embeds images as points whose distances define a ranking. Evaluation mode: one image, one embedding.
///
/// A black box says no more. A model whose embeddings can be differentiated is [`Differentiable`], too, and says so in
/// [`Embedder::differentiable`].
pub trait Embedder: Send + Sync {
    /// `(n, c, h, w)`, pixels in `[0, 1]` -> `(n, d)`, not normalized.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Tensor`] when the images do not fit the model.
    fn embed(&self, images: &Tensor) -> Result<Tensor>;

    /// The distance this embedder was trained for.
    fn distance(&self) -> Distance;

    /// The images that it takes.
    fn input(&self) -> InputSpec;

    /// The model as one that can be differentiated, where it is one.
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        None
    }
}

/// An embedder whose embeddings can be differentiated with respect to the pixels: a white box.
///
/// A model built from candle operations needs no method: the provided one goes through automatic differentiation. A model with
/// kernels of its own overrides it.
pub trait Differentiable: Embedder {
    /// The gradient of a per-image loss with respect to the pixels, `(n, c, h, w)`. The weights are frozen. The provided method
    /// goes through candle, whose backward pass computes their gradients all the same and drops them; a model with
    /// kernels of its own saves that work.
    ///
    /// # Errors
    /// [`Error::NoGradient`] when no gradient reaches the images, and whatever `upstream` reports.
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let images = Var::from_tensor(images)?;
        let embeddings = self.embed(images.as_tensor())?;
        let gradient = upstream(&embeddings.detach())?;
        let mut gradients = (embeddings * gradient)?.sum_all()?.backward()?;
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
    fn input(&self) -> InputSpec {
        (**self).input()
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        (**self).differentiable()
    }
}

impl dyn Embedder + '_ {
    /// The model as a white box, for a search that follows its gradient.
    ///
    /// # Errors
    /// [`Error::BlackBox`] where it is none.
    pub fn white_box(&self) -> Result<&dyn Differentiable> {
        self.differentiable().ok_or(Error::BlackBox)
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
        fn input(&self) -> InputSpec {
            InputSpec::of_shape((1, 2, 2))
        }
    }

    impl Differentiable for By {}

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
