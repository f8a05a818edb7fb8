//! The compute backend of a search.

use crate::numbers::numbers;
use crate::{Distance, Embeddings, Error, Evaluation, Gallery, Ranking, Result, classes, kernels, tensors};
use candle_core::{Device, Tensor};

/// Compute backend of a model ([`crate::Embedder::place`]) and of all searches on it. The device of a tensor does not determine
/// it, since kernels and candle's operations both run on [`Device::Cpu`].
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// rankle's kernels on the CPU: fast, and bit-identical within one instruction set.
    #[default]
    Kernels,
    /// candle's operations on a device. A search by gradient descent reads nothing back to the host.
    Tensors(Device),
}

impl Place {
    /// The device of its tensors.
    pub fn device(&self) -> &Device {
        match self {
            Self::Kernels => &Device::Cpu,
            Self::Tensors(device) => device,
        }
    }

    /// Copies images to the device of this backend; [`Place::Kernels`] leaves them where they are.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when they cannot be copied.
    pub fn to_device(&self, images: &Tensor) -> Result<Tensor> {
        match self {
            Self::Kernels => Ok(images.clone()),
            Self::Tensors(device) => Ok(images.to_device(device)?),
        }
    }

    /// Maps raw embeddings `(n, d)` into the space of a distance: onto the unit sphere for cosine, unchanged for Euclidean. Under
    /// cosine a zero vector stays zero, at distance 1 from every embedding; [`Embeddings::check`] refuses it.
    ///
    /// # Errors
    /// [`Error::Shape`] when `raw` is not a matrix, or has no columns.
    pub fn normalize(&self, distance: Distance, raw: &Tensor) -> Result<Embeddings> {
        if !matches!(raw.dims(), &[_, dim] if dim > 0) {
            return Err(Error::Shape { what: "the embedding", actual: raw.dims().to_vec(), expected: "(n, d)".into() });
        }
        let (rows, norms) = match self {
            Self::Kernels => kernels::normalize(distance, raw)?,
            Self::Tensors(device) => tensors::normalize(distance, &raw.to_device(device)?)?,
        };
        Embeddings::new(rows, norms, distance, self.clone())
    }

    /// The cross-entropy of each row of logits `(n, classes)` with its label, and its gradient.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one label per row, [`Error::Index`] for a label without a logit.
    pub fn cross_entropy(&self, logits: &Tensor, labels: &[u32]) -> Result<Evaluation> {
        let &[_, classes] = logits.dims() else {
            return Err(Error::Shape { what: "the logits", actual: logits.dims().to_vec(), expected: "(n, classes)".into() });
        };
        match self {
            Self::Kernels => {
                let (losses, gradient) = classes::cross_entropy(&numbers(logits)?, classes, labels)?;
                let gradient = Tensor::from_vec(gradient, logits.shape(), logits.device())?;
                Ok(Evaluation::new(Tensor::new(losses, logits.device())?, gradient))
            }
            Self::Tensors(_) => tensors::cross_entropy(logits, labels),
        }
    }

    /// The gallery of these embeddings on this backend.
    ///
    /// # Errors
    /// As [`Gallery::new`].
    pub fn ranking(&self, embeddings: &Embeddings) -> Result<Box<dyn Ranking>> {
        let exact = Gallery::new(embeddings)?;
        Ok(match self {
            Self::Kernels => Box::new(exact),
            Self::Tensors(device) => Box::new(tensors::TensorGallery::new(exact, &embeddings.tensor().to_device(device)?)?),
        })
    }
}
