//! The two traits of a model: black box and white box.

use crate::{Distance, Error, InputSpec, Place, Result};
use candle_core::{Tensor, Var};

/// A function from embeddings `(n, d)` to the gradient of a loss with respect to them, `(n, d)`.
pub type Upstream<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// Asks for the gradient of embeddings of shape `(n, d)`, as a model does in its backward pass: on their device, of their type.
///
/// # Errors
/// [`Error::Shape`] for a gradient of another shape; the upstream's own.
pub fn upstream_gradient(embeddings: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
    let gradient = upstream(&embeddings.detach())?;
    if gradient.dims() != embeddings.dims() {
        let (n, size) = embeddings.dims2()?;
        let expected = format!("({n}, {size})");
        return Err(Error::Shape { what: "the gradient", actual: gradient.dims().to_vec(), expected });
    }
    Ok(gradient.detach().to_device(embeddings.device())?.to_dtype(embeddings.dtype())?)
}

/// Embeds images as points whose distances define a ranking. Evaluation mode: an embedding depends on its image alone.
///
/// A black box implements this trait only. A model whose embeddings can be differentiated also implements [`Differentiable`] and
/// returns itself from [`Embedder::differentiable`].
pub trait Embedder: Send + Sync {
    /// Embeds images `(n, c, h, w)`, pixels in `[0, 1]`, as `(n, d)`, not normalized.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Tensor`] when the images do not fit the model.
    fn embed(&self, images: &Tensor) -> Result<Tensor>;

    /// The distance this embedder was trained for.
    fn distance(&self) -> Distance;

    /// The images that this embedder takes.
    fn input(&self) -> InputSpec;

    /// Compute backend of the model, and so of searches on it; a model on a GPU returns [`Place::Tensors`] with its device.
    fn place(&self) -> Place {
        Place::Kernels
    }

    /// The model as a white box; `None` if it is a black box.
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        None
    }
}

/// An embedder whose embeddings can be differentiated with respect to the pixels: a white box.
///
/// A model built from candle operations implements no method: the provided one uses automatic differentiation. A model with
/// kernels of its own overrides it.
pub trait Differentiable: Embedder {
    /// The gradient of a per-image loss with respect to the pixels, `(n, c, h, w)`; the weights are frozen. The provided method
    /// uses candle, whose backward pass also computes weight gradients, and drops them; a model with kernels saves that work.
    ///
    /// # Errors
    /// [`Error::NoGradient`] when no gradient reaches the images, and any error of the embedder or of `upstream`.
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
    fn place(&self) -> Place {
        (**self).place()
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        (**self).differentiable()
    }
}

impl dyn Embedder + '_ {
    /// The model as a white box, for a gradient-based search.
    ///
    /// # Errors
    /// [`Error::BlackBox`] if it is a black box.
    pub fn white_box(&self) -> Result<&dyn Differentiable> {
        self.differentiable().ok_or(Error::BlackBox)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

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

    /// The message once claimed that the embedding does not depend on the images, which is true of the last case only.
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
