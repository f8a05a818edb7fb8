//! ConvNeXt from candle-transformers, with timm's weights.
//!
//! ConvNeXt was chosen because each of its operations has an exact gradient in candle 0.11.1. Most networks of
//! candle-transformers have operations without one:
//! - Transformers (ViT, DINOv2, CLIP) normalize contiguous tensors, for which `candle_nn::LayerNorm` takes a fused path that
//!   drops the gradient without an error; so does `softmax_last_dim` in ViT and SigLIP. ConvNeXt normalizes over the channels
//!   of maps, which are not contiguous while a map has more than one pixel: hence [`Scale::SMALLEST_SIDE`].
//! - The gradient of max pooling is wrong, or an error (VGG, ResNet).
//! - EfficientNet pads as TensorFlow does, and so is not the network whose names its weights have.
//!
//! This crate adds the normalization of the pixels before it and timm's last layer normalization after it. An embedding is the
//! output of `timm.create_model(NAME, num_classes=0)`. Each image is a batch of its own, several in parallel, because candle's
//! matrix products may take another path for another batch size. The gradient runs the network once more, image by image, so
//! that a batch needs the memory of as many images as there are threads.
//!
//! candle 0.11.1 asks the system for the number of cores in every matrix product, thousands of times per image, unless the
//! environment variable `RAYON_NUM_THREADS` is set: most of the time is then spent reading `/proc/cpuinfo`. `rankle::run_with`
//! sets it to 1 if it is called before the program starts a thread. A program that calls the libraries itself should set it, too.
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

/// Size of a ConvNeXt: its depth and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scale {
    /// 3.4 million weights, 0.55 billion multiply-adds for 224×224: timm's `convnext_atto`.
    Atto,
    /// 28 million weights, 4.5 billion multiply-adds: timm's and torchvision's `convnext_tiny`, in timm's names.
    Tiny,
}

impl Scale {
    /// Images of a shape, with timm's preparation of photographs.
    pub(crate) fn input(shape: (usize, usize, usize)) -> InputSpec {
        InputSpec {
            resize: Some(Resize::Shorter),
            edge: Some(shape.1 * 8 / 7), // timm rounds down
            filter: Some(Filter::Bicubic),
            ..InputSpec::of_shape(shape)
        }
    }

    /// Divisor of the sides of images: the network halves them five times.
    pub const STEP: usize = 32;
    /// Smallest side whose last map has more than one pixel. For smaller images candle would drop gradients.
    pub const SMALLEST_SIDE: usize = 64;

    /// Dimension of the embeddings.
    pub fn embedding_size(self) -> usize {
        match self {
            Self::Atto => 320,
            Self::Tiny => 768,
        }
    }
}
