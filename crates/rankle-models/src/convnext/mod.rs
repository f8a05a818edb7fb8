//! ConvNeXt: a family of networks that no one here designed, as candle-transformers has it, with timm's weights.
//!
//! Chosen because every operation on its way has an exact gradient in candle 0.11.1, which is true of few:
//! - Transformers (ViT, DINOv2, CLIP) normalize numbers that lie in one piece, where `candle_nn::LayerNorm` takes a fused path
//!   that drops the gradient without a word; ViT's and SigLIP's `softmax_last_dim` does, too. ConvNeXt normalizes over the
//!   channels of maps, which never lie in one piece while a map has more than one pixel: hence [`Scale::SMALLEST_SIDE`].
//! - The gradient of max pooling is wrong, or an error (VGG, ResNet).
//! - EfficientNet pads as TensorFlow does, and so is not the network whose names its weights have.
//!
//! The rest is in this crate: mean and standard deviation in front, timm's last norm behind. An embedding is what
//! `timm.create_model(NAME, num_classes=0)` returns. Images go through one by one, several at a time: the matrix products of
//! candle may take another path for another batch. The gradient runs the network once more, image by image, so that a batch
//! needs the memory of as many images as there are threads.
//!
//! candle 0.11.1 asks the system for the number of cores in every product of matrices, thousands of times per image, unless the
//! environment has `RAYON_NUM_THREADS`: most of the time is then spent reading `/proc/cpuinfo`. `rankle::run_with` sets it to 1 where
//! it is called before the program starts a thread; a program that calls the libraries itself should do so, too.
//!
//! # Source
//! Liu et al., "A ConvNet for the 2020s", CVPR 2022, arXiv:2201.03545; parameter names of timm.

#[cfg(feature = "candle-transformers")]
mod network;
#[cfg(feature = "candle-transformers")]
mod strict;

#[cfg(feature = "candle-transformers")]
pub use network::ConvNext;

use rankle_core::{Filter, InputSpec, Resize};

/// How deep and how wide a ConvNeXt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// 3.4 million weights, 0.55 billion multiply-adds for 224×224: timm's `convnext_atto`.
    Atto,
    /// 28 million weights, 4.5 billion multiply-adds: timm's and torchvision's `convnext_tiny`, in timm's names.
    Tiny,
}

impl Scale {
    /// Images of a shape, prepared as timm does.
    pub(crate) fn input(shape: (usize, usize, usize)) -> InputSpec {
        InputSpec {
            resize: Some(Resize::Shorter),
            edge: Some(shape.1 * 8 / 7), // timm rounds down
            filter: Some(Filter::Bicubic),
            ..InputSpec::of_shape(shape)
        }
    }

    /// Sides of images are multiples of it: the network halves them five times.
    pub const STEP: usize = 32;
    /// The smallest side whose last map has more than one pixel: of a smaller one, candle would drop gradients.
    pub const SMALLEST_SIDE: usize = 64;

    /// Numbers in an embedding.
    pub fn embedding_size(self) -> usize {
        match self {
            Self::Atto => 320,
            Self::Tiny => 768,
        }
    }
}
