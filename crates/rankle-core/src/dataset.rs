//! Labeled images.

use crate::{Error, Result, Seed};
use candle_core::Tensor;
use std::borrow::Cow;

/// Labeled images, each known by its index for ever: "itself" is an index, never "the nearest item".
pub trait Dataset: Send + Sync {
    /// The registered name, as in `mnist`.
    fn name(&self) -> &str;
    /// `(channels, height, width)` of every image.
    fn shape(&self) -> (usize, usize, usize);
    /// One label per image: its length is the size of the dataset.
    fn labels(&self) -> &[u32];
    /// `(indices.len(), c, h, w)`, f32 on the CPU, pixels in `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::Index`] when an index is not below the size of the dataset, [`Error::Image`] when a file cannot be used.
    fn images(&self, indices: &[usize]) -> Result<Tensor>;

    /// The images as training sees them in an epoch: where a dataset varies them (crops, flips), every draw is keyed by seed,
    /// epoch and index, so a batch is the same in whatever company it is asked for. The provided method varies nothing.
    ///
    /// # Errors
    /// As [`Dataset::images`].
    fn training_images(&self, indices: &[usize], _seed: Seed, _epoch: u64) -> Result<Tensor> {
        self.images(indices)
    }
    /// What to call an image in a message: its index, and its file where it has one.
    fn describe(&self, index: usize) -> String {
        format!("image {index} of {}", self.name())
    }
    /// The name of an image within the dataset, as in `mug-000/3.jpg`: one that no other image of it has. Parts of a path are
    /// separated by `/` on every system. The provided method knows none.
    fn image_name(&self, _index: usize) -> Option<Cow<'_, str>> {
        None
    }
    /// The name of the class with this label, as in `mug-000`. The provided method knows none.
    fn class_name(&self, _label: u32) -> Option<Cow<'_, str>> {
        None
    }
    /// How many images were left out when the dataset was opened, because they cannot be read. The provided method says none.
    fn left_out(&self) -> usize {
        0
    }
    /// How many images there are.
    fn len(&self) -> usize {
        self.labels().len()
    }
    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Checks that every index is below `len`; `what` names them in the error.
///
/// # Errors
/// [`Error::Index`] for the first one that is not.
pub fn check_indices(what: &'static str, indices: &[usize], len: usize) -> Result<()> {
    match indices.iter().find(|&&index| index >= len) {
        Some(&index) => Err(Error::Index { what, index, len }),
        None => Ok(()),
    }
}
