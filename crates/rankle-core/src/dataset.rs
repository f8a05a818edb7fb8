//! Labeled images.

use crate::{Error, Result, Seed};
use candle_core::Tensor;
use std::borrow::Cow;

/// Labeled images, each identified by its index: a query that leaves its own list is found by index, never as the nearest item.
pub trait Dataset: Send + Sync {
    /// The registered name, as in `mnist`.
    fn name(&self) -> &str;
    /// `(channels, height, width)` of every image.
    fn shape(&self) -> (usize, usize, usize);
    /// One label per image; their number is the size of the dataset.
    fn labels(&self) -> &[u32];
    /// The images at `indices`, `(indices.len(), c, h, w)`, f32 on the CPU, pixels in `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::Index`] when an index is not below the size of the dataset, [`Error::Image`] when a file cannot be used.
    fn images(&self, indices: &[usize]) -> Result<Tensor>;

    /// The images for training in an epoch, augmented by crops or flips if the dataset does that. Every draw is keyed by seed,
    /// epoch and index, so an image does not depend on its batch. The provided method augments nothing.
    ///
    /// # Errors
    /// As [`Dataset::images`].
    fn training_images(&self, indices: &[usize], _seed: Seed, _epoch: u64) -> Result<Tensor> {
        self.images(indices)
    }
    /// Name of an image in messages: its index, and its file if it has one.
    fn describe(&self, index: usize) -> String {
        format!("image {index} of {}", self.name())
    }
    /// Unique name of an image in the dataset, as in `mug-000/3.jpg` (`/` on every system). The provided method returns `None`.
    fn image_name(&self, _index: usize) -> Option<Cow<'_, str>> {
        None
    }
    /// Name of the class with this label, as in `mug-000`. The provided method returns `None`.
    fn class_name(&self, _label: u32) -> Option<Cow<'_, str>> {
        None
    }
    /// Number of unreadable images that were left out when the dataset was opened. The provided method returns 0.
    fn left_out(&self) -> usize {
        0
    }
    /// Number of images.
    fn len(&self) -> usize {
        self.labels().len()
    }
    /// True if there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Checks that every index is below `len`; `what` names the indices in the error.
///
/// # Errors
/// [`Error::Index`] for the first index that is not.
pub fn check_indices(what: &'static str, indices: &[usize], len: usize) -> Result<()> {
    match indices.iter().find(|&&index| index >= len) {
        Some(&index) => Err(Error::Index { what, index, len }),
        None => Ok(()),
    }
}
