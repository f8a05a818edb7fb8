//! Size and normalization of the images that a network takes.

use rankle_core::{Filter, InputSpec, Resize};

/// Size of a network's images, and the mean and standard deviation that normalize each channel first.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFormat {
    /// Height and width in pixels.
    pub size: (usize, usize),
    /// Per channel.
    pub mean: Vec<f32>,
    /// Per channel.
    pub std: Vec<f32>,
}

impl ImageFormat {
    /// Gray images of 28×28 pixels without normalization, as in the paper.
    pub fn gray28() -> Self {
        Self { size: (28, 28), mean: vec![0.0], std: vec![1.0] }
    }

    /// Photographs of 224×224 pixels, with ImageNet's statistics, as weights of torchvision and timm expect.
    pub fn imagenet() -> Self {
        Self::imagenet_of(224)
    }

    /// Photographs of `side` by `side` pixels, with ImageNet's statistics.
    pub fn imagenet_of(side: usize) -> Self {
        Self { size: (side, side), mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// Square images of this format, cut from the middle 7/8 of photographs that keep their aspect ratio.
    pub(crate) fn center(&self, filter: Filter) -> InputSpec {
        InputSpec {
            resize: Some(Resize::Shorter),
            edge: Some(self.size.0 * 8 / 7), // timm rounds down
            filter: Some(filter),
            ..InputSpec::of_shape(self.input())
        }
    }

    /// `(channels, height, width)`.
    pub fn input(&self) -> (usize, usize, usize) {
        (self.mean.len(), self.size.0, self.size.1)
    }
}
