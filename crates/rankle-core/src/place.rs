//! The compute backend of a search.

use crate::{Distance, Embeddings, Error, Gallery, Ranking, Result, kernels, tensors};
use candle_core::{Device, Tensor};

/// Compute backend of a search, for everything but the model. It is chosen once, with the embeddings of a gallery; the device of
/// a tensor does not determine it, since kernels and candle's operations both run on [`Device::Cpu`].
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// rankle's kernels on the CPU: fast, and bit-identical within one instruction set.
    #[default]
    Kernels,
    /// candle's operations on a device. A search by gradient descent reads nothing back to the host.
    Tensors(Device),
}

impl Place {
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
