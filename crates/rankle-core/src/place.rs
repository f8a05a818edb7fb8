//! Where a search is computed.

use crate::{Distance, Embeddings, Error, Gallery, Ranking, Result, kernels, tensors};
use candle_core::{Device, Tensor};

/// Where a search computes all that is not the model: chosen once, with the embeddings of a gallery, and never guessed from the
/// device of a tensor, since kernels and candle's operations both run on [`Device::Cpu`].
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// On the CPU, by rankle's kernels: fast, and bit-identical within one instruction set.
    #[default]
    Kernels,
    /// On a device, by candle's operations. Searches by gradient descent read nothing back to the host.
    Tensors(Device),
}

impl Place {
    /// Images as a model of this place takes them: on its device.
    ///
    /// # Errors
    /// [`crate::Error::Tensor`] when they cannot be copied.
    pub fn to_device(&self, images: &Tensor) -> Result<Tensor> {
        match self {
            Self::Kernels => Ok(images.clone()),
            Self::Tensors(device) => Ok(images.to_device(device)?),
        }
    }

    /// Raw embeddings `(n, d)` in the space of a distance: on the unit sphere for cosine, where they are for Euclidean. A zero vector
    /// stays zero under cosine, at distance 1 from everything; [`Embeddings::check`] refuses it.
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

    /// The gallery of these embeddings, ranked where it is computed here.
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
