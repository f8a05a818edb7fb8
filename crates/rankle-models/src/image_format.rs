//! What images a network for photographs takes.

/// Images that a network takes, and what is subtracted from and divided out of each channel first.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFormat {
    /// Rows and columns.
    pub size: (usize, usize),
    /// Per channel.
    pub mean: Vec<f32>,
    /// Per channel.
    pub std: Vec<f32>,
}

impl ImageFormat {
    /// The paper's 28×28 gray images, pixels as they are.
    pub fn gray28() -> Self {
        Self { size: (28, 28), mean: vec![0.0], std: vec![1.0] }
    }

    /// Photographs of 224×224 pixels, with ImageNet's statistics, as the weights of torchvision and timm expect them.
    pub fn imagenet() -> Self {
        Self::imagenet_of(224)
    }

    /// The same for photographs of `side` by `side` pixels.
    pub fn imagenet_of(side: usize) -> Self {
        Self { size: (side, side), mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// `(channels, height, width)`.
    pub fn input(&self) -> (usize, usize, usize) {
        (self.mean.len(), self.size.0, self.size.1)
    }
}
