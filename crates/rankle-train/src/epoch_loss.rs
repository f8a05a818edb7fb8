//! The loss of an epoch.

/// The mean loss per image over the batches of an epoch so far.
///
/// A batch counts with its number of images, so a smaller last batch counts for less. Where every image has a loss of its own
/// (that of a classifier, or of the pair or triplet drawn for it from the whole set), the mean does not depend on the batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EpochLoss {
    /// Sum over the batches of mean loss times number of images.
    pub sum: f64,
    /// Number of images of these batches. Batches without a loss are not counted.
    pub images: usize,
}

impl EpochLoss {
    /// Adds a batch of `images` images with a mean loss of `mean` per image.
    pub fn add(&mut self, mean: f64, images: usize) {
        self.sum += mean * images as f64;
        self.images += images;
    }

    /// The mean loss per image; `None` before the first batch.
    pub fn mean(self) -> Option<f64> {
        (self.images > 0).then(|| self.sum / self.images as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_count_with_their_images() {
        let mut loss = EpochLoss::default();
        assert_eq!(loss.mean(), None);
        loss.add(1.0, 3);
        loss.add(5.0, 1);
        assert_eq!((loss.mean(), loss.images), (Some(2.0), 4));
    }
}
