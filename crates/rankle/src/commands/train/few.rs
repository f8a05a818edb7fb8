//! The first images of a dataset.

use anyhow::{Result, bail};
use candle_core::Tensor;
use rankle_core::{Dataset, Seed, dataset::check_indices};
use std::borrow::Cow;
use std::sync::Arc;

/// The first images of a dataset, or all.
pub(crate) struct FirstImages {
    whole: Arc<dyn Dataset>,
    len: usize,
}

impl FirstImages {
    /// # Errors
    /// A dataset with fewer than `len` images.
    pub(crate) fn new(whole: Arc<dyn Dataset>, len: Option<usize>) -> Result<Self> {
        match len {
            Some(len) if len > whole.len() => {
                bail!("{len} images are more than the {} of {}: choose at most so many with --images", whole.len(), whole.name())
            }
            len => Ok(Self { len: len.unwrap_or(whole.len()), whole }),
        }
    }
}

impl Dataset for FirstImages {
    fn name(&self) -> &str {
        self.whole.name()
    }
    fn shape(&self) -> (usize, usize, usize) {
        self.whole.shape()
    }
    fn labels(&self) -> &[u32] {
        &self.whole.labels()[..self.len]
    }
    fn images(&self, indices: &[usize]) -> rankle_core::Result<Tensor> {
        check_indices("image", indices, self.len)?;
        self.whole.images(indices)
    }
    fn describe(&self, index: usize) -> String {
        self.whole.describe(index)
    }
    fn image_name(&self, index: usize) -> Option<Cow<'_, str>> {
        if index < self.len { self.whole.image_name(index) } else { None }
    }
    fn class_name(&self, label: u32) -> Option<Cow<'_, str>> {
        self.whole.class_name(label)
    }
    fn left_out(&self) -> usize {
        self.whole.left_out()
    }
    fn training_images(&self, indices: &[usize], seed: Seed, epoch: u64) -> rankle_core::Result<Tensor> {
        check_indices("image", indices, self.len)?;
        self.whole.training_images(indices, seed, epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_out_of_reach() {
        let whole: Arc<dyn Dataset> = Arc::new(rankle_core::toy::dataset(0));
        let few = FirstImages::new(whole.clone(), Some(5)).unwrap();
        assert_eq!((few.len(), few.labels()), (5, &whole.labels()[..5]));
        assert!(few.images(&[4]).is_ok() && few.images(&[5]).is_err());
        assert!(few.training_images(&[4], Seed(0), 0).is_ok() && few.training_images(&[5], Seed(0), 0).is_err());
        assert_eq!(FirstImages::new(whole.clone(), None).unwrap().len(), whole.len());
        assert!(FirstImages::new(whole.clone(), Some(whole.len() + 1)).is_err());
    }
}
